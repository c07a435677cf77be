"""Everything that removes a session file or gives it another place: synchronous, and safe in a crash."""
