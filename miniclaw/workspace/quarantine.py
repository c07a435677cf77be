"""The files in quarantine as they are shown: their present content, and the time at which retention removes them."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from miniclaw.errors import QuarantinedFileNotFoundError
from miniclaw.formats import printable
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME
from miniclaw.session.names import file_names
from miniclaw.session.removal.quarantine_files import find_quarantined, list_quarantined, pieces_of
from miniclaw.session.removal.quarantine_removal import leftover_of
from miniclaw.session.retention.leftover_rules import foresee
from miniclaw.session.retention.notice import Notice
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.types import AwareDatetime
from miniclaw.workspace.plan import Timetable, find_timetable
from miniclaw.workspace.workspace import Workspace

if TYPE_CHECKING:
    from miniclaw.session.entries import QuarantinedFile
    from miniclaw.session.files.directory import SessionDirectory

MOST_SHOWN: Final = 1024 * 1024
"""Most bytes that are shown of a file without a usable session, inclusive."""


class ShownFile(Struct, frozen=True, kw_only=True):
    """A file in quarantine.

    Attributes:
        id: The id by which it can be restored or deleted.
        file: Its earlier name among the sessions; a long one is cut.
        session_id: The session that it holds; null: it holds no usable session.
        last_accessed: The time of that session's last use.
        since: The time at which the file was quarantined.
        problem: Why it cannot be restored as it is, in a sentence; empty: it can.
        announced: True if a run has announced its deletion.
        goes_at: The time of the first scheduled run that may delete it; null: none will.
    """

    id: str
    file: str
    session_id: str | None
    last_accessed: AwareDatetime | None
    since: AwareDatetime
    bytes: int
    problem: str
    announced: bool
    goes_at: AwareDatetime | None


def look_at_quarantine(workspace: Workspace) -> list[ShownFile]:
    """Return the files in quarantine, the oldest first.

    Raises:
        StoreError: The files cannot be listed.
    """
    directory, notice, timetable = workspace.directory, workspace.notice(), find_timetable(workspace)
    if directory is None:
        return []
    policy = workspace.policy
    return [_shown(directory, file, policy, notice, timetable) for file in list_quarantined(directory)]


def _shown(
    directory: SessionDirectory, file: QuarantinedFile, policy: RetentionPolicy, notice: Notice, timetable: Timetable
) -> ShownFile:
    due, header = foresee(leftover_of(file), policy, notice), file.header
    return ShownFile(
        id=printable(file.id),
        file=printable(file.file),
        session_id=None if header is None else printable(header.session_id),
        last_accessed=None if header is None else header.last_accessed,
        since=file.since,
        bytes=file.size,
        problem=printable(file.problem if header is None else _why_not_free(directory, header.session_id)),
        announced=due is not None and due.noted is not None,
        goes_at=None if due is None else timetable.goes_at(due),
    )


def _why_not_free(directory: SessionDirectory, session_id: str) -> str:
    """Return why a session cannot be restored to its place, judged by the disk alone; empty: it can."""
    for name in file_names(session_id):
        try:
            directory.fs.stat(name, dir_fd=directory.fd)
        except FileNotFoundError:
            continue
        except OSError as error:
            return f"its place cannot be looked at: {error.strerror}"
        return f"there is a file in its place, {name}"
    return ""


class FileContent(Struct, frozen=True):
    """The content of a file in quarantine.

    Attributes:
        text: Its beginning, as text; bytes that are not UTF-8 and characters that command a terminal are escaped.
        omitted: Number of bytes after that beginning.
    """

    id: str
    bytes: int
    text: str
    omitted: int


def find_file(workspace: Workspace, text: str) -> tuple[SessionDirectory, QuarantinedFile]:
    """Return the file in quarantine that a text identifies, and the directory that holds it.

    Raises:
        QuarantinedFileNotFoundError: No file matches; `AmbiguousQuarantineIdError`: several do.
        StoreError: The file cannot be examined.
    """
    if workspace.directory is None:
        raise QuarantinedFileNotFoundError(workspace.home.sessions_dir / QUARANTINE_NAME, text)
    return workspace.directory, find_quarantined(workspace.directory, text)


def read_content(directory: SessionDirectory, file: QuarantinedFile) -> FileContent:
    """Return the first `MOST_SHOWN` bytes of a file in quarantine, as text that is safe to show.

    Raises:
        StoreError: The file cannot be read.
    """
    data = b""
    with closing(pieces_of(directory, file.id)) as pieces:
        while len(data) < MOST_SHOWN and (piece := next(pieces, b"")):
            data += piece
    shown = data[:MOST_SHOWN]
    text = printable(shown.decode(errors="backslashreplace"))
    return FileContent(printable(file.id), file.size, text, max(0, file.size - len(shown)))
