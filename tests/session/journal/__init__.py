"""Tests of `miniclaw.session.journal`."""
