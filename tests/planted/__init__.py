"""Planted bugs: realistic breakages, each of which the tests have to catch. `python -m tests.planted` plants them."""
