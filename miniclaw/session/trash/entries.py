"""What the trash is asked for and answers."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from miniclaw.session.types import AwareDatetime


class TrashEntry(Struct, frozen=True, kw_only=True):
    """A removed session in the trash, or a file that lay in quarantine.

    Attributes:
        id: By which it can be restored: its file's name without the suffix.
        session_id: The session; None where the entry is damaged, or is of a file that held no session.
        key: The store's name for the session; of a file from quarantine, the name that it had among the sessions.
        removed_at: When it was removed.
        expires_at: When the entry may go; None where it is damaged.
        reason: The rule, or the command, that removed it.
        last_accessed: When the session was last used before; None where there is no `session_id`.
        size: Bytes of the session's file.
        stored_size: Bytes of the entry's file.
        by: Who removed it.
        problem: Why it cannot be read, in one sentence; empty where it can. The other fields say what is known then.
        from_quarantine: Whether it lay in quarantine, where restoring puts it again.
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
    """A copy in the trash, whole and on the disk, that is not an entry until it is committed.

    Attributes:
        key: The store's name for the session, or the id of the file in quarantine.
        session_id: The session; empty for a file that holds none.
        entry_id: What the entry is going to be called.
        temporary: What the copy is called until then.
        size: Bytes of the file that was copied.
        stored_size: Bytes of the copy.
    """

    key: str
    session_id: str
    entry_id: str
    temporary: str
    size: int
    stored_size: int

    @property
    def bytes_freed(self) -> int:
        """What the disk gets back by moving it to the trash; negative where its entry is larger."""
        return self.size - self.stored_size


TrashOutcome: TypeAlias = Literal["removed", "vanished", "failed", "pending"]


class TrashRemoval(Struct, frozen=True):
    """What became of an entry that was to be removed.

    Attributes:
        entry_id: The entry.
        outcome: ``removed``: gone, durably. ``vanished``: there was none. ``failed``: `reason` says why. ``pending``:
            the disk takes too long, and the outcome is told when it comes.
        bytes_freed: What the disk got back; 0 unless removed, and 0 for a file that has another hard link.
        reason: A sentence, where it failed or is pending.
    """

    entry_id: str
    outcome: TrashOutcome
    bytes_freed: int = 0
    reason: str = ""


class Restored(Struct, frozen=True, omit_defaults=True):
    """The result of restoring from the trash.

    Attributes:
        session_id: The session that is in its place again; None: it was a file that lay in quarantine.
        file_id: The id of that file in quarantine; None: it was a session.
    """

    session_id: str | None
    file_id: str | None = None
