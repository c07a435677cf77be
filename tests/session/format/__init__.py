"""Tests of `miniclaw.session.format`."""
