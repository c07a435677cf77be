"""The arguments and answers of the hooks; public, as names of `miniclaw`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from msgspec import Struct

from miniclaw.session.types import AwareDatetime, Session


class Keep(Struct, frozen=True):
    """An answer of `before_remove`: the session is kept, and the next run asks again.

    Attributes:
        reason: Shown in the log, in the history, and in `SessionKeptError`; may be empty.
    """

    reason: str = ""


class Remove(Struct, frozen=True):
    """An answer of `before_remove`: the session may be removed, unless it is used meanwhile."""


class RemovalCandidate(Struct, frozen=True, kw_only=True):
    """A session that is about to be removed.

    Attributes:
        session_id: ``{channel}_{chat_id}``.
        channel: The channel.
        chat_id: The channel's name of the chat.
        last_accessed: Time of the last use.
        pinned: True only for a deletion on request; no rule removes a pinned session.
        bytes: Size of the session's file.
        reason: The rule (``ttl``, ``max_sessions``, ``max_disk_bytes``, ``min_free_disk``), or ``deleted`` or
            ``erased`` for a deletion on request.
        goes_to_trash: True if it can be restored from the trash afterwards; false: it is deleted for good.
    """

    session_id: str
    channel: str
    chat_id: str
    last_accessed: AwareDatetime
    pinned: bool
    bytes: int
    reason: str
    goes_to_trash: bool


class RemovedSession(Struct, frozen=True, kw_only=True):
    """A removal that has happened.

    Attributes:
        session_id: The session.
        reason: As in `RemovalCandidate`.
        bytes_freed: Bytes freed on the disk; negative if its entry in the trash is larger than its file.
        entry_id: The entry of the trash from which it can be restored; empty: it was deleted for good.
        by: The actor: ``service``, ``command``, ``api`` or ``program``.
    """

    session_id: str
    reason: str
    bytes_freed: int
    entry_id: str
    by: str


class DueEntry(Struct, frozen=True, kw_only=True):
    """A session that a run has announced: it is deleted unless it is used.

    Attributes:
        session_id: ``{channel}_{chat_id}``.
        channel: The channel.
        chat_id: The channel's name of the chat.
        last_accessed: Time of the last use.
        goes_at: Time of the first run that may delete it; None: no run is scheduled, or none deletes.
        reason: The rule: ``ttl`` or ``max_sessions``.
    """

    session_id: str
    channel: str
    chat_id: str
    last_accessed: AwareDatetime
    goes_at: AwareDatetime | None
    reason: str


LoadSession: TypeAlias = Callable[[], Awaitable[Session]]
"""Returns the whole session as it would be removed, a copy. It is no access. Raises `StoreError`."""

BeforeRemove: TypeAlias = Callable[[RemovalCandidate, LoadSession], Awaitable[Keep | Remove]]
"""Asked before a session is removed. An exception, another answer or a passed deadline keeps the session."""

AfterRemove: TypeAlias = Callable[[RemovedSession], Awaitable[object]]
"""Called once after each removal, one call at a time, in the order of the removals."""

OnDue: TypeAlias = Callable[[tuple[DueEntry, ...]], Awaitable[object]]
"""Called by a run with the sessions that it announces, before it removes anything; at least one."""
