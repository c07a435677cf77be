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
        self._seen = bytearray(len(self._identities))
        self._added: dict[int, int] = {}

    def __len__(self) -> int:
        """Return how many there are, those that were added since the last `renewed` not counted."""
        return len(self._identities)

    def find(self, which: int) -> int | None:
        """Return when something was found first, in microseconds; it stays noted then."""
        place = bisect_left(self._identities, which)
        if place == len(self._identities) or self._identities[place] != which:
            return None
        self._seen[place] = 1
        return self._seconds[place] * SECOND

    def add(self, which: int, lived: int) -> None:
        """Note something that was found now."""
        self._added[which] = -(-lived // SECOND)  # up: no notice is shorter for it

    def renewed(self) -> Self:
        """Return what was found and added since this one was made: the rest is gone, or was used since."""
        found = zip(compress(self._identities, self._seen), compress(self._seconds, self._seen), strict=True)
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
        return sum(self._seen) + len(self._added)

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
