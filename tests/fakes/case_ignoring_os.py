"""System calls of a file system that ignores the case of names and keeps it, as those of macOS and Windows do."""

from __future__ import annotations

import os
from typing import Any

from tests.fakes.os_calls import FaultyOs


class CaseIgnoringOs(FaultyOs):
    """Looks names up without regard to case; what is created keeps the case that it is given."""

    def open(self, path: str, flags: int, mode: int = 0o600, *, dir_fd: int | None = None) -> int:
        return super().open(_found(path, dir_fd), flags, mode, dir_fd=dir_fd)

    def stat(self, name: str, *, dir_fd: int | None = None) -> os.stat_result:
        return super().stat(_found(name, dir_fd), dir_fd=dir_fd)

    def rename(self, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        found = _found(target, dst_dir_fd)
        if found != target and _found(source, src_dir_fd) != found:
            os.unlink(found, dir_fd=dst_dir_fd)  # what is replaced does not lend its spelling
        super().rename(_found(source, src_dir_fd), target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    def link(self, source: str, target: str, **fds: Any) -> None:
        super().link(_found(source, fds["src_dir_fd"]), _found(target, fds["dst_dir_fd"]), **fds)

    def unlink(self, name: str, *, dir_fd: int) -> None:
        super().unlink(_found(name, dir_fd), dir_fd=dir_fd)


def _found(name: str, dir_fd: int | None) -> str:
    """Return the name as the directory spells it; as it is where there is none."""
    if dir_fd is None or "/" in name or name == ".":
        return name
    return next((entry for entry in os.listdir(dir_fd) if entry.casefold() == name.casefold()), name)
