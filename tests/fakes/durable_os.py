"""System calls with a ledger of what a power cut could take: contents and names that are not synced yet.

It is stricter than any file system: what was not synced counts as lost, in whatever order it was written.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from miniclaw.session.disk.syscalls import Bytes, OsCalls


class DurableOs(OsCalls):
    """The real calls, each noted once it has succeeded.

    Args:
        sessions_dir: Where sessions have their names; may not be there yet.

    Attributes:
        unsynced: Files whose content, and directories whose names, a power cut could take.
        broken: What was done before that which it relies on was on the disk, one sentence each.
        links: Whether the file system has hard links.
    """

    def __init__(self, sessions_dir: Path) -> None:
        self._sessions_dir = sessions_dir.resolve()
        self.unsynced: set[Path] = set()
        self._new_folders: set[Path] = set()  # whose own names a power cut could take
        self.broken: list[str] = []
        self.links = True

    @property
    def names_are_durable(self) -> bool:
        """Whether all names in the sessions directory are as they will be after a power cut."""
        return self._sessions_dir not in self.unsynced

    def forget(self) -> None:
        """Begin anew: all there is counts as synced."""
        self.unsynced.clear()
        self._new_folders.clear()
        self.broken.clear()

    def write(self, fd: int, data: Bytes) -> int:
        count = super().write(fd, data)
        self.unsynced.add(_path(fd))
        return count

    def pwrite(self, fd: int, data: Bytes, offset: int) -> int:
        count = super().pwrite(fd, data, offset)
        self.unsynced.add(_path(fd))
        return count

    def sync_data(self, fd: int) -> None:
        super().sync_data(fd)
        self.unsynced.discard(_path(fd))

    def fsync(self, fd: int) -> None:
        super().fsync(fd)
        self.unsynced.discard(_path(fd))
        self._new_folders -= {folder for folder in self._new_folders if folder.parent == _path(fd)}

    def mkdir(self, path: str, mode: int, *, dir_fd: int | None = None) -> None:
        super().mkdir(path, mode, dir_fd=dir_fd)
        folder = Path(path).resolve() if dir_fd is None else _path(dir_fd) / path
        self.unsynced.add(folder.parent)
        self._new_folders.add(folder)

    def rename(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if _path(src_dir_fd) / source in self.unsynced:
            self.broken.append(f"{target} got its name before its content was synced")
        if self._is_precious(source) and {_path(dst_dir_fd), *_path(dst_dir_fd).parents} & self._new_folders:
            self.broken.append(f"{source} was moved into a folder whose own name was not synced")
        super().rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self.unsynced.discard(_path(src_dir_fd) / source)
        self.unsynced |= {_path(src_dir_fd), _path(dst_dir_fd)}

    def _is_precious(self, source: str) -> bool:
        """Return whether it is a session, and no temporary file that nobody would miss."""
        return source.endswith(".json")

    def link(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if not self.links:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        super().link(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self.unsynced.add(_path(dst_dir_fd))

    def unlink(self, name: str, *, dir_fd: int) -> None:
        if self._is_precious(name) and not self.names_are_durable:
            self.broken.append(f"{name} was unlinked before the names of what is kept were synced")
        super().unlink(name, dir_fd=dir_fd)
        self.unsynced.add(_path(dir_fd))


def _path(fd: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{fd}"))
