"""A tree outside of the sessions directory that nothing may change, and disks of their own for it to lie on."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.fakes.patience import PATIENCE_SECONDS

Snapshot: TypeAlias = dict[str, tuple[object, ...]]


class Sentinel:
    """Files and folders that are nobody's business.

    Attributes:
        path: The folder.
        file: One of its files.
        session: One that looks like an expired session.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "precious"
        self.session = path / "telegram_1.json"
        (path / "inner").mkdir(parents=True)
        (path / "empty").mkdir()
        self.file.write_bytes(b"nobody's business")
        (path / "inner" / "x.json").write_bytes(b"{}")
        (path / "link").symlink_to("precious")

    def snapshot(self) -> Snapshot:
        """Return names, kinds, modes, owners, sizes, times and contents of everything in it."""
        found: Snapshot = {}
        for path in [self.path, *self.path.rglob("*")]:
            status = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
            inode = (status.st_ino, status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns)
            found[str(path)] = (*inode, content)
        return found


@contextmanager
def small_disk(path: Path, options: str = "size=256k,nr_inodes=64") -> Iterator[Path]:
    """Mount a tmpfs for a block; skip the test where the system does not allow that."""
    path.mkdir(parents=True)
    if os.geteuid():
        pytest.skip("mounting needs root")
    done = mount("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path), check=False)
    if done.returncode:
        pytest.skip(f"this machine does not let root mount: {done.stderr.strip()}")
    try:
        yield path
    finally:
        mount("umount", "-l", str(path), check=False)  # does nothing where the test has done it


def mount(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run mount or umount."""
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
