"""Type checkers on the public API, as a program that embeds miniclaw sees it: `python -m tests.typing`."""
