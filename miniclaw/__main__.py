"""``python -m miniclaw``."""

from miniclaw.cli import main

main()
