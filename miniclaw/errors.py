"""Every error that miniclaw raises to its user.

Foreign errors (`OSError`, msgspec's) are mapped where they arise, with ``raise … from``. The data stands in
attributes; ``str(error)`` is one sentence that names the file, key or field and what would be right. Exit codes
are the business of `miniclaw.cli` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias


class MiniclawError(Exception):
    """Base of every error that miniclaw raises on purpose."""


class ConfigError(MiniclawError):
    """A configuration that cannot be used; the program does not start with it."""

    def __init__(self, path: Path | None, problem: str, *, key: str | None = None) -> None:
        self.path = path
        self.key = key
        self.problem = problem
        where = [str(path)] if path else []
        if key:
            where.append(key)
        super().__init__(": ".join([*where, problem]))

    @property
    def errors(self) -> tuple[ConfigError, ...]:
        """All that is wrong, each by itself."""
        return (self,)


class BrokenConfigError(ConfigError):
    """A configuration in which several things are wrong; its text has a line for each, and its data is the first's."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__(errors[0].path, errors[0].problem, key=errors[0].key)
        self._errors = tuple(errors)
        self.args = ("\n".join(map(str, errors)),)

    @property
    def errors(self) -> tuple[ConfigError, ...]:
        """All that is wrong, each by itself."""
        return self._errors


ModelErrorKind: TypeAlias = Literal[
    "unreachable", "timeout", "broken_off", "unauthorized", "rate_limited", "server_error", "refused",
    "invalid_answer", "prompt", "bug", "other",
]  # fmt: skip
"""What kind of trouble with a model it was, for who counts them.

``unreachable``: no connection. ``timeout``: no answer, or no whole one, in time. ``broken_off``: the connection ended
before the answer. ``unauthorized``: the key was refused, or is missing. ``rate_limited``: asked too often.
``server_error``: the server has trouble. ``refused``: the server does not take the question. ``invalid_answer``: what
came is none, is empty, or is too much. ``prompt``: the question cannot be put together. ``bug``: the model's own code
failed, see `ModelBugError`. ``other``: anything else.
"""


class ModelError(MiniclawError):
    """A model that could not answer; the person's message is kept all the same.

    Its text is for the person who asked; `detail` is what the log is told besides, without secrets; `kind` is what it
    is counted by.
    """

    detail: str | None = None  # for a class of an embedder that does not call `__init__`
    kind: ModelErrorKind = "other"

    def __init__(self, reason: str, *, detail: str | None = None, kind: ModelErrorKind = "other") -> None:
        self.reason = reason
        self.detail = detail
        self.kind = kind
        super().__init__(reason)


class ModelBugError(ModelError):
    """A model whose code failed: it raised no `ModelError`, or gave what is no piece of an answer."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the model failed ({what})", kind="bug")


class ChannelError(MiniclawError):
    """A channel that could not deliver, or cannot receive; its text is for the log, without secrets."""


class ChannelEndedError(ChannelError):
    """A channel that cannot go on and is not to be started again; `Channel.run` raises it."""


class ForeignMessageError(MiniclawError, ValueError):
    """A message that a channel hands over under another name than its own; it is not taken."""

    def __init__(self, channel: str, name: object) -> None:
        self.channel = channel
        self.name = name
        super().__init__(
            f"the channel {channel!r} hands over a message of the channel {name!r}; "
            "InboundMessage.channel is the name of the channel that hands the message over"
        )


class ChannelNotRunningError(ChannelError):
    """A message that a channel cannot take, because it is not running: `phase` is "starting" or "stopping"."""

    def __init__(self, channel: str, phase: str) -> None:
        self.channel = channel
        self.phase = phase
        super().__init__(f"the channel {channel!r} is {phase}; send the message again in a moment")


class OutputFileError(MiniclawError):
    """A file that a command was to write its output to, at `path`; nothing of what was there is changed."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}")


class InvalidSessionIdError(MiniclawError, ValueError):
    """A channel, chat id or session id that names no session."""

    def __init__(self, value: object, expected: str) -> None:
        self.value = value
        self.expected = expected
        super().__init__(f"{_short(value)}: {expected}")


class InvalidMessageError(MiniclawError, ValueError):
    """A message that could not be saved, refused before it enters the session."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"message refused: {problem}")


class StoreError(MiniclawError):
    """Base of what can go wrong between a session and its store."""


class SessionNotFoundError(StoreError, LookupError):
    """There is no such session."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        super().__init__(f"no session {session_id!r}")


class RuntimeClosedError(StoreError):
    """The session runtime has ended, or ends; a change that it accepted now would not be saved."""

    def __init__(self) -> None:
        super().__init__("the session runtime has ended")


class UnsavedSessionsError(StoreError):
    """The session runtime has ended with sessions that could not be saved, `session_ids`; the log says why.

    It leaves the block of `open_runtime`. Where the block raised as well, or was cancelled, a group of both leaves it.
    """

    def __init__(self, session_ids: Sequence[str]) -> None:
        self.session_ids = tuple(session_ids)
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
    """Something in the place of a session that is no regular file, such as a link or a directory; it is left alone."""


class SessionTooLargeError(SessionFileError):
    """A session beyond `miniclaw.session.format.codec.MAX_SESSION_BYTES`; neither read nor written."""


class RemovalPendingError(SessionFileError):
    """A removal, or a move, that goes on while its caller no longer waits; log and history report how it ends."""


