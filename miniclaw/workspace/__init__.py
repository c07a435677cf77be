"""A workspace as commands and the API show it. Synchronous; owns nothing."""
