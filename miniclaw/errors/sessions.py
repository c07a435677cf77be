"""The errors of sessions, of their store, and of their ownership."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from miniclaw.errors.program import MiniclawError


class InvalidSessionIdError(MiniclawError, ValueError):
    """A channel, chat id or session id that names no session."""

    def __init__(self, value: object, problem: str) -> None:
        self.value = value
        self.problem = problem
        super().__init__(f"{_short(value)}: {problem}")


class InvalidMessageError(MiniclawError, ValueError):
    """A message that could not be saved, and is therefore refused before it is appended to the session."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"message refused: {problem}")


class InvalidMetadataError(MiniclawError, ValueError):
    """Metadata that could not be saved, and is therefore refused; the session is unchanged."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"metadata refused: {problem}")


class SessionFullError(MiniclawError):
    """A message for which its session has no room; the session is unchanged. A repetition fails as well.

    Attributes:
        session_id: The session.
        size: The size of its file without the message, in bytes.
        bound: The largest size that it may have, in bytes, inclusive.
        problem: The reason and the remedy, for the person; also the text of the error.
    """

    def __init__(self, session_id: str, size: int, bound: int, *, is_configured: bool = True) -> None:
        self.session_id = session_id
        self.size = size
        self.bound = bound
        allowed, remedy = "a session may have", "begin a new chat, or move or delete this one"
        if is_configured:
            allowed, remedy = "max_session_bytes allows", f"{remedy}, or raise that bound"
        self.problem: str = (
            f"the session {session_id!r} is full: it has {size:,} bytes, and with this message it would have more than "
            f"the {bound:,} that {allowed}; {remedy}"
        )
        super().__init__(self.problem)


class StoreError(MiniclawError):
    """Base of errors between a session and its store."""


class SessionNotFoundError(StoreError, LookupError):
    """The session `session_id` does not exist."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        super().__init__(f"no session {session_id!r}")


class RuntimeClosedError(StoreError):
    """The session runtime has ended, or is ending; it could no longer save a change."""

    def __init__(self) -> None:
        super().__init__("the session runtime has ended")


class NoTrioError(MiniclawError, RuntimeError):
    """A runtime was opened, or a `Cleanup` was used, in a program, or a part of one, that does not run on trio."""

    def __init__(self) -> None:
        super().__init__(
            "miniclaw's sessions need a program that runs on trio, started by trio.run; in any other program, such as "
            "one on asyncio, use miniclaw.blocking.open_runtime, and call it from worker threads"
        )


class ForeignRunError(MiniclawError, RuntimeError):
    """The session runtime was called from another run of trio than the one that opened it, or from a thread."""

    def __init__(self) -> None:
        super().__init__(
            "this session runtime belongs to another run of trio; call it there, by trio.from_thread.run with a "
            "trio_token, or open it with miniclaw.blocking.open_runtime, which any thread can use"
        )


class UnsavedSessionsError(StoreError):
    """The session runtime has ended with sessions that could not be saved, `session_ids`; the log has the reasons.

    It is raised on leaving the block of `open_runtime`, in a group with an error or a cancellation of the block.
    """

    def __init__(self, session_ids: Sequence[str]) -> None:
        self.session_ids: tuple[str, ...] = tuple(session_ids)
        super().__init__(f"{len(session_ids)} of the sessions could not be saved: {', '.join(session_ids[:10])}")


class SessionFileError(StoreError):
    """Base of errors about one file of the sessions directory, at `path`, for `reason`."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class CorruptSessionError(SessionFileError):
    """A session file whose content is no session. It is never deleted and never overwritten."""


class MismatchedSessionError(SessionFileError):
    """A session file whose content names another session than its file name does. It is kept, not loaded."""


class NoSessionFileError(SessionFileError):
    """A link, a directory or another file that is not regular, in the place of a session; it is not touched."""


class SessionTooLargeError(SessionFileError):
    """A session beyond `miniclaw.session.format.codec.MAX_SESSION_BYTES`; it is neither read nor written."""


class RemovalPendingError(SessionFileError):
    """A removal or a move that continues after its caller stopped waiting; log and history report its outcome."""


class NotRemovedError(SessionFileError):
    """A session that was moved, but whose old file could not be removed; the file may still be captured."""


class SessionExistsError(SessionFileError):
    """A session that would be restored or moved to a place that is taken. Nothing was changed."""

    def __init__(self, path: Path, session_id: str) -> None:
        self.session_id = session_id
        super().__init__(
            path,
            f"the place of the session {session_id!r} is taken, and nothing is ever overwritten; delete the session "
            "there (what is no session can be moved to quarantine), or leave both",
        )


class SessionInUseError(StoreError):
    """A session that cannot be moved, because it is in use, as by a turn of the agent."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        super().__init__(f"the session {session_id!r} is in use, for it is being answered; try again in a moment")


