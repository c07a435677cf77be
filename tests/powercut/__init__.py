"""Power cuts on real kernels; a program, not collected by pytest: `python -m tests.powercut --help`."""
