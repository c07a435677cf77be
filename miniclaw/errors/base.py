"""The base of all errors."""

from __future__ import annotations


class MiniclawError(Exception):
    """Base of every error that miniclaw raises on purpose."""
