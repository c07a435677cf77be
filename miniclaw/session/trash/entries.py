"""Types of the trash: its entries, prepared copies, and the results of deleting and restoring."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from miniclaw.session.types import AwareDatetime


class TrashEntry(Struct, frozen=True, kw_only=True):
    """A removed session in the trash, or a file that was removed from quarantine.

    Attributes:
        id: The id for restoring: the name of the entry's file without the suffix.
        session_id: The session; None for a damaged entry, or for a file that held no session.
        key: The store's name for the session; for a file from quarantine, its earlier name among the sessions.
        removed_at: Time of the removal.
        expires_at: Time from which the entry may be deleted; None for a damaged entry.
        reason: The rule or the command that removed it.
        last_accessed: Last use of the session before the removal; None without a `session_id`.
        size: Bytes of the session's file.
        stored_size: Bytes of the entry's file.
        by: The actor that removed it.
        problem: Why the entry cannot be read, in one sentence; empty if it can. With a problem, the other fields hold
            the facts known without the content.
        from_quarantine: True for a file from quarantine; restoring it returns it there.
    """

    id: str
    session_id: str | None = None
    key: str = ""
    removed_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    reason: str = ""
    last_accessed: AwareDatetime | None = None
    size: int = 0
    stored_size: int = 0
    by: str = ""
    problem: str = ""
    from_quarantine: bool = False


class Prepared(Struct, frozen=True):
    """A copy in the trash, complete and synced, that becomes an entry only when it is committed.

    Attributes:
        key: The store's name for the session, or the id of the file in quarantine.
        session_id: The session; empty for a file that holds none.
        entry_id: The id of the future entry.
        temporary: The name of the copy until the commit.
        size: Bytes of the file that was copied.
        stored_size: Bytes of the copy.
    """

    key: str
    session_id: str
    entry_id: str
    temporary: str
    size: int
    stored_size: int


class TrashRemoval(Struct, frozen=True):
    """The outcome of deleting one entry.

    Attributes:
        entry_id: The entry.
        outcome: ``removed``: deleted, durably. ``vanished``: there was no such entry. ``failed``: `reason` gives the
            cause. ``pending``: the disk takes too long; the outcome is reported later.
        bytes_freed: Bytes freed on the disk; 0 unless removed, and 0 for a file that has another hard link.
        reason: A sentence if the outcome is ``failed`` or ``pending``; else empty.
    """

    entry_id: str
    outcome: Literal["removed", "vanished", "failed", "pending"]
    bytes_freed: int = 0
    reason: str = ""


class Restored(Struct, frozen=True, omit_defaults=True):
    """The result of restoring from the trash.

    Attributes:
        session_id: The restored session; None for a file that was returned to quarantine.
        file_id: The id of that file in quarantine; None for a session.
    """

    session_id: str | None
    file_id: str | None = None
