"""Descriptors that this process has open, to find out which ones a piece of work leaves."""

from __future__ import annotations

import os
from pathlib import Path


def open_descriptors() -> set[tuple[int, str]]:
    """Return all descriptors, each with its target.

    A test asks which ones are new: an earlier test's garbage, or its thread, may close some of the others meanwhile.
    """
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add((int(name), os.readlink(f"/proc/self/fd/{name}")))
        except FileNotFoundError:
            continue  # the descriptor of the listing, or one that another thread closed
    return found


def descriptors_below(root: Path) -> set[int]:
    """Return the descriptors of files and folders below a path; those of the test's own machinery do not count."""
    return {number for number, target in open_descriptors() if Path(target).is_relative_to(root)}
