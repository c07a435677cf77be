"""Names as a directory spells them.

A file system may find a file by a name other than its own. One that ignores case (macOS, FAT, exFAT, ext4 with
casefold, some mounts of containers) finds ``web_bob.json`` as ``web_Bob.json``; one that ignores Unicode normal forms
(macOS) behaves likewise. Our own names differ in more than case and normal form, but the names of earlier
implementations do not. A file that is found under one name and listed under another one belongs to another session.

The listing is read only if a name is found, and is found in another spelling as well. A lookup or listing that fails is
an `OSError`.
"""

from __future__ import annotations

import errno
from typing import Final

from miniclaw.session import names
from miniclaw.session.disk.atomic import DIRECTORY_FLAGS, opened
from miniclaw.session.disk.syscalls import OsCalls

NO_SUCH_NAME: Final = frozenset({errno.ENOENT, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL})
"""Error numbers for a name that no file has, also on file systems that restrict the length or characters of names."""


def is_spelled(fs: OsCalls, dir_fd: int, name: str) -> bool | None:
    """Return whether a directory spells a name exactly so; None if it finds no file by it."""
    if not _is_found(fs, dir_fd, name):
        return None
    return tells_apart(fs, dir_fd, name) or name in spellings(fs, dir_fd, name)


def tells_apart(fs: OsCalls, dir_fd: int, name: str) -> bool:
    """Return whether a directory finds no file by the other spellings of a name by which it finds one."""
    others = [name.swapcase(), *names.normal_forms(name)]
    return not any(other != name and _is_found(fs, dir_fd, other) for other in others)


def spellings(fs: OsCalls, dir_fd: int, name: str) -> list[str]:
    """Return the names in a directory that differ from this one in case and normal form at most."""
    folded = fold(name)
    with opened(fs, ".", DIRECTORY_FLAGS, dir_fd=dir_fd) as fd, fs.scandir(fd) as entries:
        return [entry.name for entry in entries if fold(entry.name) == folded]


def fold(name: str) -> str:
    """Return a key that is equal for any two names that a file system may take for one."""
    if name.isascii():
        return name.lower()
    from unicodedata import normalize  # noqa: PLC0415 - start-up time: few names need it

    return normalize("NFD", normalize("NFD", name).casefold())


def _is_found(fs: OsCalls, dir_fd: int, name: str) -> bool:
    try:
        fs.stat(name, dir_fd=dir_fd)
    except OSError as error:
        if error.errno not in NO_SUCH_NAME:
            raise
        return False
    return True
