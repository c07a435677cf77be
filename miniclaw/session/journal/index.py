"""The index of the journal: which sessions have records in which segments, and which segments are needed.

It counts every segment that a commit has touched, also in vain: what it wrote may be on the disk. It forgets a segment
only after the deletion is synced.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct, field

from miniclaw.session.names import file_name_of_live

MAX_SEGMENTS: Final = 8
"""Number of segments beyond which the sessions that keep the older ones are saved, due or not: it bounds a start."""


class _Segment(Struct):
    ids: set[str] = field(default_factory=set)
    needs: dict[str, Callable[[], bool]] = field(default_factory=dict)
    is_open: bool = False  # a thread may still write to it
    is_suspect: bool = False  # a write to it has failed: what it holds has to be in files soon


class Index:
    """The index, for any thread. Its questions whether a session is saved are asked on the trio thread.

    Args:
        old: The segments of an earlier process, with the ids of the sessions in each.

    Attributes:
        lock: Held by each method, never during a system call; a caller may hold it for several.
    """

    def __init__(self, old: Mapping[int, Iterable[str]]) -> None:
        self.lock: threading.RLock = threading.RLock()
        self._segments = {number: _Segment(set(ids)) for number, ids in sorted(old.items())}  # oldest first
        self._last = max(self._segments, default=0)
        # File name -> session id, and number of segments that may hold records of the session.
        self._held: dict[str, tuple[str, int]] = {}
        self._kept: set[str] = set()  # file names, by `keep_records`
        for segment in self._segments.values():
            self._hold(segment.ids)

    def __len__(self) -> int:
        return len(self._segments)

    def holds(self, name: str) -> bool:
        """Return whether a segment may hold records of the session with a file of this name, unless they are kept."""
        return name in self._held and name not in self._kept

    def keeps(self, name: str) -> bool:
        """Return whether the records of the session with a file of this name are kept, by `keep_records`."""
        return name in self._kept

    def held(self, names: Iterable[str]) -> list[str]:
        """Return the ids of those sessions with files of these names of which a segment may hold records."""
        with self.lock:
            return [self._held[name][0] for name in names if name in self._held]

    def take_number(self) -> int:
        """Return the number of a new, open segment."""
        with self.lock:
            self._last += 1
            self._segments[self._last] = _Segment(is_open=True)
            return self._last

    def is_last(self, number: int) -> bool:
        """Return whether no later segment was taken."""
        return number == self._last

    def closed(self, number: int, *, is_suspect: bool = False) -> None:
        """Take note that no thread writes to a segment any more; 0 or a deleted one is ignored."""
        with self.lock:
            if (segment := self._segments.get(number)) is not None:
                segment.is_open = False
                segment.is_suspect |= is_suspect

    def suspect(self, number: int) -> None:
        """Take note that a write to a segment has failed or hangs; 0 or a deleted one is ignored."""
        with self.lock:
            if (segment := self._segments.get(number)) is not None:
                segment.is_suspect = True

    def touch(self, number: int, ids: set[str]) -> None:
        """Take note, before a write, that a segment may hold records of sessions from now on."""
        with self.lock:
            segment = self._segments[number]
            self._hold(ids - segment.ids)
            segment.ids |= ids

    def written(self, number: int, needs: Mapping[str, Callable[[], bool]]) -> None:
        """Keep a segment until all these questions, one for each session, are answered by yes."""
        with self.lock:
            # The later question of the same session includes the earlier one.
            self._segments[number].needs.update(needs)

    def need(self, session_id: str, is_saved: Callable[[], bool]) -> None:
        """Keep all segments with records of a session until a synced file holds them."""
        with self.lock:
            for segment in self._segments.values():
                if session_id in segment.ids:
                    segment.needs[session_id] = is_saved

    def keep_records(self, session_id: str) -> None:
        """Keep the records of a session until the next start: they fit no file, and quarantine has no room for them.

        No save makes them count no more.
        """
        self._kept.add(file_name_of_live(session_id))
        self.need(session_id, lambda: False)

    def keep(self, number: int) -> None:
        """Keep a segment, and all later ones, until the next start."""
        self._segments[number].needs[""] = lambda: False

    def segments_with(self, session_id: str) -> list[int]:
        """Return the segments that may hold records of a session, oldest first."""
        with self.lock:
            return [number for number, segment in self._segments.items() if session_id in segment.ids]

    def last_closed(self) -> int:
        """Return the last segment to which no thread writes any more; 0: there is none."""
        with self.lock:
            return max((number for number, segment in self._segments.items() if not segment.is_open), default=0)

    def needed_until(self, last: int) -> set[str]:
        """Return the ids of the sessions that keep segments up to this one."""
        with self.lock:
            return {
                session_id for number in list(self._segments) if number <= last for session_id in self._unsaved(number)
            }

    def release(self, session_id: str) -> None:
        """Keep the records of a session no longer, also by `keep_records`: a person has it erased."""
        name = file_name_of_live(session_id)
        with self.lock:
            if name in self._kept:
                self._kept.discard(name)
                for segment in self._segments.values():
                    segment.needs.pop(session_id, None)

    def deleted(self, number: int) -> None:
        """Forget a segment, whose deletion is synced; one that is forgotten already is ignored."""
        with self.lock:
            if number not in self._segments:
                return
            for session_id in self._segments.pop(number).ids:
                name = file_name_of_live(session_id)
                count = self._held[name][1]
                if count == 1:
                    del self._held[name]
                else:
                    self._held[name] = session_id, count - 1

    def wanting(self) -> set[str]:
        """Return the ids of the sessions to be saved at once, due or not: those that keep old or suspect segments."""
        with self.lock:
            numbers = list(self._segments)
            late = {*numbers[:-MAX_SEGMENTS], *(each for each in numbers if self._segments[each].is_suspect)}
            return {session_id for number in late for session_id in self._unsaved(number)}

    def spent(self) -> list[int]:
        """Return the segments that can be deleted, oldest first: up to the first one that is open or needed."""
        numbers: list[int] = []
        with self.lock:
            for number, segment in self._segments.items():
                if segment.is_open or any(True for _ in self._unsaved(number)):
                    break
                numbers.append(number)
        return numbers

    def _unsaved(self, number: int) -> Iterator[str]:
        needs = self._segments[number].needs
        for session_id, is_saved in list(needs.items()):
            if is_saved():
                del needs[session_id]
            else:
                yield session_id

    def _hold(self, ids: Iterable[str]) -> None:
        for session_id in ids:
            name = file_name_of_live(session_id)
            self._held[name] = session_id, self._held.get(name, ("", 0))[1] + 1
