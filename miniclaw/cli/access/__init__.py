"""Access of a command to a workspace: directly, or through the gateway that owns it."""
