"""The sessions in memory: which are live, which are dirty, which may leave.

Only the trio thread touches this, and every method is one synchronous step.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Literal, TypeAlias
from weakref import WeakValueDictionary

from miniclaw.session.format.footprint import append_message, forget_first, session_bytes
from miniclaw.session.types import Message, Session

SaveState: TypeAlias = Literal["unsaved", "saved", "removed"]
"""What became of a revision of a session.

``unsaved``: it is in memory alone. ``saved``: it is on disk, in the session or, if that was removed, in the trash.
``removed``: its session was deleted for good before it was saved.
"""


class Entry:
    """A live session. Changed by the manager.

    Attributes:
        session: The one object that everybody shares.
        revision: Counts the changes.
        saved_revision: The one that is on disk.
        users: How many hold it in use.
        leaving: It is being deleted: nobody else may have it before that has ended.
        removed: It was deleted.
    """

    __slots__ = ("leaving", "removed", "revision", "saved_revision", "session", "session_id", "users")

    def __init__(self, session: Session, *, saved: bool) -> None:
        self.session = session
        self.session_id = session.session_id  # by which it is known, whatever is done to the object
        self.revision = 0 if saved else 1
        self.saved_revision = 0
        self.users = 0
        self.leaving = False
        self.removed = False

    @property
    def dirty(self) -> bool:
        """Whether there are changes that are not on disk."""
        return self.revision != self.saved_revision

    def watch(self) -> Callable[[], SaveState]:
        """Return a function that tells what became of the session as it is now."""
        revision = self.revision

        def state() -> SaveState:
            if self.saved_revision >= revision:
                return "saved"
            return "removed" if self.removed else "unsaved"

        return state


class SessionMemory:
    """Sessions by id, in the order of their last use.

    Args:
        max_live_sessions: How many may stay once they are saved.
        max_live_bytes: How many bytes these may take; a single session may take more.

    Attributes:
        bytes: How many the live ones take, as `miniclaw.session.format.footprint` counts it.
    """

    def __init__(self, max_live_sessions: int, max_live_bytes: int) -> None:
        for name, bound in (("max_live_sessions", max_live_sessions), ("max_live_bytes", max_live_bytes)):
            # A bool is an int, but says nothing of how many.
            if not isinstance(bound, int) or isinstance(bound, bool) or bound < 1:
                raise ValueError(f"{name} is a whole number from 1, not {bound!r}")
        self._bound = max_live_sessions
        self._max_bytes = max_live_bytes
        self._live: OrderedDict[str, Entry] = OrderedDict()  # least recently used first
        # All sessions that somebody holds, also clean ones that left `_live`: they keep their identity.
        self._held: WeakValueDictionary[str, Session] = WeakValueDictionary()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, session_id: object) -> bool:
        return session_id in self._live

    def peek(self, session_id: str) -> Entry | None:
        """Return a session that is live."""
        return self._live.get(session_id)

    def find(self, session_id: str) -> Entry | None:
        """Return a session that is live, or that left and is still held by somebody; None: also while it is leaving."""
        entry = self._find(session_id)
        return None if entry is None or entry.leaving else entry

    def _find(self, session_id: str) -> Entry | None:
        entry = self._live.get(session_id)
        if entry is None and (session := self._held.get(session_id)) is not None:
            entry = Entry(session, saved=True)
            self._enter(entry)
        return entry

    def add(self, entry: Entry) -> bool:
        """Make a session live; return whether it is time to save, so that others may leave.

        It is with each session over the bound, and when the bytes run over theirs: only then, because what takes them
        may be one large session, which is not to be saved again and again.
        """
        self._held[entry.session_id] = entry.session
        ran_over = self._enter(entry)
        return ran_over or len(self._live) > self._bound

    def append(self, entry: Entry, message: Message) -> bool:
        """Append a message to a live session; return whether the bytes have run over by it."""
        return self._grow(append_message(entry.session, message))

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

    def forget_first(self, entry: Entry, count: int) -> None:
        """Take the first messages out of a session; they went with its file."""
        was_live = self._leave(entry.session_id) is entry
        forget_first(entry.session, count)
        if was_live:
            self._enter(entry)

    def used(self, entry: Entry) -> None:
        """Note a use, the most recent one."""
        if self._live.get(entry.session_id) is entry:
            self._live.move_to_end(entry.session_id)

    def forget(self, session_id: str) -> Entry | None:
        """Drop a session, whoever holds it: what they hold is no session any more. Return what was there."""
        self._held.pop(session_id, None)
        return self._leave(session_id)

    def dirty(self) -> list[str]:
        """Return the ids of the sessions with unsaved changes."""
        return [session_id for session_id, entry in self._live.items() if entry.dirty]

    def set_aside(self, session_id: str) -> Entry | None:
        """Take a session that is going to be deleted out of everybody's reach; None: it is not in memory.

        The caller holds its lock: whoever wants the session from here on waits for that, so nothing is added to what
        goes. With `Entry.leaving` reset it is back; else `drop` ends it.
        """
        if (entry := self._find(session_id)) is not None:
            entry.leaving = True
        return entry

    def drop(self, entry: Entry) -> None:
        """Forget a session that was deleted."""
        entry.removed = True
        self.forget(entry.session_id)

    def evict(self) -> None:
        """Let the least recently used sessions go, down to the bounds; never those unsaved or in use.

        The last one stays however large it is: somebody talks there, and it would be loaded again for each message.
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
