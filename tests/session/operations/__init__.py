"""Tests of `miniclaw.session.operations`."""
