"""Ownership of a sessions directory: the locks, their holder, and the process that opened it."""
