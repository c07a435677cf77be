"""Tests of `miniclaw.session.removal`."""
