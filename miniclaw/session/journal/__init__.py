"""The journal: what was said since the session files were last written, synced at the cost of the message."""
