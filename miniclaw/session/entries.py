"""The entries that a scan of the store returns, and the leftovers beside the sessions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, Literal, TypeAlias, TypeVar

from msgspec import Struct, field

from miniclaw.clock import from_microseconds, to_microseconds
from miniclaw.session.types import JSON, AwareDatetime, SessionHeader

K = TypeVar("K")
T = TypeVar("T")


class Tally(Struct, frozen=True):
    """The number of sessions, and their total bytes."""

    sessions: int = 0
    bytes: int = 0


class FileTally(Struct, frozen=True):
    """The number of files, and their total bytes."""

    files: int = 0
    bytes: int = 0


def tally_by(tally: Callable[[int, int], T], sizes: Iterable[tuple[K, int]]) -> dict[K, T]:
    """Return a tally for each label, from pairs of a label and a size, in the order in which the labels appear."""
    found: dict[K, list[int]] = {}
    for label, size in sizes:
        found.setdefault(label, []).append(size)
    return {label: tally(len(each), sum(each)) for label, each in found.items()}


class SessionEntry(Struct, frozen=True, kw_only=True):
    """A session in a list, without its messages, as it was when it was listed.

    Attributes:
        session_id: ``{channel}_{chat_id}``.
        last_accessed: Time of the last use.
        pinned: If true, retention never removes the session.
        bytes: The size of the session in its store; of a session that is not saved yet, the size that it will have.
        metadata: Its metadata.
    """

    session_id: str
    channel: str
    chat_id: str
    created_at: AwareDatetime
    last_accessed: AwareDatetime
    pinned: bool = False
    bytes: int = 0
    metadata: dict[str, JSON] = field(default_factory=dict)


class TrashedSession(Struct, frozen=True, kw_only=True):
    """A removed session in the trash.

    Attributes:
        entry_id: The id for restoring it.
        session_id: The session.
        removed_at: Time of the removal.
        expires_at: Time from which the entry may be deleted.
        last_accessed: Last use of the session before the removal.
        reason: The rule or the command that removed it.
        by: The actor that removed it.
        bytes: The size of the session.
    """

    entry_id: str
    session_id: str
    removed_at: AwareDatetime
    expires_at: AwareDatetime
    last_accessed: AwareDatetime
    reason: str = ""
    by: str = ""
    bytes: int = 0


class Deletion(Struct, frozen=True):
    """The outcome of a deletion.

    Attributes:
        session_id: The session.
        bytes_freed: Bytes freed in the store.
        entry_id: The trash entry from which it can be restored; empty: there is none.
        remaining: After an erasure, the names of files of other programs that hold messages of it, or may hold some.
    """

    session_id: str
    bytes_freed: int = 0
    entry_id: str = ""
    remaining: tuple[str, ...] = ()


ProblemKind: TypeAlias = Literal["unreadable", "corrupt", "mismatched", "conflict", "foreign"]
"""The reason why a directory entry is not a session that retention may judge.

``unreadable``: the system refused to read it, or it is too large. ``corrupt``: its content is no session.
``mismatched``: its content names another session than its file name. ``conflict``: another program has made it as a
copy of a session's file (`miniclaw.session.conflict_names`). ``foreign``: its name is not that of a session file, or it
is no regular file.
"""

BESIDE: Final[frozenset[ProblemKind]] = frozenset({"conflict", "foreign"})
"""The kinds that do not occupy a session's place; they do not count as session files."""


class StoredSession(Struct, frozen=True, gc=False):  # gc=False: it can be part of no cycle
    """A session in the store.

    Attributes:
        key: The store's own name for it; here the file name.
        size: Bytes.
        file: Number that distinguishes this file from another one of the same name; 0: no such number is known.
        mark: Number of 31 bits that changes with any change of the file, also of its links or its mode.
    """

    key: str
    size: int
    header: SessionHeader
    file: int = 0
    mark: int = 0

    @property
    def identity(self) -> int:
        """The number by which the next run recognises the session: made of its file and of its last use."""
        used = to_microseconds(self.header.last_accessed)
        return identity(self.file or name_identity(self.key), 2 * used)

    @property
    def identity_by_number(self) -> int:
        """The identity under the rule `max_sessions`: an announcement by one rule does not count for another."""
        return identity(self.identity, 1)


