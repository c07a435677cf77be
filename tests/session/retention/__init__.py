"""Tests of `miniclaw.session.retention`."""
