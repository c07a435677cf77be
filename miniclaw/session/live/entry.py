"""A session in memory, and what the journal and its file hold of it.

Only the trio thread uses this module, and every method is one synchronous step.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

from miniclaw.session.journal.journal import Journal
from miniclaw.session.journal.overlay import continued
from miniclaw.session.journal.records import Record
from miniclaw.session.types import Session

SaveState: TypeAlias = Literal["unsaved", "saved", "removed"]
"""The state of one revision of a session.

``unsaved``: the revision is in memory alone. ``saved``: it is on disk, in the session's file or in the journal or, if
the session was removed, in the trash. ``removed``: the session was deleted for good before the revision was saved.
"""


class Recorded:
    """What the journal or the synced file holds of a session in memory.

    Attributes:
        revision: The last revision that the journal holds; -1: none.
        messages: The number of messages, the first ones of the session, that the journal or the file holds.
        digest: The digest of the last of them (`miniclaw.session.journal.records`); None: not computed yet.
        pins: The pins that a replay may give to the session: those of the last record that is written for certain, and
            of later ones that may be on the disk. A file has none of its own that the journal could undo.
        begins: True if the next record begins the session anew, so that earlier ones count no more: its file was moved
            away, or may be lost with them.
        edited_at: The revision of a change that no append tells; until a synced file holds it, the journal takes
            nothing more. 0: there is none.
        kept: The fewest messages since then, if some were removed; None: none were.
        described: The revision whose file the last record describes (`records.cut_body`); -1: none.
    """

    __slots__ = ("begins", "described", "digest", "edited_at", "kept", "messages", "pins", "revision")

    def __init__(self, messages: int, pins: Iterable[bool], *, begins: bool = False) -> None:
        self.begins: bool = begins
        self.revision: int = -1
        self.messages: int = messages
        self.digest: str | None = None
        self.pins: set[bool] = set(pins)
        self.edited_at: int = 0
        self.kept: int | None = None
        self.described: int = -1


class Entry:
    """A live session. Changed by the manager and its parts, on the trio thread.

    Attributes:
        session: The one object that all users share.
        revision: Number of changes so far.
        saved_revision: The revision on disk.
        users: Number of blocks that hold it in use.
        leaving: True while it is being deleted or moved; no other operation gets it before that has ended.
        removed: True once it is deleted or moved.
        recorded: What the journal or the synced file holds of it.
        looked_at: Time on trio's clock at which its file was last compared with it.
        due_at: Time on trio's clock from which an autosave writes its file, though the journal holds all; None: the
            next autosave decides.
    """

    __slots__ = (
        "__weakref__", "due_at", "leaving", "looked_at", "recorded", "removed", "revision", "saved_revision", "session",
        "session_id", "users",
    )  # fmt: skip

    def __init__(self, session: Session, *, saved: bool) -> None:
        self.session: Session = session
        self.session_id: str = session.session_id  # a copy: a user might change that of the object
        self.revision = 0 if saved else 1
        self.saved_revision: int = 0
        self.users: int = 0
        self.leaving: bool = False
        self.removed: bool = False
        self.recorded: Recorded = Recorded(len(session.messages), {bool(session.pinned)}) if saved else Recorded(0, ())
        self.looked_at: float = float("-inf")
        self.due_at: float | None = None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Count a block that holds it in use."""
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1

    @property
    def dirty(self) -> bool:
        """True if some changes are not in its file."""
        return self.revision != self.saved_revision

    @property
    def durable(self) -> bool:
        """True if all changes survive a power cut, in its file or in the journal."""
        return max(self.saved_revision, self.recorded.revision) >= self.revision

    def saved(self, revision: int, messages: int) -> None:
        """Enter that a synced file holds this revision, with so many messages; 0: memory follows the file."""
        self.saved_revision = revision
        self.due_at = None
        self.recorded.begins = False
        if revision < self.recorded.edited_at:
            return
        if self.recorded.edited_at:
            self.recorded = Recorded(messages, self.recorded.pins)
        elif messages > self.recorded.messages:
            self.recorded.messages, self.recorded.digest = messages, None

    def saved_from(self, revision: int) -> Callable[[], bool]:
        """Return a function that tells whether a synced file holds this revision, or none is needed any more.

        It keeps no session in memory: an entry that is gone was saved or removed.
        """
        ref = weakref.ref(self)

        def is_saved() -> bool:
            entry = ref()
            return entry is None or entry.removed or entry.saved_revision >= revision

        return is_saved

    def begin_anew(self) -> None:
        """Enter that neither its file nor the journal is sure to hold any of it."""
        self.recorded = Recorded(0, self.recorded.pins, begins=True)
        self.revision += 1
        if self.session.metadata:
            self.recorded.edited_at = self.revision

    def edited(self, kept: int | None = None) -> None:
        """Enter a change that only its file can hold: of the metadata or, with `kept`, down to so many messages."""
        before = self.recorded
        # Another object: a commit under way of what was before enters nothing.
        self.recorded = Recorded(0, before.pins, begins=before.begins)
        self.revision += 1
        self.recorded.edited_at = self.revision
        self.recorded.kept = min((each for each in (kept, before.kept) if each is not None), default=None)

    def kept_since(self, revision: int) -> int | None:
        """Return how many messages of this revision remain, at least; None: all."""
        return self.recorded.kept if revision < self.recorded.edited_at else None

    def watch(self) -> Callable[[], SaveState]:
        """Return a function that reports the state of the present revision."""
        revision = self.revision

        def state() -> SaveState:
            if max(self.saved_revision, self.recorded.revision) >= revision:
                return "saved"
            return "removed" if self.removed else "unsaved"

        return state


def replayed_entry(session: Session, records: Sequence[Record], journal: Journal) -> Entry:
    """Return a session that the journal of an earlier process has, and its file not yet.

    Args:
        session: The session; it is changed.
        records: Records that it lacks, which the journal keeps (`Index.keep_records`). Those that do not fit are kept
            on, for the next start.
        journal: The journal.
    """
    is_whole = not continued(session, records).unfit
    entry = Entry(session, saved=False)
    entry.recorded = Recorded(len(session.messages), {bool(session.pinned)})
    entry.recorded.revision = entry.revision
    if is_whole:
        journal.index.release(entry.session_id)
        journal.index.need(entry.session_id, entry.saved_from(entry.revision))
    return entry
