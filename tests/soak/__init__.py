"""Long runs: `python -m tests.soak.kill_load --help`, `python -m tests.soak.gateway --help`."""
