"""A compact record of the findings of runs and their times: 1.6 megabytes for a hundred thousand sessions. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import chain, compress
from typing import Final, Self

from miniclaw.session.retention.timeline import SECOND

_TOUCHED: Final = 1 << 31
_BYTES: Final = 16


class Noted:
    """Findings of runs by `identity`, with the time on `Timeline.lived`. Sixteen bytes each.

    Each entry carries a mark of its file, which changes with any modification. After a change the entry is not
    recognised, once: the file may have been restored in its old place. Further changes, as by a backup that makes hard
    links each day, are ignored.
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
        """Return the number of entries, without those added since the last `renewed`."""
        return len(self._identities)

    def find(self, which: int, mark: int = 0) -> int | None:
        """Return when a file was first found, in microseconds; None: it was not, or has changed since."""
        place = self._place(which, mark)
        return None if place is None else self._seconds[place] * SECOND

    def keep(self, which: int, mark: int = 0) -> bool:
        """Keep an entry, if it is found; return whether it is."""
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
        """Keep an entry, or add it as found now."""
        if not self.keep(which, mark):
            self.add(which, lived, mark)

    def add(self, which: int, lived: int, mark: int = 0) -> None:
        """Add an entry as found now, regardless of an existing one."""
        has_changed = self._place(which, None) is not None and self._place(which, mark) is None
        seconds = -(-lived // SECOND)  # rounded up, as a notice must not be shortened
        self._added[which] = seconds, mark | _TOUCHED * has_changed

    def renewed(self) -> Self:
        """Return the entries kept or added since this was made: the rest is not due any more."""
        kept = zip(*(compress(column, self._kept) for column in self._columns()), strict=True)
        known = ((which, seconds, mark) for which, seconds, mark in kept if which not in self._added)
        added = ((which, *found) for which, found in self._added.items())
        # One number for each entry sorts quickly, and takes little memory.
        packed = sorted(which << 64 | seconds << 32 | mark for which, seconds, mark in chain(added, known))
        return type(self)(
            array("Q", [each >> 64 for each in packed]),
            array("I", [each >> 32 & 0xFFFFFFFF for each in packed]),
            array("I", [each & 0xFFFFFFFF for each in packed]),
        )

    def _columns(self) -> tuple[array[int], array[int], array[int]]:
        return self._identities, self._seconds, self._marks

    def view(self) -> Self:
        """Return a copy of the entries, with none marked as kept and none added."""
        return type(self)(*self._columns())

    def count_renewed(self) -> int:
        """Return the number of entries that `renewed` would have."""
        return sum(self._kept) + len(self._added)

    def encoded(self) -> bytes:
        """Return the entries as bytes, for `decoded`."""
        return b"".join(column.tobytes() for column in self._columns())

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """Return the entries that bytes of `encoded` hold.

        Raises:
            ValueError: The bytes are not from `encoded`.
        """
        count, rest = divmod(len(data), _BYTES)
        if rest:
            raise ValueError("its length is wrong")
        return cls(
            array("Q", data[: 8 * count]),
            array("I", data[8 * count : 12 * count]),
            array("I", data[12 * count :]),
        )
