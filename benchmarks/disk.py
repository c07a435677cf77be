"""A disk of which nothing is in memory: an ext4 image, mounted through a loop device that goes past the page cache.

Its file system has a journal, as nearly every real one; the disk of a sandbox may have none.

Mounting it anew forgets all that was read of it, and nothing of anybody else's.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.figure import UnavailableError

_TOOLS: Final = ("losetup", "mkfs.ext4", "mount", "umount")


class ColdDisk:
    """A mounted image, from `cold_disk`.

    Attributes:
        root: Where it is mounted.
    """

    def __init__(self, device: str, root: Path) -> None:
        self._device = device
        self.root = root

    def mount(self) -> None:
        """Mount it."""
        _run("mount", "-t", "ext4", self._device, str(self.root))

    def unmount(self) -> None:
        """Write everything and unmount it."""
        _run("umount", str(self.root))

    def written(self) -> int:
        """Return how many bytes the device has been sent since it exists, after everything is written."""
        fd = os.open(self.root, os.O_RDONLY)
        try:
            ctypes.CDLL(None).syncfs(fd)
        finally:
            os.close(fd)
        fields = Path("/sys/block", Path(self._device).name, "stat").read_text(encoding="ascii").split()
        return int(fields[6]) * 512

    def forget(self) -> None:
        """Have nothing of it in memory; nobody may have a file of it open."""
        self.unmount()
        self.mount()


@contextmanager
def cold_disk(folder: Path, *, size: int, files: int) -> Iterator[ColdDisk]:
    """Make and mount an image for a block.

    Args:
        folder: Where it is made, and removed again.
        size: Bytes of the files that it has to hold.
        files: How many.

    Raises:
        UnavailableError: That takes root, loop devices, or a tool that is not there.
    """
    if os.geteuid() != 0:
        raise UnavailableError("to mount a cold disk takes root")
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        raise UnavailableError(f"to mount a cold disk takes {', '.join(missing)}")
    image, root = folder / "disk.img", folder / "disk"
    root.mkdir()
    with image.open("xb") as file:
        file.truncate(size * 5 // 4 + files * 8192 + 128 * 1024 * 1024)
    # Nothing may be left to be initialised in the background.
    options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    try:
        _run(
            "mkfs.ext4",
            "-q",
            "-F",
            "-O",
            "has_journal",
            "-i",
            "8192",
            "-N",
            str(files * 2 + 1000),
            "-E",
            options,
            str(image),
        )
        device = _run("losetup", "--find", "--show", "--direct-io=on", str(image)).strip()
        try:
            disk = ColdDisk(device, root)
            disk.mount()
            try:
                yield disk
            finally:
                disk.unmount()
        finally:
            _run("losetup", "--detach", device)
    finally:
        image.unlink()
        root.rmdir()


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(f"`{command[0]}` failed: {' '.join(done.stderr.split())}")
    return done.stdout
