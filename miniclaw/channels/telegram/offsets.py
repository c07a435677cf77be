"""Which updates are dealt with, and up to where Telegram may forget them. Pure.

Telegram delivers everything from the lowest id that is not confirmed, and an offset confirms all below it. So the
offset never passes an update that is still open, and those behind it that are closed come again and are recognised.

Ids usually grow; after a week of silence Telegram begins at another number, which may be lower. So once Telegram has
heard an offset, it is asked without one, which gives all that is not confirmed.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MAX_REMEMBERED: Final = 1000
"""How many closed updates are remembered at the least; ten times what Telegram delivers at once."""


class Offsets:
    """The updates of one bot. All of it is changed on the trio thread only, in synchronous steps."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._closed: OrderedDict[int, None] = OrderedDict()  # the newest last
        self._unheard: set[int] = set()  # closed, and Telegram may not know yet

    def __repr__(self) -> str:
        return f"<Offsets open={len(self._open)} offset={self.offset}>"

    @property
    def open(self) -> int:
        """How many updates are not dealt with."""
        return len(self._open)

    @property
    def offset(self) -> int | None:
        """What to ask Telegram for; None: all that it has."""
        if self._open:
            return min(self._open)
        return max(self._unheard) + 1 if self._unheard else None

    def take(self, update_id: int) -> bool:
        """Take note of an update that was delivered; return whether it is a new one."""
        if update_id in self._open:
            return False
        if update_id in self._closed:
            self._unheard.add(update_id)  # else Telegram would not deliver it
            return False
        self._open.add(update_id)
        return True

    def close(self, update_id: int) -> None:
        """Take note that an update is dealt with. It may be so already."""
        if update_id not in self._open:
            return
        self._open.discard(update_id)
        self._unheard.add(update_id)
        self._closed[update_id] = None
        if len(self._closed) > MAX_REMEMBERED:
            self._closed.popitem(last=False)

    def heard(self, offset: int | None) -> None:
        """Take note that Telegram has heard an offset: what is below it will not be delivered again."""
        if offset is not None:
            self._unheard = {update_id for update_id in self._unheard if update_id >= offset}
