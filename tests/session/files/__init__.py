"""Tests of `miniclaw.session.files`."""
