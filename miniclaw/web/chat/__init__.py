"""The chat: a page, and the websocket behind it and behind ``miniclaw chat``."""
