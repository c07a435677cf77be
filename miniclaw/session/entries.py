"""What a scan of the store finds, and what lies beside the sessions."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from miniclaw.clock import to_microseconds
from miniclaw.session.types import AwareDatetime, SessionHeader

ProblemKind: TypeAlias = Literal["unreadable", "corrupt", "mismatched", "conflict", "foreign"]
"""Why a directory entry is not a session that retention may judge.

``unreadable``: the system refused to read it, or it is too large. ``corrupt``: its content is no session.
``mismatched``: its content names another session than its file name. ``conflict``: another program has made it as a
copy of a session's file (`miniclaw.session.conflict_names`). ``foreign``: it does not claim to be one, or it is no
regular file.
"""

BESIDE: Final[frozenset[ProblemKind]] = frozenset({"conflict", "foreign"})
"""The kinds that stand in no session's place; they do not count as session files."""


class StoredSession(Struct, frozen=True, gc=False):  # gc=False: it can be part of no cycle
    """A session as it lies in the store.

    Attributes:
        key: The store's own name for it; here the file name.
        size: Bytes.
        header: Its header.
        file: By which another file of this name is told from this one; 0: nothing tells.
        mark: Of 31 bits; changes with anything that is done to the file, be it to its links or its mode.
    """

    key: str
    size: int
    header: SessionHeader
    file: int = 0
    mark: int = 0

    @property
    def identity(self) -> int:
        """By what the next run recognises it: its file, and when it was used."""
        used = to_microseconds(self.header.last_accessed)
        return identity(self.file or name_identity(self.key), 2 * used)

    @property
    def identity_by_number(self) -> int:
        """The same, where `max_sessions` is the rule: an announcement by one rule is none by another."""
        return identity(self.identity, 1)


class ProblemFile(Struct, frozen=True):
    """Something in the store that is not a readable session. It is never removed for that.

    Attributes:
        key: As in `StoredSession`.
        kind: See `ProblemKind`.
        reason: A sentence.
        header: Of the session that the content names, where the file is ``mismatched``; else None.
    """

    key: str
    kind: ProblemKind
    reason: str
    header: SessionHeader | None = None

    @property
    def inside(self) -> str:
        """The session that the content names, where the file is ``mismatched``; else empty."""
        return "" if self.header is None else self.header.session_id


LeftoverKind: TypeAlias = Literal["trash", "quarantined", "temporary", "unfinished", "legacy"]
"""What lies beside the sessions, or did before.

``trash``: a removed session, kept for a while. ``quarantined``: what stood in a session's place and could not be read.
``temporary``: a file that no running save owns. ``unfinished``: a session that a removal left captured. ``legacy``: a
temporary or corrupt file of an earlier implementation, among the sessions.
"""


class Leftover(Struct, frozen=True, gc=False):
    """Something of ours that is no session in force.

    Attributes:
        kind: What it is.
        key: Its name in its folder; folder/name for ``unfinished``.
        size: Bytes.
        since: When it was removed, quarantined or last written, aware; None: not known.
        expires_at: When an entry of the trash may go, aware; None: not known, or of another kind.
        header: Of the session in a file that is ``quarantined`` or ``legacy``; None: it holds none that can be used.
        readable: Whether the system let a file be read that is ``quarantined``; else no rule takes it.
        from_quarantine: Whether an entry of the trash is a file that lay in quarantine.
    """

    kind: LeftoverKind
    key: str
    size: int
    since: datetime | None
    expires_at: datetime | None = None
    header: SessionHeader | None = None
    readable: bool = True
    from_quarantine: bool = False


LeftoverOutcome: TypeAlias = Literal["removed", "moved", "vanished", "failed", "pending"]


class LeftoverRemoval(Struct, frozen=True):
    """What became of a leftover that was to go.

    Attributes:
        leftover: The leftover.
        outcome: ``removed``: gone, durably. ``moved``: in quarantine, where it ages. ``vanished``: there was no such
            file any more. ``failed``: it is still there, or may come back; `reason` says why. ``pending``: the disk
            takes too long, and the outcome is told when it comes.
        bytes_freed: What the disk got back; 0 unless removed, and 0 for a file that has another hard link. Negative for
            one whose entry in the trash is larger than its file.
        reason: A sentence, where it failed or is pending.
        entry_id: Of the trash, where it went there.
    """

    leftover: Leftover
    outcome: LeftoverOutcome
    bytes_freed: int = 0
    reason: str = ""
    entry_id: str = ""


ScanRow: TypeAlias = StoredSession | ProblemFile

Verify: TypeAlias = Callable[[SessionHeader], bool]
"""Whether the beginning of a file is not enough to go by; called in a thread."""


def always(_: SessionHeader) -> bool:
    """Have a file read whole, as a `Verify`."""
    return True


_MASK: Final = (1 << 64) - 1


def identity(file: int, used: int) -> int:
    """Return one number for a file and when its session was used, as `ledger.encode_use` says it; or for any two."""
    # Multiplied by odd numbers of 64 bits, so that all bits of both count.
    return ((file * 0x9E3779B97F4A7C15 & _MASK) ^ (used * 0xC2B2AE3D27D4EB4F & _MASK)) * 0x9FB21C651E98DF25 & _MASK


def mark_of(ctime_ns: int) -> int:
    """Return the mark of a file by its time of change."""
    return (ctime_ns ^ ctime_ns >> 31) & 0x7FFFFFFF


def name_identity(name: str) -> int:
    """Return by what something is recognised that has no other identity than its name."""
    from hashlib import blake2b  # noqa: PLC0415 - start-up time: most files have another identity

    return int.from_bytes(blake2b(os.fsencode(name), digest_size=8).digest())


class QuarantinedFile(Struct, frozen=True):
    """A file in quarantine, as it is now.

    Attributes:
        id: Its name in the folder: ``FILE.TIME-RANDOM``.
        file: The name that it had among the sessions; a long one is cut.
        since: When it came there, aware.
        size: Bytes.
        header: Of the session that it holds; None: it is not sound.
        problem: Why it is not sound, in a sentence; empty: it is sound.
        readable: False: the system refused to read it, and its content is unknown.
    """

    id: str
    file: str
    since: AwareDatetime
    size: int
    header: SessionHeader | None = None
    problem: str = ""
    readable: bool = True
