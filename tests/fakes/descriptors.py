"""Descriptors that this process has open, to find out which ones a piece of work leaves."""

from __future__ import annotations

import os
from pathlib import Path


def descriptors_below(root: Path) -> set[int]:
    """Return the descriptors of files and folders below a path; those of the test's own machinery do not count."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the descriptor of the listing, or one that another thread closed
        if Path(target).is_relative_to(root):
            found.add(int(name))
    return found
