"""``miniclaw sessions``: one command a module."""
