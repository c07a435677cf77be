"""The claim on the sweep: kept in memory, as it ends with its owner; the last completed sweep is in the log."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import trio

from miniclaw.session.as_store.core import FileCore
from miniclaw.session.as_store.event_log import Swept
from miniclaw.session.as_store.lease_table import Held, later
from miniclaw.stores.types import Turn

_ZERO: Final = timedelta(0)


class SweepTurns:
    """The turns of sweeps. Each method is called in a step.

    Args:
        core: The shared state.
    """

    def __init__(self, core: FileCore) -> None:
        self._core = core
        self._claim: tuple[Held, datetime] | None = None  # with the time at which it was made

    async def begin(self, owner: str, interval: timedelta, claim: timedelta) -> Turn:
        """Claim the sweep, as `SessionStore.begin_sweep`."""
        await trio.lowlevel.checkpoint()
        now, swept = self._core.now(), self._core.events.swept
        began, note = (None, b"") if swept is None else (swept.began, swept.note)
        held = _ZERO if self._claim is None else self._claim[0].until - now
        due_in = _ZERO if began is None else interval - (now - began)
        wait = max(held, due_in)
        if wait > _ZERO:
            return Turn(0, now, wait, began, note)
        token = self._core.next_number()
        self._claim = Held(token, owner, later(now, claim)), now
        return Turn(token, now, _ZERO, began, note)

    async def end(self, token: int, note: bytes, *, completed: bool) -> bool:
        """End a claim, as `SessionStore.end_sweep`."""
        await trio.lowlevel.checkpoint()
        if self._claim is None or self._claim[0].token != token or self._core.now() >= self._claim[0].until:
            return False
        if completed:
            await self._core.record(Swept(self._claim[1], note))
        self._claim = None
        return True
