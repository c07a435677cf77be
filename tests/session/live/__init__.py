"""Tests of `miniclaw.session.live`."""
