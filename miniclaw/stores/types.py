"""The data that a session runtime exchanges with its store.

Times are aware, in UTC, of the store's own clock, and exact to the microsecond. Durations are `timedelta`. Messages and
metadata are JSON texts in UTF-8 that a store returns byte for byte and never has to understand.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from msgspec import Struct

Verdict: TypeAlias = Literal["removed", "gone", "used", "young", "pinned", "leased", "unannounced", "clock"]
"""The outcome for one candidate of a removal. All but the first leave the session as it is.

``removed``: it is deleted, or in the trash. ``gone``: there is no such session. ``used``: its last use is not the one
that the candidate has. ``young``: its age does not exceed `min_age`. ``pinned``: its pin protects it. ``leased``: a
lease on it is in force, of any owner. ``unannounced``: its removal was not announced, or not for this moment yet.
``clock``: the caller's clock and the store's differ by more than `CLOCK_TOLERANCE`. Where several apply, any of them is
right, except that a session that does not exist is always ``gone``.
"""

AuditKind: TypeAlias = Literal["removed", "restored", "emptied", "noted"]
"""What a line of the audit log records: a removal, a restore, the end of an entry of the trash, or a caller's note."""

CLOCK_TOLERANCE = timedelta(minutes=5)
"""Largest difference between the clocks of a caller and its store, inclusive, at which sessions are removed."""


class Lease(Struct, frozen=True):
    """The right to change one session, until it ends or another one is given out.

    Attributes:
        session_id: The session, which need not exist.
        token: Larger than that of every earlier lease on this session. Only the newest lease is accepted.
        revision: Number of the session's state as the holder knows it; 0: there is no session. A revision is never used
            twice for one id, even after a removal: an equal revision means an equal session.
    """

    session_id: str
    token: int
    revision: int


class Header(Struct, frozen=True):
    """All of a session but its messages: what lists and retention need.

    Attributes:
        session_id: ``{channel}_{chat_id}``; the channel has no underscore.
        created_at: Time of the first commit.
        last_accessed: Time of the last commit with `Change.touch`, or of the restore from the trash.
        revision: As in `Lease`. A pin and an announcement do not change it.
        count: Number of messages.
        size: Size by the store's own measure; at least the sum of the sizes of messages and metadata.
        pinned: If true, `remove_if_unused` keeps the session.
        metadata: A JSON object, or empty: the fields of a session beside those here.
        due_at: Time from which on the announced removal may happen; None: none is announced.
    """

    session_id: str
    channel: str
    chat_id: str
    created_at: datetime
    last_accessed: datetime
    revision: int
    count: int
    size: int
    pinned: bool = False
    metadata: bytes = b""
    due_at: datetime | None = None


class Stored(Struct, frozen=True):
    """A session with its messages, oldest first: all, or the newest ones that were asked for."""

    header: Header
    messages: Sequence[bytes]


class Change(Struct, frozen=True, kw_only=True):
    """One change of a session, made as a whole or not at all. Without messages, `keep` and `metadata` it is a use.

    Attributes:
        op: Name of this change, unique among all changes of all programs. A change that is sent again because no answer
            came is answered and not made again.
        messages: The messages to append, each a JSON object.
        keep: Number of old messages that stay, counted from the oldest; None: all. It precedes the append; so clearing,
            undoing and editing are changes like any other.
        metadata: The new metadata; None: they stay as they are.
        touch: If true, `last_accessed` becomes the store's present, and an announced removal is taken back. Otherwise
            both stay, unless the change creates the session.
    """

    op: str
    messages: Sequence[bytes] = ()
    keep: int | None = None
    metadata: bytes | None = None
    touch: bool = True


class Saved(Struct, frozen=True):
    """A change that is durable. The caller's next change uses `lease`.

    Attributes:
        lease: The same lease, with the new revision.
        last_accessed: As the session has it now.
    """

    lease: Lease
    last_accessed: datetime


class Candidate(Struct, frozen=True):
    """A session to be removed, or announced, and its last use as the caller has seen it."""

    session_id: str
    last_accessed: datetime


class Outcome(Struct, frozen=True):
    """The outcome of a removal for one session.

    Attributes:
        verdict: Whether it was removed, and otherwise why not.
        size: Its size; 0 unless it was removed.
        entry_id: Its entry in the trash; empty: there is none.
    """

    session_id: str
    verdict: Verdict
    size: int = 0
    entry_id: str = ""


class Restoration(Struct, frozen=True):
    """The outcome of a restore.

    Attributes:
        verdict: ``restored``; or ``gone``: the trash has no such entry; or ``taken``: a session of that id exists.
        session_id: The session; empty if ``gone``.
    """

    verdict: Literal["restored", "gone", "taken"]
    session_id: str = ""


class Trashed(Struct, frozen=True):
    """A removed session that can be restored.

    Attributes:
        entry_id: Unique in this store, not empty.
        removed_at: Time of the removal.
        expires_at: Time from which on `empty_trash` deletes it.
        reason: The rule or command that removed it, in the caller's words.
        by: The actor that removed it, likewise.
        last_accessed: Its last use before the removal.
        size: Its size as a session.
    """

    entry_id: str
    session_id: str
    removed_at: datetime
    expires_at: datetime
    reason: str
    by: str
    last_accessed: datetime
    size: int


class AuditLine(Struct, frozen=True):
    """One line of the audit log, written in the same step as the event itself.

    Attributes:
        number: Larger than that of every earlier line.
        at: Time of the event.
        kind: The event.
        op: Name of the operation, as given by the caller. The removals of one run share it.
        by: The actor, in the caller's words.
        reason: The rule or the command, likewise; of a note, its text.
        session_id: The session; empty for a note.
        last_accessed: Its last use; None for a note.
        size: Its size.
        entry_id: Its entry in the trash; empty: there is none.
    """

    number: int
    at: datetime
    kind: AuditKind
    op: str
    by: str
    reason: str = ""
    session_id: str = ""
    last_accessed: datetime | None = None
    size: int = 0
    entry_id: str = ""


class Totals(Struct, frozen=True):
    """Numbers and sizes of the sessions and of the entries of the trash, as of one moment."""

    sessions: int = 0
    size: int = 0
    trashed: int = 0
    trashed_size: int = 0


class Turn(Struct, frozen=True):
    """The answer to a program that wants to sweep.

    Attributes:
        token: Name of the claim, for `end_sweep`; 0: it is not this program's turn.
        now: The store's clock.
        wait: Time until a program may ask again with a chance: until the sweep is due, or the claim of another program
            ends; zero if `token` is not 0.
        last_began: Beginning of the last completed sweep; None: none is known.
        note: The text that this sweep left; empty: none.
    """

    token: int
    now: datetime
    wait: timedelta = timedelta(0)
    last_began: datetime | None = None
    note: bytes = b""
