"""Tests of `miniclaw.session.maintenance`."""
