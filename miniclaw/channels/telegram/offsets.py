"""The open and closed updates, and the offset below which Telegram may forget them. Pure.

Telegram delivers all updates from the lowest unconfirmed id on, and an offset confirms all ids below it. The offset
therefore never passes an open update. Closed updates after an open one are delivered again, and recognised.

Ids usually grow, but after a week without updates Telegram begins at another number, which may be lower. Once no update
is open and Telegram has heard of all that are closed, a poll therefore has no offset, and returns all unconfirmed
updates.
"""

from __future__ import annotations

from typing import Final

MAX_REMEMBERED: Final = 1000
"""Number of closed updates remembered, the newest; ten times as many as Telegram delivers at once."""


class Offsets:
    """The updates of one bot. Changed on the trio thread only, in synchronous steps."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._closed: dict[int, None] = {}  # the newest last
        self._unheard: set[int] = set()  # closed, and Telegram may not know yet

    def __repr__(self) -> str:
        return f"<Offsets open={len(self._open)} offset={self.offset}>"

    @property
    def open(self) -> int:
        """The number of open updates."""
        return len(self._open)

    @property
    def offset(self) -> int | None:
        """The offset of the next poll; None: the poll has none, and returns all unconfirmed updates."""
        if self._open:
            return min(self._open)
        return max(self._unheard) + 1 if self._unheard else None

    def take(self, update_id: int) -> bool:
        """Take note of an update that was delivered; return whether it is new."""
        if update_id in self._open:
            return False
        if update_id in self._closed:
            self._unheard.add(update_id)  # else Telegram would not deliver it
            return False
        self._open.add(update_id)
        return True

    def close(self, update_id: int) -> None:
        """Take note that an update is handled; a closed one is ignored."""
        if update_id not in self._open:
            return
        self._open.discard(update_id)
        self._unheard.add(update_id)
        self._closed[update_id] = None
        if len(self._closed) > MAX_REMEMBERED:
            del self._closed[next(iter(self._closed))]

    def heard(self, offset: int | None) -> None:
        """Take note that Telegram has heard an offset: updates below it are not delivered again."""
        if offset is not None:
            self._unheard = {update_id for update_id in self._unheard if update_id >= offset}
