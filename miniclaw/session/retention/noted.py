"""What runs have found, and when, in so few bytes that a hundred thousand sessions take 1.6 megabytes. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import chain, compress
from typing import Final, Self

from miniclaw.session.retention.timeline import SECOND

_TOUCHED: Final = 1 << 31
_BYTES: Final = 16


class Noted:
    """What runs have found, and when: on `Timeline.lived`, by `identity`. Sixteen bytes each.

    With each stands a mark of the file, that changes with anything that is done to it. Where it has changed, the thing
    is not recognised, once: it may have been put back in its old place. Where it changes again, as by a backup that
    makes hard links each day, that does not count any more.
    """

    def __init__(
        self,
        identities: array[int] | None = None,
        seconds: array[int] | None = None,
        marks: array[int] | None = None,
    ) -> None:
        self._identities = array("Q") if identities is None else identities  # ascending
        self._seconds = array("I") if seconds is None else seconds
        self._marks = array("I", bytes(4 * len(self._identities))) if marks is None else marks
        self._kept = bytearray(len(self._identities))
        self._added: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        """Return how many there are, those that were added since the last `renewed` not counted."""
        return len(self._identities)

    def find(self, which: int, mark: int = 0) -> int | None:
        """Return when something was found first, in microseconds; None: it was not, or its file has changed since."""
        place = self._place(which, mark)
        return None if place is None else self._seconds[place] * SECOND

    def keep(self, which: int, mark: int = 0) -> bool:
        """Let something stay noted, if it is found; return whether it is."""
        place = self._place(which, mark)
        if place is not None:
            self._kept[place] = 1
        return place is not None

    def _place(self, which: int, mark: int | None) -> int | None:
        place = bisect_left(self._identities, which)
        if place == len(self._identities) or self._identities[place] != which:
            return None
        known = self._marks[place]
        return place if mark is None or known & _TOUCHED or known == mark else None

    def note(self, which: int, lived: int, mark: int = 0) -> None:
        """Let something stay noted, or note it as found now."""
        if not self.keep(which, mark):
            self.add(which, lived, mark)

    def add(self, which: int, lived: int, mark: int = 0) -> None:
        """Note something as found now, whatever is known of it."""
        has_changed = self._place(which, None) is not None and self._place(which, mark) is None
        seconds = -(-lived // SECOND)  # up: no notice is shorter for it
        self._added[which] = seconds, mark | _TOUCHED * has_changed

    def renewed(self) -> Self:
        """Return what was kept and noted since this one was made: the rest is not due any more."""
        kept = zip(*(compress(column, self._kept) for column in self._columns()), strict=True)
        known = ((which, seconds, mark) for which, seconds, mark in kept if which not in self._added)
        added = ((which, *found) for which, found in self._added.items())
        # One number for each: it sorts quickly, and takes little memory.
        packed = sorted(which << 64 | seconds << 32 | mark for which, seconds, mark in chain(added, known))
        return type(self)(
            array("Q", [each >> 64 for each in packed]),
            array("I", [each >> 32 & 0xFFFFFFFF for each in packed]),
            array("I", [each & 0xFFFFFFFF for each in packed]),
        )

    def _columns(self) -> tuple[array[int], array[int], array[int]]:
        return self._identities, self._seconds, self._marks

    def view(self) -> Self:
        """Return the same, with nothing found yet and nothing added."""
        return type(self)(*self._columns())

    def count_renewed(self) -> int:
        """Return how many `renewed` would have."""
        return sum(self._kept) + len(self._added)

    def encoded(self) -> bytes:
        """Return it as bytes, for `decoded`."""
        return b"".join(column.tobytes() for column in self._columns())

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """Return what bytes say.

        Raises:
            ValueError: They are not from `encoded`.
        """
        count, rest = divmod(len(data), _BYTES)
        if rest:
            raise ValueError("its length is wrong")
        return cls(
            array("Q", data[: 8 * count]),
            array("I", data[8 * count : 12 * count]),
            array("I", data[12 * count :]),
        )
