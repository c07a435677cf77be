"""The autosave service, which saves dirty sessions every 30 s, and prompt saves for a chat that waits.

A save that fails is logged and tried again at the next tick. A save that hangs delays no other one, and the next tick
comes on time.

A chat that has to confirm a saved message does not wait for a tick. Sessions requested at about the same time are saved
together. After each round the saver rests four times as long as the round took, so that prompt saves take at most a
fifth of the time, and of the disk's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import trio
from msgspec import Struct

from miniclaw.loggers import get_logger
from miniclaw.session.live.memory import SaveState
from miniclaw.session.live.save_job import SaveReport
from miniclaw.session.maintenance.wakeup import Idle, check_interval
from miniclaw.session.manager import SessionManager
from miniclaw.session.timekeeper import Timekeeper

PERSISTENCE_INTERVAL_SECS: Final = 30
"""Default time between two saves."""

GATHER_SECONDS: Final = 0.02
"""Shortest wait for further requests before a round of saves begins."""

REST_FACTOR: Final = 4
"""Rest after a round, as a multiple of its duration."""

MAX_REST_SECONDS: Final = 2

RETRY_SECONDS: Final = 5
"""Time until a session that could not be saved is tried again."""

MAX_GOES: Final = 4
"""Most rounds under way at once; with several, a round on a hung file delays no other session."""


log = get_logger("miniclaw.session.persistence")


class Persistence:
    """Saves dirty sessions every `interval_seconds`, or sooner if memory is overfull.

    Args:
        interval_seconds: Time between two saves, positive, at most a hundred years.
        time: Records at each tick that the program is running; None: no record.

    Attributes:
        interval_seconds: As the argument; changed by `set_interval`.
        ticks: Number of saves, regular and early.
    """

    def __init__(
        self,
        manager: SessionManager,
        *,
        interval_seconds: float = PERSISTENCE_INTERVAL_SECS,
        time: Timekeeper | None = None,
    ) -> None:
        check_interval(interval_seconds)
        self._manager = manager
        self._time = time
        self.interval_seconds = interval_seconds
        self._next_tick = float("inf")  # until it runs
        self._idle = Idle()
        self.ticks = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Save until stopped.

        Cancellation: saves that have begun end in the background; no session is flushed.
        """
        self._manager.on_overfull = self._idle.wake
        self._next_tick = trio.current_time() + self.interval_seconds
        task_status.started()
        while True:
            await self._idle.until(self._next_tick)
            if self._idle.stopping:
                return
            now = trio.current_time()
            early = now < self._next_tick
            if not early:
                # Ticks missed by a suspended machine are skipped.
                missed = (now - self._next_tick) // self.interval_seconds
                self._next_tick += self.interval_seconds * (missed + 1)
            with trio.move_on_at(self._next_tick):
                await self.tick(early=early)

    def set_interval(self, seconds: float) -> None:
        """Save at another interval, counted from now; on the trio thread.

        Raises:
            ValueError: The interval is not positive, or longer than a hundred years.
        """
        check_interval(seconds)
        self.interval_seconds = seconds
        self._next_tick = trio.current_time() + seconds
        self._idle.wake()  # for an early save, after which the wait has the new deadline

    async def tick(self, *, early: bool = False) -> SaveReport:
        """Save once, now; the failure of an early save, between two regular ones, counts as no failed interval."""
        complete = False
        try:
            save = self._manager.save_all_sessions if early else partial(self._manager.save_due, self.interval_seconds)
            report = await save()
            if report.saved:
                log.debug("Sessions saved", saved=report.saved, failed=len(report.failed))
            if self._time is not None:
                await self._time.tick()
            await self._manager.check_place()
            complete = not report.failed
        finally:
            self._manager.stats.saves.ticked(complete=complete, early=early)
        self.ticks += 1
        return report

    def stop(self) -> None:
        """Stop the service after its present save, if any."""
        self._idle.stop()


class _Wish(Struct):
    session_id: str
    state: Callable[[], SaveState]
    settled: Callable[[bool], None]


class PromptSaver:
    """Saves sessions soon after a request, and reports the outcome to the caller."""

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager
        # Changed on the trio thread only, in synchronous steps.
        self._wishes: list[_Wish] = []
        self._saving: set[str] = set()
        self._retry_at: dict[str, float] = {}  # by session, on trio's clock
        self._rest = 0.0
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"<PromptSaver wishes={len(self._wishes)} saving={len(self._saving)}>"

    def want(self, session_id: str, settled: Callable[[bool], None]) -> None:
        """Request a save of the session's present revision.

        Args:
            session_id: The session.
            settled: Called on the trio thread; must not raise. True: the revision is on disk. False: the session was
                deleted for good before it was saved. A failed save causes no call; it is tried again every
                `RETRY_SECONDS`.
        """
        self._wishes.append(_Wish(session_id, self._manager.watch_save(session_id), settled))
        self._changed.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Save until cancelled.

        Cancellation: saves that have begun end in the background, without a call of `settled`.
        """
        goes = trio.Semaphore(MAX_GOES)
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                await self._until_due()
                await trio.sleep(max(GATHER_SECONDS, min(self._rest, MAX_REST_SECONDS)))
                await goes.acquire()
                due = self._due()
                self._saving |= due
                nursery.start_soon(self._go, due, goes)

    async def settle(self) -> None:
        """Save all requested sessions now, once. Requests that fail here are never settled.

        Cancellation: as for `run`.
        """
        await self._save({wish.session_id for wish in self._wishes})

    def _due(self) -> set[str]:
        now = trio.current_time()
        return {
            wish.session_id
            for wish in self._wishes
            if wish.session_id not in self._saving and self._retry_at.get(wish.session_id, now) <= now
        }

    async def _until_due(self) -> None:
        while not self._due():
            self._changed = trio.Event()
            # Ids that are being saved are out: their time has passed, and the end of their round sets the event.
            waiting = [at for session_id, at in self._retry_at.items() if session_id not in self._saving]
            with trio.move_on_at(min(waiting, default=float("inf"))):
                await self._changed.wait()

    async def _go(self, session_ids: set[str], goes: trio.Semaphore) -> None:
        try:
            began = trio.current_time()
            await self._save(session_ids)
            self._rest = REST_FACTOR * (trio.current_time() - began)
        finally:
            self._saving -= session_ids
            self._changed.set()
            goes.release()

    async def _save(self, session_ids: set[str]) -> None:
        report = await self._manager.commit(session_ids)
        for session_id in session_ids:
            self._retry_at.pop(session_id, None)
        for session_id in report.failed:
            self._retry_at[session_id] = trio.current_time() + RETRY_SECONDS
        states = [(wish, wish.state()) for wish in self._wishes]
        self._wishes = [wish for wish, state in states if state == "unsaved"]
        wished = {wish.session_id for wish in self._wishes}
        self._retry_at = {session_id: at for session_id, at in self._retry_at.items() if session_id in wished}
        for wish, state in states:
            if state != "unsaved":
                wish.settled(state == "saved")
