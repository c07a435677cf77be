"""The quarantine: files that had the place of a session and could not be read as it, moved aside as evidence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from miniclaw.session import names
from miniclaw.session.disk.atomic import store_errors
from miniclaw.session.disk.spelling import is_spelled
from miniclaw.session.disk.sync import sync_directory
from miniclaw.session.files.places import Voided, make_room
from miniclaw.session.files.subdirectory import Folder
from miniclaw.session.names import stamped

if TYPE_CHECKING:
    from miniclaw.session.files.ownable import OwnableDirectory

QUARANTINE_NAME: Final = ".quarantine"


def quarantine_folder(directory: OwnableDirectory) -> Folder:
    """Return the quarantine folder, which the first file that is moved there creates."""
    return Folder.within(directory, QUARANTINE_NAME)


def quarantine_session(directory: OwnableDirectory, session_id: str, *, session_remains: bool = False) -> Path:
    """Move a session's file into quarantine, whichever of its names the file has; see `quarantine`."""
    for name in names.file_names(session_id):
        with store_errors(directory.path, "move to quarantine", name):
            is_its_own = is_spelled(directory.fs, directory.fd, name)
        if is_its_own:
            return quarantine(directory, name, session_remains=session_remains)
    return quarantine(directory, names.file_name(session_id))  # there is no file; this raises the error


def quarantined_stem(name: str) -> str:
    """Return the part before the stamp of the name that a file of this name has in quarantine."""
    return os.fsdecode(os.fsencode(name)[: names.MAX_NAME_BYTES])


def quarantine(
    directory: OwnableDirectory, name: str, *, dir_fd: int | None = None, session_remains: bool = False
) -> Path:
    """Move a file into the quarantine folder, under a unique name, and return its new path.

    Durability: the file is in quarantine, and nowhere else, when this returns.

    Args:
        directory: The sessions directory.
        name: The file.
        dir_fd: The folder of the file, if not the sessions directory itself.
        session_remains: If true, memory has the session, or another file that gets its place or has it; the records in
            the journal are that session's and stay. Else they count no more, from before the move on.

    Raises:
        StoreIOError: The file was not moved, or it is in quarantine and a power cut may undo that.
        OwnershipLostError, ForkedRuntimeError: As `SessionDirectory.check_owned`; the file was not moved.
    """
    fs = directory.fs
    kept = stamped(quarantined_stem(name), directory.now())
    source_fd = directory.fd if dir_fd is None else dir_fd
    with store_errors(directory.path, "move to quarantine", name), quarantine_folder(directory).made() as folder:
        if session_remains:
            make_room(directory, name, kept, src_dir_fd=source_fd, dst_dir_fd=folder)
        else:
            Voided(directory, [name]).move(name, kept, src_dir_fd=source_fd, dst_dir_fd=folder)
        for fd in (folder, source_fd):
            sync_directory(fs, fd)
    return directory.path / QUARANTINE_NAME / kept
