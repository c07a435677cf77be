"""Tests of the public calls."""