class SessionKeptError(StoreError):
    """A session that was not deleted, because the program's `before_remove` keeps it; `reason` is its answer."""

    def __init__(self, session_id: str, reason: str) -> None:
        self.session_id = session_id
        self.reason = reason
        super().__init__(f"the session {session_id!r} was kept: {reason}")


class CorruptTrashError(SessionFileError):
    """A file of the trash that cannot be restored; it is kept there until the trash is emptied."""


class TrashEntryNotFoundError(StoreError, LookupError):
    """The trash has no entry of that name."""

    def __init__(self, path: Path | None, text: str, earlier: Path | None = None) -> None:
        self.path = path
        self.text = text
        what_to_do = "give a session id or the id of an entry"
        if earlier is not None:
            what_to_do = (
                f"it still lies in {earlier}, a folder of an earlier version, and could not be moved in; the log of"
                " the start says why. The next start of the gateway, or the next restore without one, tries again"
            )
        where = "" if path is None else f" {path}"
        super().__init__(f"nothing in the trash{where} is called {_short(text)}; {what_to_do}")


class QuarantinedFileNotFoundError(StoreError, LookupError):
    """The quarantine at `path` has no file that `text` identifies."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        super().__init__(
            f"nothing in quarantine {path} is called {_short(text)}; give an id as the list of the files there "
            "shows it, its last eight digits, the name that the file had, or the id of its session"
        )


class AmbiguousQuarantineIdError(StoreError):
    """An id, `text`, that fits several files in the quarantine at `path`, `file_ids`. Nothing was changed."""

    def __init__(self, path: Path, text: str, file_ids: Sequence[str]) -> None:
        self.path = path
        self.text = text
        self.file_ids: tuple[str, ...] = tuple(file_ids)
        shown = ", ".join(file_ids[:5]) + (", …" if len(file_ids) > 5 else "")
        super().__init__(
            f"{_short(text)} means {len(file_ids)} files in quarantine {path}; give an id or its last digits: {shown}"
        )


class NotQuarantinedError(SessionFileError):
    """A file that could not be moved to quarantine, and was left in its place."""


class StoreIOError(SessionFileError):
    """The operating system refused an operation; `errno` is the reason (EACCES, EIO, ENOSPC, …)."""

    def __init__(self, path: Path, operation: str, cause: OSError) -> None:
        self.operation = operation
        self.errno: int | None = cause.errno
        super().__init__(path, f"could not {operation}: {cause.strerror or cause}")


class JournalFormatError(SessionFileError):
    """A newer version has written the journal, in the format `found`; this one reads up to `known`."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        self.found = found
        self.known = known
        reason = f"it has format {found}, and this version reads up to {known}; start the version that wrote it"
        super().__init__(path, reason)


class NotConfirmedError(StoreError):
    """A message that is not confirmed to be on disk, for `reason`; it is in memory, and the next save tries again."""

    def __init__(self, session_id: str, reason: str) -> None:
        self.session_id = session_id
        self.reason = reason
        super().__init__(f"{session_id}: not confirmed, {reason}; it is in memory, and the next save tries again")


class SessionsDirectoryError(SessionFileError):
    """The sessions directory itself cannot be used."""


class SessionsDirectoryMissingError(SessionsDirectoryError):
    """The sessions directory does not exist (yet)."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "there is no such directory")


class WorkspaceHeldError(StoreError):
    """Another process owns the sessions directory.

    Attributes:
        stopping: True if that process has recorded that it is about to end.
        socket: The socket of a gateway, at which the process takes no commands; None: that was not tried.
    """

    def __init__(self, path: Path, holder: str, *, stopping: bool = False, socket: Path | None = None) -> None:
        self.path = path
        self.holder = holder
        self.stopping = stopping
        self.socket = socket
        advice = "it is stopping; try again" if stopping else "stop it first, or use another directory"
        if socket is not None:
            advice += f" (it takes no commands at {socket})"
        super().__init__(f"{path} is held by {holder}; {advice}")


class OwnershipLostError(StoreError):
    """This process no longer owns the sessions directory at `path`: `holder` has locked a new `.lock` in it.

    Nothing was written, removed or moved. The process cannot regain ownership until it is restarted.
    """

    def __init__(self, path: Path, holder: str) -> None:
        self.path = path
        self.holder = holder
        super().__init__(
            f"{path} belongs to {holder} now, which has locked a new .lock there; nothing is written any more. "
            "Stop one of the two, and restart this one"
        )


class ForkedRuntimeError(StoreError):
    """A session runtime that is used in a forked child of the process `pid`, which opened it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        super().__init__(f"the session runtime belongs to process {pid}, which opened it; a forked child cannot use it")


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:80] + "…"
