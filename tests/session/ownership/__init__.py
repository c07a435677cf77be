"""Tests of `miniclaw.session.ownership`."""
