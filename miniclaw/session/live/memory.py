"""The sessions in memory: their order of use, their unsaved changes, and their eviction.

Only the trio thread uses this module, and every method is one synchronous step.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Final

from miniclaw.session.files.on_disk import on_disk_of, remember, remember_cut
from miniclaw.session.format.codec import snapshot_session
from miniclaw.session.format.footprint import append_message, forget_counts, session_bytes
from miniclaw.session.format.growth import file_bytes, remove_last, replace_metadata, set_file_bytes
from miniclaw.session.journal.journal import Journal
from miniclaw.session.live.entry import Entry, Recorded, SaveState, replayed_entry
from miniclaw.session.types import JSON, Message, Session

CHECKPOINT_BYTES_PER_SECOND: Final = 4096
"""Bytes of a session for each second that passes between two writes of its file, if the journal holds the rest."""

MAX_CHECKPOINT_SECONDS: Final = 1800
"""Longest time between two such writes."""

MAX_LIVE_SESSIONS: Final = 1000
"""Default bound on the sessions in memory. Dirty sessions are never evicted for it."""

MAX_LIVE_BYTES: Final = 32 * 1024 * 1024
"""Default bound on their bytes. Dirty sessions are never evicted for it.

The rest of a gateway takes 50 MB, and a session being loaded the size of its file once more: half of a board's 256 MB
remains free.
"""


class SessionMemory:
    """Sessions by id, in the order of their last use.

    Args:
        max_live_sessions: Bound on the sessions in memory, at least 1; dirty ones and those in use may exceed it.
        max_live_bytes: Bound on their bytes, at least 1; may be exceeded likewise, and by a single large session.

    Attributes:
        bytes: Bytes of the live sessions, as counted by `miniclaw.session.format.footprint`.
    """

    def __init__(self, max_live_sessions: int, max_live_bytes: int) -> None:
        for name, bound in (("max_live_sessions", max_live_sessions), ("max_live_bytes", max_live_bytes)):
            # A bool is an int, but no count.
            if not isinstance(bound, int) or isinstance(bound, bool) or bound < 1:
                raise ValueError(f"{name} is a whole number from 1, not {bound!r}")
        self._bound = max_live_sessions
        self._max_bytes = max_live_bytes
        self._live: OrderedDict[str, Entry] = OrderedDict()  # least recently used first
        # All sessions that are referenced anywhere, also clean ones that were evicted: they keep their identity.
        self._held: weakref.WeakValueDictionary[str, Session] = weakref.WeakValueDictionary()
        self.bytes: int = 0

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._live

    def peek(self, session_id: str) -> Entry | None:
        """Return a live session, also one that is leaving; None: it is not live."""
        return self._live.get(session_id)

    def watch(self, session_id: str) -> Callable[[], SaveState]:
        """Return a function that reports the state of a session's present revision; one that is not live is saved."""
        entry = self.peek(session_id)
        return entry.watch() if entry is not None else lambda: "saved"

    def unsaved_copy(self, session_id: str) -> Session | None:
        """Return a copy of a session with unsaved changes, which its holder may change; None: it has none."""
        entry = self.find(session_id)
        if entry is None or not entry.dirty:
            return None
        copy = snapshot_session(entry.session, session_id)
        copy.metadata = deepcopy(copy.metadata)
        return copy

    def find(self, session_id: str) -> Entry | None:
        """Return a session that is live, or evicted and still referenced; None if there is none, or it is leaving."""
        entry = self._find(session_id)
        return None if entry is None or entry.leaving else entry

    def _find(self, session_id: str) -> Entry | None:
        entry = self._live.get(session_id)
        if entry is None and (session := self._held.get(session_id)) is not None:
            entry = Entry(session, saved=True)
            self._enter(entry)
        return entry

    def add(self, entry: Entry) -> bool:
        """Make a session live; return True if a save is needed, so that other sessions can be evicted.

        True for each session over the bound, but for bytes only when they cross theirs: one large session may exceed it
        alone, and must not be saved again and again.
        """
        self._held[entry.session_id] = entry.session
        ran_over = self._enter(entry)
        return ran_over or len(self._live) > self._bound

    def append(self, entry: Entry, message: Message, size: int) -> bool:
        """Append a message to a live session; return whether the bytes in memory crossed their bound by it.

        Args:
            entry: The session.
            message: The message.
            size: The bytes by which the session's file grows.
        """
        return self._grow(append_message(entry.session, message, size))

    def remove_last(self, entry: Entry, count: int | None) -> list[Message]:
        """Remove the newest messages of a live session, or all, and return them."""
        removed, less = remove_last(entry.session, count)
        self.bytes -= less
        if removed:
            remember_cut(entry.session, len(entry.session.messages))
            entry.edited(len(entry.session.messages))
        return removed

    def set_metadata(self, entry: Entry, metadata: dict[str, JSON]) -> None:
        """Replace the metadata of a live session."""
        if metadata != entry.session.metadata:
            self._grow(replace_metadata(entry.session, metadata))
            entry.edited()

    def _enter(self, entry: Entry) -> bool:
        self._leave(entry.session_id)
        self._live[entry.session_id] = entry
        return self._grow(session_bytes(entry.session))

    def _grow(self, more: int) -> bool:
        before = self.bytes
        self.bytes += more
        return before <= self._max_bytes < self.bytes

    def _leave(self, session_id: str) -> Entry | None:
        entry = self._live.pop(session_id, None)
        if entry is not None:
            self.bytes -= session_bytes(entry.session)
        return entry

    def follow(self, entry: Entry, before: Session, after: Session, kept: int | None = None) -> None:
        """Give a session the content of its file; all who hold the object see it.

        Args:
            entry: The session.
            before: A snapshot of it, or the session itself. Messages and changes since then are kept.
            after: The content of the file, with its known state; not to be used any more.
            kept: The number of its messages that were not removed since; None: none were.
        """
        session = entry.session
        set_file_bytes(after, file_bytes(after) + file_bytes(session) - file_bytes(before))
        known = len(before.messages)
        for message in session.messages[known if kept is None else min(known, kept) :]:
            append_message(after, message, 0)
        if kept is not None:
            forget_counts(after)
        for name in ("last_accessed", "metadata", "pinned"):
            if getattr(session, name) == getattr(before, name):
                setattr(session, name, getattr(after, name))
        if is_live := self.peek(entry.session_id) is entry:
            self._leave(entry.session_id)
        session.created_at = after.created_at
        session.messages[:] = after.messages
        vars(session).clear()
        vars(session).update(vars(after))
        if is_live:
            self._enter(entry)
        on_disk = on_disk_of(session)
        # Another object: a commit under way of what was before enters nothing.
        pins = {*entry.recorded.pins, bool(session.pinned)}
        entry.recorded = Recorded(0 if on_disk is None else on_disk.messages, pins)
        if session.metadata != ({} if on_disk is None else on_disk.metadata):
            entry.recorded.edited_at = entry.revision

    def lost_file(self, entry: Entry) -> None:
        """Mark a session as unsaved, all of it, because this process has moved its file aside; it may be evicted."""
        if (live := self._find(entry.session_id)) is None:
            live = entry
            self.add(live)
        remember(live.session, None)
        live.begin_anew()

    def ids(self) -> set[str]:
        """Return the ids of all sessions that are referenced anywhere."""
        return {*self._live, *self._held}

    def used(self, entry: Entry) -> None:
        """Mark a session as the most recently used one."""
        if self._live.get(entry.session_id) is entry:
            self._live.move_to_end(entry.session_id)

    def forget(self, session_id: str) -> Entry | None:
        """Forget a session, and return its entry if it was live. Objects still referenced are no session any more."""
        self._held.pop(session_id, None)
        return self._leave(session_id)

    def dirty(self) -> list[str]:
        """Return the ids of the sessions with unsaved changes."""
        return [session_id for session_id, entry in self._live.items() if entry.dirty]

    def due(self, now: float, interval_seconds: float) -> set[str]:
        """Return the ids of the dirty sessions whose files an autosave writes now.

        Args:
            now: The time on trio's clock.
            interval_seconds: Time between two autosaves.
        """
        due: set[str] = set()
        for session_id, entry in self._live.items():
            if not entry.dirty:
                continue
            if entry.due_at is None:
                wait = min(session_bytes(entry.session) / CHECKPOINT_BYTES_PER_SECOND, MAX_CHECKPOINT_SECONDS)
                entry.due_at = now + wait if wait > interval_seconds else now
            if now >= entry.due_at:
                due.add(session_id)
        return due

    def add_replayed(self, sessions: Iterable[Session], journal: Journal) -> None:
        """Add sessions that the journal of an earlier process has, and their files not yet."""
        for session in sessions:
            self.add(replayed_entry(session, (), journal))

    def unsaved(self) -> list[str]:
        """Return the ids of the sessions with changes that a power cut would take."""
        return [session_id for session_id, entry in self._live.items() if entry.dirty and not entry.durable]

    def set_aside(self, session_id: str) -> Entry | None:
        """Withdraw a session that is about to be deleted or moved; None: it is not in memory.

        The caller holds its lock. Any other operation waits for that lock, so nothing is added to the session. To undo
        this, reset `Entry.leaving`; to complete it, call `drop`.
        """
        if (entry := self._find(session_id)) is not None:
            entry.leaving = True
        return entry

    def drop(self, entry: Entry) -> None:
        """Forget a session that was deleted or moved."""
        entry.removed = True
        self.forget(entry.session_id)

    def evict(self) -> None:
        """Evict the least recently used sessions, down to the bounds, but none that is dirty or in use.

        The most recently used one is never evicted, however large: it would be loaded again for each message.
        """
        if not self._is_overfull():
            return
        *older, _ = self._live.items()
        for session_id, entry in older:
            if not (entry.dirty or entry.users or entry.leaving):
                self._leave(session_id)
                if not self._is_overfull():
                    return

    def _is_overfull(self) -> bool:
        return len(self._live) > self._bound or self.bytes > self._max_bytes
