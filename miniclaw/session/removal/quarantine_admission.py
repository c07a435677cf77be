"""Moving a file from the sessions directory into quarantine at a user's request, synchronously.

The file is renamed aside, judged where no save reaches it, and only then moved on into quarantine. A sound session is
put back by a link, which cannot overwrite a newer file. After a crash in between, the next start puts the file back
from the work folder.
"""

from __future__ import annotations

import stat
from typing import Final

from miniclaw.errors import NotQuarantinedError
from miniclaw.formats import printable
from miniclaw.session import names
from miniclaw.session.disk.atomic import store_errors
from miniclaw.session.disk.sync import sync_directory
from miniclaw.session.entries import ProblemFile, always
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.places import capture, forget_capture
from miniclaw.session.files.quarantine_folder import quarantine
from miniclaw.session.format import codec
from miniclaw.session.removal.put_back import put_back
from miniclaw.session.removal.staging import StagingArea

_MISSING: Final = "there is no such file"
_SOUND: Final = "it is a sound session in its place, which can be deleted like any other"
_NAME: Final = "give the name of a file in the sessions directory, that does not begin with a full stop"


def find_file(directory: SessionDirectory, text: str) -> str:
    """Return the name of the file in the sessions directory that a text names, literally or as `printable` shows it.

    Raises:
        NotQuarantinedError: There is no such file.
        StoreIOError: The directory cannot be searched.
    """
    if not text or "/" in text or "\0" in text or text.startswith("."):
        raise NotQuarantinedError(directory.path / printable(text), _NAME)
    with store_errors(directory.path, "look for", printable(text)):
        if text in directory.captured or _is_there(directory, text):
            return text
        with directory.fs.scandir(directory.fd) as entries:
            meant = [entry.name for entry in entries if printable(entry.name) == text]
    if len(meant) == 1:
        return meant[0]
    raise NotQuarantinedError(directory.path / text, _MISSING)


def _is_there(directory: SessionDirectory, name: str) -> bool:
    try:  # another spelling of a session's name would not show that the session is sound and in its place
        return directory.is_spelled(name) is True
    except UnicodeEncodeError:
        return False


def move_to_quarantine(directory: SessionDirectory, name: str, *, is_live: bool = False) -> tuple[str, int]:
    """Move a file into quarantine unless it is a sound session in its place; return its id there and its size.

    A directory, a link, which is not followed, a FIFO or a socket is moved as well; its size is 0.

    Args:
        directory: Owned by this process. The caller holds the locks of the sessions whose file it may be.
        name: From `find_file`.
        is_live: True if the session whose file it is is in memory, from which it is saved again as a whole. Then the
            journal keeps what it has of the session, until a file has it.

    Durability: as `quarantine`.

    Raises:
        NotQuarantinedError: The file is not moved, because it is a sound session, or may be one.
        StoreError: The file is still in its place, or captured until the next start; or it is in quarantine, and a
            power cut may undo that.
    """
    directory.check_owned()
    with store_errors(directory.path, "move to quarantine", name):
        StagingArea(directory).settle(name)  # an earlier attempt that the system refused may have left it captured
        _check(directory, name)
        if not names.is_session_file(name):  # no save has this name, and no recovery would put it back
            size = _size_of(directory, name, directory.fd)
            return quarantine(directory, name).name, size
    with store_errors(directory.path, "move to quarantine", name), StagingArea(directory).taken() as (folder, fd):
        capture(directory, name, dir_fd=fd)
        try:
            _check(directory, name, dir_fd=fd)
            size = _size_of(directory, name, fd)
            return quarantine(directory, name, dir_fd=fd, session_remains=is_live).name, size
        except BaseException:
            _settle(directory, folder, name, fd)
            raise


def _size_of(directory: SessionDirectory, name: str, fd: int) -> int:
    status = directory.fs.stat(name, dir_fd=fd)
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _check(directory: SessionDirectory, name: str, *, dir_fd: int | None = None) -> None:
    """Raise `NotQuarantinedError` if a file is, or may be, a sound session in its place."""
    fd = directory.fd if dir_fd is None else dir_fd
    row = directory.read_row(name, dir_fd=fd, verify=always)
    path = directory.path / name
    if row is None:
        raise NotQuarantinedError(path, _MISSING)
    if not isinstance(row, ProblemFile):
        raise NotQuarantinedError(path, _SOUND)
    if row.kind == "unreadable" and directory.fs.stat(name, dir_fd=fd).st_size <= codec.MAX_SESSION_BYTES:
        raise NotQuarantinedError(path, f"it may be a sound session: {row.reason}")


def _settle(directory: SessionDirectory, folder: str, name: str, fd: int) -> None:
    """Put a captured file back, unless it is in quarantine; a file that cannot be put back remains captured."""
    fs = directory.fs
    try:
        fs.stat(name, dir_fd=fd)
        put_back(directory, name, dir_fd=fd)
        sync_directory(fs, directory.fd)
        forget_capture(directory, name, dir_fd=fd)
    except FileNotFoundError:
        pass
    except BaseException:
        directory.captured[name] = folder
        raise
