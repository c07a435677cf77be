"""How a command reaches a workspace: directly, or through the gateway that owns it."""
