"""Programs that are measured in a process of their own; each prints one JSON object."""
