"""Every state a crash could have left on the disk; a program: `python -m tests.crashimages --help`."""
