"""Removing a session file, or moving it to another place: synchronous, and safe in a crash."""
