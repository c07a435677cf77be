"""Tests of `miniclaw.stores`."""
