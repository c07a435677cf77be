"""Long runs; programs, not collected by pytest: `python -m tests.soak.kill_load --help`."""
