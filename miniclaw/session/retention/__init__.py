"""Which sessions may stay, and when the others go: the rules, pure. Nothing here opens a file or reads a clock."""
