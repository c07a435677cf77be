"""The HTTP server: one Starlette application on the loopback address and on a Unix socket in the workspace."""
