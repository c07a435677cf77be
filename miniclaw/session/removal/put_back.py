"""Putting a captured session back into its place, without overwriting another file there."""

from __future__ import annotations

import stat
from contextlib import suppress
from typing import Final

from miniclaw.errors import SessionFileError
from miniclaw.loggers import get_logger
from miniclaw.session import names
from miniclaw.session.disk.atomic import READ_FLAGS, opened, read_whole
from miniclaw.session.disk.spelling import fold
from miniclaw.session.entries import ProblemFile, StoredSession, always
from miniclaw.session.files.adoption import make_way
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.places import return_to_place
from miniclaw.session.files.quarantine_folder import quarantine
from miniclaw.session.format import codec

log: Final = get_logger("miniclaw.session.store")


def put_back(directory: SessionDirectory, name: str, *, dir_fd: int) -> None:
    """Put a captured file back into its place, without overwriting another file there.

    The captured name may still exist afterwards. The caller unlinks it once the sessions directory is synced.

    If another file has the place, the one that can be read as a session keeps it (the one in place, if both can), and
    the other is moved to quarantine: nothing is lost.

    Raises:
        OSError: The file is still captured.
        StoreError: The file is still captured.
    """
    place = _place_of(directory, name, dir_fd=dir_fd)
    if _same_file(directory, place, name, dir_fd=dir_fd):
        return
    try:
        _name_back(directory, place, name, dir_fd=dir_fd)
    except FileExistsError:
        in_place = directory.read_row(place, verify=always)
        if isinstance(in_place, ProblemFile) and in_place.kind == "unreadable":
            raise SessionFileError(directory.path / place, in_place.reason) from None
        # The session keeps one of the two files, and with it the records in the journal.
        if isinstance(in_place, StoredSession):
            kept = quarantine(directory, name, dir_fd=dir_fd, session_remains=True)
        else:
            kept = quarantine(directory, place, session_remains=True)
            _name_back(directory, place, name, dir_fd=dir_fd)
        log.error("Two files for one session; one is in quarantine", path=str(directory.path / place), kept=str(kept))


def _place_of(directory: SessionDirectory, name: str, *, dir_fd: int) -> str:
    """Return the name for a captured file, nearly always the one by which it was captured.

    On a file system that ignores case, that name may have captured another session's file. If the name now finds
    another session's file, the captured file gets its own name, or the other file makes way.
    """
    if not directory.ignores_case and name.isascii():
        return name
    place = _name_before(directory, name, dir_fd=dir_fd)
    if directory.is_spelled(place) is False:
        if (its_own := names.own_name_of_bare(place)) is not None:
            return its_own
        make_way(directory, place)
    return place


def _name_before(directory: SessionDirectory, name: str, *, dir_fd: int) -> str:
    """Return the name that a captured file had, as far as its content shows it."""
    with suppress(OSError, ValueError, MemoryError), opened(directory.fs, name, READ_FLAGS, dir_fd=dir_fd) as fd:
        if directory.fs.fstat(fd).st_size > codec.MAX_SESSION_BYTES:
            return name
        its_names = names.file_names(codec.decode_header(read_whole(directory.fs, fd), directory.now()).session_id)
        if name not in its_names:
            return next((each for each in its_names if fold(each) == fold(name)), name)
    return name


def _same_file(directory: SessionDirectory, place: str, name: str, *, dir_fd: int) -> bool:
    try:
        there = directory.fs.stat(place, dir_fd=directory.fd)
        here = directory.fs.stat(name, dir_fd=dir_fd)  # missing if it was moved to quarantine
    except FileNotFoundError:
        return False
    return (there.st_ino, there.st_dev) == (here.st_ino, here.st_dev)


def _name_back(directory: SessionDirectory, place: str, name: str, *, dir_fd: int) -> None:
    fs = directory.fs
    # Only a regular file can be linked, and not, for example, a directory that took its place.
    is_file = stat.S_ISREG(fs.stat(name, dir_fd=dir_fd).st_mode)
    return_to_place(directory, name, place, dir_fd=dir_fd, is_file=is_file)
