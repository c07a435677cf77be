"""A workspace as commands and the API show it. Synchronous; never takes ownership."""
