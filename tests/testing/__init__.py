"""Tests of `miniclaw.testing`."""
