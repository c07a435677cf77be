"""``miniclaw chat``: a conversation at the terminal."""
