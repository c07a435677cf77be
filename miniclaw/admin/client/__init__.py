"""The client of a running gateway, and the messages that it exchanges with the API."""