class ProblemFile(Struct, frozen=True):
    """An entry of the store that is not a readable session. It is never removed for that reason.

    Attributes:
        key: The store's own name for it, as in `StoredSession`.
        reason: The problem, in a sentence.
        header: Header of the session that the content names, if the file is ``mismatched``; else None.
    """

    key: str
    kind: ProblemKind
    reason: str
    header: SessionHeader | None = None

    @property
    def inside(self) -> str:
        """Id of the session that the content names, if the file is ``mismatched``; else empty."""
        return "" if self.header is None else self.header.session_id


LeftoverKind: TypeAlias = Literal["trash", "quarantined", "temporary", "unfinished", "legacy"]
"""The kind of a leftover.

``trash``: an entry of the trash. ``quarantined``: a file that could not be read in a session's place. ``temporary``: a
temporary file that no running save owns. ``unfinished``: a session that an interrupted removal left captured.
``legacy``: a temporary or corrupt file of an earlier implementation, among the sessions.
"""


class Leftover(Struct, frozen=True, gc=False):
    """A file of miniclaw in the sessions directory that is not a session in its place.

    Attributes:
        key: Its name in its folder; folder/name for ``unfinished``.
        size: Bytes.
        since: Time at which it was removed, quarantined or last written, aware; None: unknown.
        expires_at: Time from which an entry of the trash may be deleted, aware; None: unknown, or of another kind.
        header: Header of the session in a ``quarantined`` or ``legacy`` file; None: the file holds no usable session.
        readable: False if the content of a ``quarantined`` file is unknown; no rule deletes such a file.
        from_quarantine: True if an entry of the trash was removed from quarantine.
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
    """The outcome of the removal of a leftover.

    Attributes:
        outcome: ``removed``: durably removed. ``moved``: moved to quarantine, where its age begins anew. ``vanished``:
            the file no longer existed. ``failed``: the file still exists, or may reappear; `reason` says why.
            ``pending``: the disk takes too long; the outcome is reported when it is known.
        bytes_freed: Bytes freed on disk; 0 unless removed, and 0 for a file that has another hard link. Negative if the
            entry in the trash is larger than the file.
        reason: A sentence, if the removal failed or is pending.
        entry_id: The entry of the trash, if the leftover was moved there.
    """

    leftover: Leftover
    outcome: LeftoverOutcome
    bytes_freed: int = 0
    reason: str = ""
    entry_id: str = ""


ScanRow: TypeAlias = StoredSession | ProblemFile

Verify: TypeAlias = Callable[[SessionHeader], bool]
"""Returns true if the whole file has to be read, and not only its beginning; called in a worker thread."""


def always(_: SessionHeader) -> bool:
    """Require that every file is read whole, as a `Verify`."""
    return True


_MASK: Final = (1 << 64) - 1


def identity(file: int, used: int) -> int:
    """Return one number for two: for a file and for the last use of its session as `ledger.encode_use` encodes it."""
    # Multiplied by odd numbers of 64 bits, so that all bits of both have an effect.
    return ((file * 0x9E3779B97F4A7C15 & _MASK) ^ (used * 0xC2B2AE3D27D4EB4F & _MASK)) * 0x9FB21C651E98DF25 & _MASK


def mark_of(ctime_ns: int) -> int:
    """Return the mark of a file, computed from its change time."""
    return (ctime_ns ^ ctime_ns >> 31) & 0x7FFFFFFF


def modified_at(status: os.stat_result) -> datetime:
    """Return the time of the last write to a file; out of range, the nearest that a datetime can represent."""
    return from_microseconds(status.st_mtime_ns // 1000)


def name_identity(name: str) -> int:
    """Return the number that identifies a file by its name, if there is no other identity."""
    from hashlib import blake2b  # noqa: PLC0415 - start-up time: most files have another identity

    return int.from_bytes(blake2b(os.fsencode(name), digest_size=8).digest())


class QuarantinedFile(Struct, frozen=True):
    """A file in quarantine, as it is now.

    Attributes:
        id: Its name in the folder: ``FILE.TIME-RANDOM``.
        file: Its earlier name in the sessions directory; a long one is cut.
        since: Time at which it was moved to quarantine, aware.
        size: Bytes.
        header: Header of the session that it holds; None: the session is not sound.
        problem: The problem, in a sentence; empty: the session is sound.
        readable: False: its content is unknown, because the system refused to read it, or because it is no file.
        is_file: False: it is a directory, a link, a FIFO or the like, as `problem` says; its size counts as 0.
    """

    id: str
    file: str
    since: AwareDatetime
    size: int
    header: SessionHeader | None = None
    problem: str = ""
    readable: bool = True
    is_file: bool = True
