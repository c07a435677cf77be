"""The files in quarantine: listing them, finding them by name, and reading them. Synchronous, for threads.

Each file is read whole and judged anew, as a removal judges a session. A *sound* file can be used as a session now,
whatever the reason of its quarantine. Retention, the commands and restoring use the same verdict.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Final

from miniclaw.errors import (
    AmbiguousQuarantineIdError,
    CorruptSessionError,
    InvalidSessionIdError,
    QuarantinedFileNotFoundError,
    StoreIOError,
)
from miniclaw.formats import printable
from miniclaw.session import names
from miniclaw.session.disk.atomic import READ_FLAGS, opened, read_whole, store_errors
from miniclaw.session.disk.directories import why_no_session_file
from miniclaw.session.entries import ProblemFile, QuarantinedFile, always, modified_at
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME, quarantine_folder
from miniclaw.session.format import codec
from miniclaw.session.format.content import too_large
from miniclaw.session.names import split_stamped
from miniclaw.session.types import Session, SessionHeader

_PIECE_BYTES: Final = 256 * 1024

DISAGREE: Final = "its ids do not agree with one another"


def is_quarantined(name: str) -> bool:
    """Return whether a file of this name in the folder is ours; other files there are foreign."""
    return "/" not in name and split_stamped(name) is not None


def list_quarantined(directory: SessionDirectory) -> list[QuarantinedFile]:
    """Return the files in quarantine, the oldest first. The directory need not be owned.

    Raises:
        StoreIOError: The folder cannot be listed, or a file in it cannot be examined.
    """
    found = _examined(directory, lambda file_ids: file_ids)
    return sorted(found, key=lambda file: (file.since, file.id))


def find_quarantined(directory: SessionDirectory, text: str) -> QuarantinedFile:
    """Return the one file that a text names.

    Only whole names count: the beginning of a longer one could be meant for another session.

    Args:
        directory: Need not be owned.
        text: The id of the file, literally or as `printable` shows it, or the eight digits at its end; else the name
            that the file had, the id of the session that it holds, or, if it holds none, the id of the session whose
            place it had.

    Raises:
        QuarantinedFileNotFoundError: The text matches no file.
        AmbiguousQuarantineIdError: The text matches several files.
        StoreIOError: The folder cannot be listed, or the file cannot be examined.
    """

    def is_id(file_id: str) -> bool:
        return text in {file_id, printable(file_id), file_id.rpartition("-")[2]}

    found = _examined(directory, lambda file_ids: [*filter(is_id, file_ids)] or file_ids)
    meant = [file for file in found if is_id(file.id) or _is_called(file, text)]
    path = directory.path / QUARANTINE_NAME
    if len(meant) > 1:
        raise AmbiguousQuarantineIdError(path, text, sorted(printable(file.id) for file in meant))
    if not meant:
        raise QuarantinedFileNotFoundError(path, text)
    return meant[0]


def _is_called(file: QuarantinedFile, text: str) -> bool:
    """Return whether a text is the name that a file had, or the id of its session."""
    if text in {file.file, printable(file.file)}:
        return True
    if file.header is not None:
        return text in {file.header.session_id, printable(file.header.session_id)}
    try:
        return file.file in names.file_names(text)
    except InvalidSessionIdError:
        return False


def _examined(directory: SessionDirectory, choose: Callable[[list[str]], list[str]]) -> list[QuarantinedFile]:
    """Examine the files in quarantine whose ids `choose` returns; none if the folder does not exist yet."""
    with store_errors(directory.path / QUARANTINE_NAME, "list"):
        try:
            with quarantine_folder(directory).opened() as folder:
                with directory.fs.scandir(folder) as entries:
                    file_ids = [entry.name for entry in entries if is_quarantined(entry.name)]
                return [file for each in choose(file_ids) if (file := examine(directory, each, dir_fd=folder))]
        except FileNotFoundError:
            return []


def examine(directory: SessionDirectory, file_id: str, *, dir_fd: int) -> QuarantinedFile | None:
    """Return a file in quarantine as it is now; None if it is missing or not ours.

    Args:
        directory: The sessions directory.
        file_id: The file.
        dir_fd: The quarantine folder.

    Raises:
        OSError: The file cannot be examined.
    """
    split = split_stamped(file_id)
    try:
        status = directory.fs.stat(file_id, dir_fd=dir_fd)
    except FileNotFoundError:
        return None
    if split is None:
        return None
    if problem := why_no_session_file(status.st_mode):
        return QuarantinedFile(file_id, *split, 0, problem=problem, readable=False, is_file=False)
    header, problem, readable = read_header(directory, file_id, dir_fd=dir_fd)
    if not readable and status.st_size > codec.MAX_SESSION_BYTES:
        readable = True  # its size alone makes it unusable
    return QuarantinedFile(file_id, split[0], split[1], status.st_size, header, problem, readable)


def read_header(
    directory: SessionDirectory, name: str, *, dir_fd: int | None = None
) -> tuple[SessionHeader | None, str, bool]:
    """Read a whole file that is not in the place of a session.

    Returns:
        The header of the session that it holds, or None; the reason why it holds none, in a sentence; and whether it
        could be read at all.
    """
    row = directory.read_row(name, dir_fd=dir_fd, verify=always)
    if row is None:
        return None, "it is gone", False
    if isinstance(row, ProblemFile) and row.kind != "mismatched":
        return None, row.reason, row.kind != "unreadable"
    header = row.header
    if header is None or not names.agree(header.session_id, header.channel, header.chat_id):
        return None, DISAGREE, True
    return header, "", True


@contextmanager
def quarantined_opened(directory: SessionDirectory, file_id: str) -> Iterator[int]:
    """Open a file in quarantine for reading, in a block.

    Raises:
        QuarantinedFileNotFoundError: There is no file of this id.
        CorruptSessionError: It is no file, but a directory, a link or the like.
        StoreIOError: The file cannot be opened or, within the block, cannot be read.
    """
    folder, fs = quarantine_folder(directory), directory.fs
    try:
        with store_errors(folder.path, "read", file_id), folder.opened() as folder_fd:
            if problem := why_no_session_file(fs.stat(file_id, dir_fd=folder_fd).st_mode):
                raise CorruptSessionError(folder.path / file_id, problem)
            with opened(fs, file_id, READ_FLAGS, dir_fd=folder_fd) as fd:
                if problem := why_no_session_file(fs.fstat(fd).st_mode):  # replaced meanwhile
                    raise CorruptSessionError(folder.path / file_id, problem)
                yield fd
    except StoreIOError as error:
        if error.errno == errno.ENOENT:
            raise QuarantinedFileNotFoundError(folder.path, file_id) from error
        raise


def pieces_of(directory: SessionDirectory, file_id: str) -> Generator[bytes, None, None]:
    """Yield the content of a file in quarantine, piece by piece; the caller closes the generator.

    Raises as `quarantined_opened`.
    """
    with quarantined_opened(directory, file_id) as fd:
        while piece := directory.fs.read(fd, _PIECE_BYTES):
            yield piece


def read_quarantined(directory: SessionDirectory, file_id: str) -> tuple[Session, os.stat_result]:
    """Return the session in a file in quarantine, and the status of the file that was read.

    Raises:
        QuarantinedFileNotFoundError: There is no such file.
        CorruptSessionError: The file holds no session that can be used.
        StoreIOError: The file cannot be read.
    """
    path = directory.path / QUARANTINE_NAME / file_id
    with quarantined_opened(directory, file_id) as fd:
        status = directory.fs.fstat(fd)
        if status.st_size > codec.MAX_SESSION_BYTES:
            raise CorruptSessionError(path, too_large(status.st_size))
        try:
            session = codec.decode_session(read_whole(directory.fs, fd, size=status.st_size), modified_at(status))
        except ValueError as error:
            raise CorruptSessionError(path, str(error)) from error
    if not names.agree(session.session_id, session.channel, session.chat_id):
        raise CorruptSessionError(path, DISAGREE)
    return session, status


def is_same_file(status: os.stat_result, before: os.stat_result) -> bool:
    """Return whether a name still refers to the same file, with unchanged times and size."""
    return all(
        getattr(status, name) == getattr(before, name) for name in ("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
    )
