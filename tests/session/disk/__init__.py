"""Tests of `miniclaw.session.disk`."""
