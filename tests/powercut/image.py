"""A file system in a file, on a loop device; and one whose power can be cut.

The cut is the shutdown ioctl of ext4 and xfs: from then on nothing reaches the disk, as if the machine had lost its
power; the next mount replays the journal as after a real one. Mounts are made in a mount namespace of their own and
the loop device frees itself on its last close, so that nothing stays behind, however the program ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import struct
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

SHUTDOWN_IOCTL: Final = 0x8004587D
LOG_FLUSHED: Final = 1
"""What the journal holds in memory still gets to the disk; data does not."""
LOG_LOST: Final = 2
"""Nothing gets to the disk."""

_MEBIBYTE: Final = 1024 * 1024
_SLICE_BYTES: Final = 256 * 1024
_SIZES: Final = {"ext4": 16 * _MEBIBYTE, "xfs": 320 * _MEBIBYTE}  # xfs refuses less than 300 MiB; both are sparse
_MKFS: Final = {
    "ext4": ("mkfs.ext4", "-q", "-F", "-O", "has_journal", "-J", "size=4"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
}
# Without auto_da_alloc ext4 does not quietly make up for an fsync that is missing before a rename.
_OPTIONS: Final = {"ext4": "noauto_da_alloc", "xfs": ""}

_BLKFLSBUF: Final = 0x1261
_FIFREEZE: Final = 0xC0045877
_FITHAW: Final = 0xC0045878
_CLONE_NEWNS: Final = 0x20000
_MS_REC_PRIVATE: Final = 0x4000 | 0x40000
_PR_SET_PDEATHSIG: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


class CannotRunError(Exception):
    """It cannot be tried here; the text says why."""


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however that comes about."""
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)


@cache
def private_mounts() -> None:
    """Put the mounts of this process, from now on, where nobody else sees them.

    Once only: a thread keeps the mounts that its process had when it began, and trio's threads live on.
    """
    if os.geteuid() != 0:
        raise CannotRunError("needs root")
    _call("unshare", _CLONE_NEWNS)
    _call("mount", b"none", b"/", None, _MS_REC_PRIVATE, None)


def make_file_system(kind: str, path: Path, *, size: int | None = None) -> None:
    """Make a file with an empty file system in it, of so many bytes; None: of as few as will do."""
    with path.open("wb") as file:
        file.truncate(size or _SIZES[kind])
    _run(*_MKFS[kind], str(path))


class Image:
    """A file with a file system, on a loop device. `mount` and `unmount` in turn, as often as wanted."""

    def __init__(self, kind: str, path: Path, mountpoint: Path, *, direct: bool = False) -> None:
        """Attach the file; `direct` keeps the kernel from caching it a second time below the file system."""
        self.kind = kind
        self.path = path
        self.mountpoint = mountpoint
        self.mountpoint.mkdir()
        self._device = _run("losetup", "-f", "--show", *(["--direct-io=on"] if direct else []), str(path)).strip()
        self._device_fd = os.open(self._device, os.O_RDWR | os.O_CLOEXEC)
        _run("losetup", "-d", self._device)  # while it is open here, this only has it go at its last close
        self._root_fd = -1  # open while mounted

    def mount(self) -> None:
        """Mount it, which replays the journal."""
        options = _OPTIONS[self.kind].encode()
        _call("mount", self._device.encode(), bytes(self.mountpoint), self.kind.encode(), 0, options)
        self._root_fd = os.open(self.mountpoint, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def commit(self) -> None:
        """Have the kernel write out what it holds, as it may at any time."""
        _libc.syncfs(self._root_fd)

    def freeze(self) -> None:
        """Have all that would change the file system wait, however long, until `thaw`."""
        fcntl.ioctl(self._root_fd, _FIFREEZE, 0)

    def thaw(self) -> None:
        """Let it go on."""
        fcntl.ioctl(self._root_fd, _FITHAW, 0)

    def unmount(self) -> None:
        """Unmount it, if it is mounted; all files on it are closed."""
        if self._root_fd < 0:
            return
        os.close(self._root_fd)
        self._root_fd = -1
        _call("umount2", bytes(self.mountpoint), 0)

    def forget(self) -> None:
        """Have the kernel forget what it remembers of the device: the file was written to behind its back."""
        fcntl.ioctl(self._device_fd, _BLKFLSBUF)

    def close(self) -> None:
        """Unmount it and free the loop device."""
        self.unmount()
        os.close(self._device_fd)


class CuttableImage(Image):
    """A new image. `mount`, `cut` and `unmount` in turn, as often as wanted."""

    def __init__(self, kind: str, directory: Path) -> None:
        path = directory / f"{kind}.img"
        make_file_system(kind, path)
        super().__init__(kind, path, directory / f"{kind}.mnt")
        self._is_cut = False

    def cut(self, flag: int) -> None:
        """Cut the power; may be called from any thread."""
        self._is_cut = True
        fcntl.ioctl(self._root_fd, SHUTDOWN_IOCTL, struct.pack("I", flag))

    def unmount(self) -> None:
        """Unmount it; all files on it are closed.

        After a cut, ext4's umount writes bitmaps out that no journal knows, which a machine without power does not.
        So the image is brought back to what it was before.
        """
        disk = self._read() if self._is_cut and self.kind == "ext4" else None
        self._is_cut = False
        super().unmount()
        if disk is not None:
            self._restore(disk)
            self.forget()

    def _read(self) -> list[bytes]:
        with self.path.open("rb") as file:
            return list(iter(lambda: file.read(_SLICE_BYTES), b""))

    def _restore(self, disk: list[bytes]) -> None:
        with self.path.open("r+b") as file:
            for number, (then, now) in enumerate(zip(disk, self._read(), strict=True)):
                if then != now:
                    file.seek(number * _SLICE_BYTES)
                    file.write(then)


def check_cuts(image: CuttableImage) -> None:
    """Try one cut of each kind.

    Raises:
        CannotRunError: The kernel refuses.
    """
    for flag in (LOG_FLUSHED, LOG_LOST):
        try:
            image.mount()
            image.cut(flag)
        except OSError as error:
            raise CannotRunError(f"{image.kind}: {error}") from error
        finally:
            image.unmount()


def _run(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise CannotRunError(f"{command[0]} is missing (apt-get install e2fsprogs xfsprogs mount)") from None
    except subprocess.CalledProcessError as error:
        raise CannotRunError(f"{command[0]}: {error.stderr.strip()}") from None


def _call(name: str, *args: object) -> None:
    if getattr(_libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
