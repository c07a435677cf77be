"""Messages between the API and its client, in addition to the types of other modules.

Both ends import this module, so that they cannot differ. It does not import the server, so that a command starts
quickly.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Raw, Struct

from miniclaw import errors
from miniclaw.errors import MiniclawError
from miniclaw.formats import encodable
from miniclaw.session.entries import ProblemKind
from miniclaw.session.trash.entries import TrashRemoval

PREFIX: Final = "/api/v1"

API_VERSION: Final = 1
"""Incremented by a change that an earlier client does not understand."""

VERSION_HEADER: Final = "miniclaw-api"
"""In every answer: the API version, by which a command detects a gateway of another version."""

PROGRESS_HEADER: Final = "miniclaw-progress"
"""In a request: the client wants signs of life until its answer is made. In an answer: its body is a `Delayed`."""

PROGRESS_SECONDS: Final = 1
"""Interval of the signs of life, of one byte each."""

SILENCE_SECONDS: Final = 5
"""Longest wait of a command for the next byte; after it, the gateway counts as stopped."""

MAX_PAGE: Final = 1000
"""Most rows of a page, and most items of one order, inclusive."""


_Names = Annotated[
    list[str], Meta(min_length=1, max_length=MAX_PAGE, extra={"right": f"a list of 1 to {MAX_PAGE} texts"})
]
_Truth = Annotated[bool, Meta(extra={"right": "true or false"})]


class Failure(Struct, frozen=True):
    """Reason why one of several items was not processed; `error` is a class, such as ``SessionNotFoundError``."""

    error: str
    detail: str


def failure(error: MiniclawError) -> Failure:
    """Return an error as part of an answer."""
    return Failure(type(error).__name__, encodable(str(error)))


def error_of(failure: Failure) -> MiniclawError:
    """Return the error of a failure, with the same class and text, but without its data in attributes.

    An error of an unknown class is a plain `MiniclawError`.
    """
    kind = getattr(errors, failure.error, None)
    if not (isinstance(kind, type) and issubclass(kind, MiniclawError)):
        kind = MiniclawError
    error = kind.__new__(kind)  # not called: the signatures differ, and the text is complete
    error.args = (failure.detail,)
    return error


class Problem(Struct, frozen=True):
    """Problem details of a refused request, after RFC 9457.

    Attributes:
        error: The class of the error, if it is one of miniclaw's own.
        field: The invalid parameter, or the invalid member of the body.
    """

    title: str
    status: int
    detail: str
    error: str | None = None
    field: str | None = None


class Delayed(Struct, frozen=True):
    """An answer that took longer than `PROGRESS_SECONDS`, with white space before it, sent with status 200."""

    status: int
    body: Raw


class DeleteOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """An order to delete sessions.

    Attributes:
        session_ids: The sessions; a repeated id counts once.
        erase: If true, they are deleted for good, and from trash and quarantine as well.
    """

    session_ids: _Names
    erase: _Truth = False


class RemainingFile(Struct, frozen=True):
    """A file that an erasure leaves, and that holds messages of the session or may hold some."""

    file: str
    kind: ProblemKind
    reason: str


class DeletedSession(Struct, frozen=True):
    """The outcome of the deletion of one session.

    Attributes:
        trash_entry: The entry of the trash, by which it can be restored; null: there is none.
        error: The reason why it was not deleted, or not for good; null: it was.
        remaining: The files that an erasure leaves, and that hold messages of the session or may hold some.
    """

    session_id: str
    bytes_freed: int
    trash_entry: str | None
    error: Failure | None = None
    remaining: list[RemainingFile] = []


class DeletedSessions(Struct, frozen=True):
    """The outcomes of a deletion, in the order of the sessions."""

    sessions: list[DeletedSession]
    bytes_freed: int


class Pinned(Struct, frozen=True):
    """The state of a session's pin, and whether the request changed it."""

    session_id: str
    pinned: bool
    changed: bool


class MoveOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The new id of a session: of the chat that continues it, ``{channel}_{chat_id}``, and that has no session yet."""

    to: Annotated[str, Meta(extra={"right": "the id that the session gets, {channel}_{chat_id}"})]


class Moved(Struct, frozen=True):
    """The former id and the new id of a session."""

    session_id: str
    to: str


class CleanupOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """An order to run a cleanup now; if it is `confirmed`, `max_removed_fraction` does not hold the cleanup."""

    confirmed: _Truth = False


class Stopping(Struct, frozen=True):
    """True if a cleanup is in progress; it will end after its present batch."""

    stopping: bool


class EmptyOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """An order to delete entries of the trash for good, by their ids."""

    entries: _Names


class Emptied(Struct, frozen=True):
    """The outcomes, in the order of the entries."""

    entries: list[TrashRemoval]
    bytes_freed: int


class QuarantineOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """An order to move files of the sessions directory to quarantine, by their names."""

    files: _Names


class QuarantineDeleteOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """An order to delete files in quarantine.

    Attributes:
        files: Their ids, or other texts that identify one of them.
        erase: If true, they are deleted for good, even if there is a trash.
    """

    files: _Names
    erase: _Truth = False


class QuarantineOutcome(Struct, frozen=True):
    """The outcome of moving a file to quarantine, or of deleting it there.

    Attributes:
        id: Its id in quarantine; null: it is not known.
        trash_entry: The entry of the trash, by which it can be restored; null: there is none.
        error: The reason why it was not done; null: it was.
    """

    name: str
    id: str | None
    bytes_freed: int
    trash_entry: str | None
    error: Failure | None = None


class QuarantineOutcomes(Struct, frozen=True):
    """The outcomes, in the order of the files."""

    files: list[QuarantineOutcome]


class RestoredFile(Struct, frozen=True):
    """The session that was restored; it counts as used just now."""

    session_id: str


class Saved(Struct, frozen=True):
    """The outcome of a save.

    Attributes:
        saved: Number of sessions that were dirty and are on the disk now.
        failed: Number of sessions that could not be saved; they remain in memory.
        failed_session_ids: The first hundred of the sessions that could not be saved.
    """

    saved: int
    failed: int
    failed_session_ids: list[str]


class Entrance(Struct, frozen=True):
    """The address of the chat page, and the code by which a browser logs in there.

    Attributes:
        address: A URL without path; null: the gateway is served at no address.
        code: A code that logs one browser in, once; null: the page needs no token.
        seconds: Validity of the code.
    """

    address: str | None
    code: str | None
    seconds: int

    def link(self, address: str | None = None) -> str:
        """Return the link to open: at `self.address`, or at another address of the same page."""
        # In the fragment, which a browser sends to no server: no log, referrer or preview contains the code.
        at = address or self.address or ""
        return f"{at}/" if self.code is None else f"{at}/login#{self.code}"


class ConfigAnswer(Struct, frozen=True):
    """The configuration in force, in the form of its file. It has the locations of secrets, and no secret itself."""

    config: dict[str, dict[str, Any]]
