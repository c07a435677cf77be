"""What the API and its client say to each other, besides what the parts of miniclaw are called already.

Imported by both ends, so that neither can differ; without the server, so that a command starts quickly.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Raw, Struct

from miniclaw import errors
from miniclaw.errors import MiniclawError
from miniclaw.formats import encodable
from miniclaw.session.trash.entries import TrashRemoval

PREFIX: Final = "/api/v1"

API_VERSION: Final = 1
"""Raised when something is changed so that a client of before cannot go on."""

VERSION_HEADER: Final = "miniclaw-api"
"""In every answer: by it a command knows whether the gateway that runs understands it."""

PROGRESS_HEADER: Final = "miniclaw-progress"
"""In a request: the client wants a sign of life while its answer is made. In an answer: its body is a `Delayed`."""

PROGRESS_SECONDS: Final = 1
"""Between two signs of life, each one byte."""

SILENCE_SECONDS: Final = 5
"""How long a command waits for the next byte of a gateway, before it takes it for stopped."""

MAX_PAGE: Final = 1000
"""Most rows of a page, and most things of one order, inclusive."""


_Names = Annotated[
    list[str], Meta(min_length=1, max_length=MAX_PAGE, extra={"right": f"a list of 1 to {MAX_PAGE} texts"})
]
_Truth = Annotated[bool, Meta(extra={"right": "true or false"})]


class Failure(Struct, frozen=True):
    """Why one of several things was not done.

    Attributes:
        error: The class of the error, such as ``SessionNotFoundError``.
        detail: One sentence.
    """

    error: str
    detail: str


def failure(error: MiniclawError) -> Failure:
    """Return an error as part of an answer."""
    return Failure(type(error).__name__, encodable(str(error)))


def error_of(failure: Failure) -> MiniclawError:
    """Return the same error again, with the same text, but without its data in attributes.

    One that is not known here is a plain `MiniclawError`.
    """
    kind = getattr(errors, failure.error, None)
    if not (isinstance(kind, type) and issubclass(kind, MiniclawError)):
        kind = MiniclawError
    error = kind.__new__(kind)  # not called: each takes something else, and the text is there already
    error.args = (failure.detail,)
    return error


class Problem(Struct, frozen=True):
    """Why a request was not fulfilled, after RFC 9457.

    Attributes:
        title: The status in words.
        status: The status.
        detail: What is wrong, and what would be right.
        error: The class of the error, where it is one of miniclaw's own.
        field: The parameter, or the member of the body, that is not right.
    """

    title: str
    status: int
    detail: str
    error: str | None = None
    field: str | None = None


class Delayed(Struct, frozen=True):
    """An answer that took longer than `PROGRESS_SECONDS`: its real status, and its body. White space stands before it.

    Attributes:
        status: The HTTP status that the answer would have had.
        body: JSON.
    """

    status: int
    body: Raw


class DeleteOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Which sessions are to be deleted, and how.

    Attributes:
        session_ids: Which; the same one twice counts once.
        erase: For good, and out of trash and quarantine as well.
    """

    session_ids: _Names
    erase: _Truth = False


class DeletedSession(Struct, frozen=True):
    """What became of a session that was to be deleted.

    Attributes:
        session_id: The session.
        bytes_freed: What the disk got back.
        trash_entry: By which it can be restored; null: it is gone for good.
        error: Why it was not deleted, or not for good; null: it was.
    """

    session_id: str
    bytes_freed: int
    trash_entry: str | None
    error: Failure | None = None


class DeletedSessions(Struct, frozen=True):
    """What became of the sessions that were to be deleted, in their order."""

    sessions: list[DeletedSession]
    bytes_freed: int


class Pinned(Struct, frozen=True):
    """Whether a session is pinned now, and whether that was changed."""

    session_id: str
    pinned: bool
    changed: bool


class MoveOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The new id of a session.

    Attributes:
        to: The id of the chat that goes on with it, ``{channel}_{chat_id}``; it has no session.
    """

    to: Annotated[str, Meta(extra={"right": "the id that the session gets, {channel}_{chat_id}"})]


class Moved(Struct, frozen=True):
    """Which session has which id now."""

    session_id: str
    to: str


class CleanupOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """A cleanup that is to be run now.

    Attributes:
        confirmed: Whether to let through what `max_removed_fraction` would hold.
    """

    confirmed: _Truth = False


class Stopping(Struct, frozen=True):
    """Whether there is a cleanup, which will end after the batch it is at."""

    stopping: bool


class EmptyOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Which entries of the trash are to go for good, by their ids."""

    entries: _Names


class Emptied(Struct, frozen=True):
    """What became of the entries, in their order."""

    entries: list[TrashRemoval]
    bytes_freed: int


class QuarantineOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """An order to move files of the sessions directory to quarantine, by their names."""

    files: _Names


class QuarantineDeleteOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """An order to delete files in quarantine.

    Attributes:
        files: Their ids, or other texts that mean one of them.
        erase: For good, also where there is a trash.
    """

    files: _Names
    erase: _Truth = False


class QuarantineOutcome(Struct, frozen=True):
    """The outcome of moving a file to quarantine, or of deleting it there.

    Attributes:
        name: The name in the order.
        id: Its id in quarantine; null: it is not known.
        bytes_freed: Bytes that came free.
        trash_entry: By which it comes back from the trash; null: it did not go there.
        error: Why it was not done; null: it was.
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
    """What was saved.

    Attributes:
        saved: How many sessions are on the disk now that were not before.
        failed: How many could not be saved; they stay in memory.
        failed_session_ids: The first hundred of these.
    """

    saved: int
    failed: int
    failed_session_ids: list[str]


class Entrance(Struct, frozen=True):
    """By which address a browser reaches the page, and by which code it logs in there.

    Attributes:
        address: A URL without path; null: the gateway is served at no address.
        code: It lets one browser in, once; null: the page needs no token.
        seconds: For how long the code is good.
    """

    address: str | None
    code: str | None
    seconds: int

    def link(self, address: str | None = None) -> str:
        """Return the link to open.

        Args:
            address: Another address of the same page; None: that of the entrance.
        """
        # Behind the `#`: a browser sends that part to no server, so it stands in no log, referrer or preview.
        at = address or self.address or ""
        return f"{at}/" if self.code is None else f"{at}/login#{self.code}"


class ConfigAnswer(Struct, frozen=True):
    """The configuration in force, as its file would say it. Secrets are not in it, only where they lie.

    Attributes:
        config: Table -> key -> value.
    """

    config: dict[str, dict[str, Any]]
