"""Tests of `miniclaw.session.trash`."""
