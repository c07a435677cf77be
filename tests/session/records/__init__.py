"""Tests of `miniclaw.session.records`."""
