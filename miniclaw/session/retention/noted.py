"""What runs have found, and when, in so few bytes that a hundred thousand sessions take a megabyte. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import chain, compress
from typing import Self

from miniclaw.session.retention.timeline import SECOND


class Noted:
    """What runs have found, and when: on `Timeline.lived`, by `identity`. Twelve bytes each."""

    def __init__(self, identities: array[int] | None = None, seconds: array[int] | None = None) -> None:
        self._identities = array("Q") if identities is None else identities  # ascending
        self._seconds = array("I") if seconds is None else seconds
        self._kept = bytearray(len(self._identities))
        self._added: dict[int, int] = {}

    def __len__(self) -> int:
        """Return how many there are, those that were added since the last `renewed` not counted."""
        return len(self._identities)

    def find(self, which: int) -> int | None:
        """Return when something was found first, in microseconds; None: it was not."""
        place = self._place(which)
        return None if place is None else self._seconds[place] * SECOND

    def keep(self, which: int) -> bool:
        """Let something stay noted, if it is; return whether it is."""
        place = self._place(which)
        if place is not None:
            self._kept[place] = 1
        return place is not None

    def _place(self, which: int) -> int | None:
        place = bisect_left(self._identities, which)
        return place if place < len(self._identities) and self._identities[place] == which else None

    def note(self, which: int, lived: int) -> None:
        """Let something stay noted, or note it as found now."""
        if not self.keep(which):
            self._added[which] = -(-lived // SECOND)  # up: no notice is shorter for it

    def renewed(self) -> Self:
        """Return what was kept and noted since this one was made: the rest is not due any more."""
        found = zip(compress(self._identities, self._kept), compress(self._seconds, self._kept), strict=True)
        # One number for each: it sorts quickly, and takes little memory.
        packed = sorted(which << 32 | seconds for which, seconds in chain(self._added.items(), found))
        return type(self)(
            array("Q", [each >> 32 for each in packed]), array("I", [each & 0xFFFFFFFF for each in packed])
        )

    def view(self) -> Self:
        """Return the same, with nothing found yet and nothing added."""
        return type(self)(self._identities, self._seconds)

    def count_renewed(self) -> int:
        """Return how many `renewed` would have."""
        return sum(self._kept) + len(self._added)

    def encoded(self) -> bytes:
        """Return it as bytes, for `decoded`."""
        return self._identities.tobytes() + self._seconds.tobytes()

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """Return what bytes say.

        Raises:
            ValueError: They are not from `encoded`.
        """
        count, rest = divmod(len(data), 12)
        if rest:
            raise ValueError("its length is wrong")
        return cls(array("Q", data[: 8 * count]), array("I", data[8 * count :]))