class SessionExistsError(SessionFileError):
    """A session that would be restored, or moved, while there is one of that id. Nothing was changed."""

    def __init__(self, path: Path, session_id: str) -> None:
        self.session_id = session_id
        super().__init__(
            path,
            f"there is a session {session_id!r}, and none is ever overwritten; delete it first (a damaged file can be "
            "moved to quarantine), or leave both",
        )


class SessionInUseError(StoreError):
    """A session that cannot be moved, because it is held in use, as by a turn of the agent."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        super().__init__(f"the session {session_id!r} is in use, for it is being answered; try again in a moment")


class CorruptTrashError(SessionFileError):
    """A file of the trash that cannot be restored; it stays where it is until it is emptied."""


class TrashEntryNotFoundError(StoreError, LookupError):
    """The trash has nothing of that name."""

    def __init__(self, path: Path, text: str, earlier: Path | None = None) -> None:
        self.path = path
        self.text = text
        what_to_do = "give a session id or the id of an entry"
        if earlier is not None:
            what_to_do = (
                f"it still lies in {earlier}, a folder of an earlier version, and could not be moved in; the log of"
                " the start says why. The next start of the gateway, or the next restore without one, tries again"
            )
        super().__init__(f"nothing in the trash {path} is called {_short(text)}; {what_to_do}")


class QuarantinedFileNotFoundError(StoreError, LookupError):
    """The quarantine at `path` has nothing that `text` means."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        super().__init__(
            f"nothing in quarantine {path} is called {_short(text)}; give an id as the list of the files there "
            "shows it, its beginning or its last eight digits, or a session id"
        )


class AmbiguousQuarantineIdError(StoreError):
    """Several files in the quarantine at `path` are meant by `text`; `file_ids` are theirs. Nothing was changed."""

    def __init__(self, path: Path, text: str, file_ids: Sequence[str]) -> None:
        self.path = path
        self.text = text
        self.file_ids = tuple(file_ids)
        shown = ", ".join(file_ids[:5]) + (", …" if len(file_ids) > 5 else "")
        super().__init__(
            f"{_short(text)} means {len(file_ids)} files in quarantine {path}; give more of an id: {shown}"
        )


class NotQuarantinedError(SessionFileError):
    """A file that was to be moved to quarantine and stays where it is."""


class StoreIOError(SessionFileError):
    """The operating system refused an operation (EACCES, EIO, ENOSPC, …); `errno` says why."""

    def __init__(self, path: Path, operation: str, cause: OSError) -> None:
        self.operation = operation
        self.errno = cause.errno
        text = cause.strerror or str(cause)
        super().__init__(path, f"could not {operation}: {text}")


class SessionsDirectoryError(SessionFileError):
    """The sessions directory itself cannot be used."""


class SessionsDirectoryMissingError(SessionsDirectoryError):
    """There is no such directory (yet)."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "there is no such directory")


class GatewayError(MiniclawError):
    """A running gateway that was asked over its socket and did not do what it was asked."""


class NoGatewayError(GatewayError):
    """Nobody answers at the socket of a workspace, at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path}: no gateway answers there")


class NoSocketError(MiniclawError):
    """A Unix socket that cannot be made at `path`, for the file system or the system has none there."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: no socket can be made there: {reason}")


class GatewayStalledError(GatewayError):
    """A running gateway from which no byte came in time; `pid` is its process, None where that is not known.

    Args:
        pid: The process.
        sent: Whether it has an order that it carries out as soon as it goes on.
    """

    def __init__(self, pid: int | None, *, sent: bool = False) -> None:
        self.pid = pid
        who = "" if pid is None else f" (process {pid})"
        hint = "" if pid is None else f" `kill -CONT {pid}` lets a stopped process go on."
        late = " It may still do what it was asked for; `miniclaw history` tells." if sent else ""
        super().__init__(f"The gateway{who} does not answer; is it stopped?{hint}{late}")


class GatewayBusyError(GatewayError):
    """A running gateway that is at work, and was not waited for any longer than `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"the gateway was still at work after {seconds:g} s")


class UnconfirmedError(MiniclawError):
    """A removal that nobody at a terminal can be asked about, and that was not confirmed beforehand; `what` it is."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"{what}. Nothing was changed: there is no terminal to ask at; `--yes` does it, `--dry-run` says which"
        )


class DifferentRulesError(MiniclawError):
    """A running gateway that would remove by other rules than the configuration of the command says; `key` differs."""

    def __init__(self, path: Path, key: str, ours: str, theirs: str) -> None:
        self.path = path
        self.key = key
        self.ours = ours
        self.theirs = theirs
        super().__init__(
            f"{path}: {key} = {ours}, but the gateway that runs goes by {key} = {theirs}; "
            "send it SIGHUP to have it read its file again, or use its configuration"
        )


class WorkspaceHeldError(StoreError):
    """Another process owns the sessions directory.

    Attributes:
        path: The directory.
        holder: The process, as far as it is known.
        stopping: Whether that process has written that it is about to end.
        socket: Where a gateway would take commands, and this process takes none; None: that was not tried.
    """

    def __init__(self, path: Path, holder: str, *, stopping: bool = False, socket: Path | None = None) -> None:
        self.path = path
        self.holder = holder
        self.stopping = stopping
        self.socket = socket
        advice = "it is stopping; try again" if stopping else "stop it first, or use another MINICLAW_HOME"
        if socket is not None:
            advice += f" (it takes no commands at {socket})"
        super().__init__(f"{path} is held by {holder}; {advice}")


class OwnershipLostError(StoreError):
    """This process no longer owns the sessions directory at `path`: `holder` has locked a new `.lock` in it.

    Nothing was written, removed or moved. The process stays so until it is restarted.
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
