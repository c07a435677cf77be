"""The autosave service, which saves dirty sessions every 30 s, and prompt saves for a chat that waits.

A save that fails is logged and tried again at the next tick. A save that hangs delays no other one, and the next tick
comes on time.

A chat that has to confirm a saved message does not wait for a tick: what it has said is committed to the journal at
once, together with all that waits. Sessions that the journal does not take are saved as a whole. After each round of
such saves the saver rests four times as long as the round took, so that they take at most a fifth of the time, and of
the disk's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import trio
from msgspec import Struct

from miniclaw.loggers import get_logger
from miniclaw.session.live.entry import SaveState
from miniclaw.session.live.save_job import SaveReport
from miniclaw.session.maintenance.wakeup import Idle, check_interval
from miniclaw.session.manager import SessionManager
from miniclaw.session.timekeeper import Timekeeper

PERSISTENCE_INTERVAL_SECS: Final = 30
"""Default time between two saves."""

REST_FACTOR: Final = 4
"""Rest after a round of saves as a whole, as a multiple of its duration."""

MAX_REST_SECONDS: Final = 2

ROUND_SECONDS: Final = 10
"""Longest wait for such a round; saves that hang end in the background."""

RETRY_SECONDS: Final = 5
"""Time until a session that could not be saved is tried again."""

log: Final = get_logger("miniclaw.session.persistence")


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
        self.interval_seconds: float = interval_seconds
        self._next_tick = float("inf")  # until it runs
        self._idle = Idle()
        self.ticks: int = 0

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
            with trio.move_on_at(self._next_tick) as patience:
                await self.tick(early=early)
            if patience.cancelled_caught:
                log.warning("Autosave has not ended when the next one is due; the disk is slow, or does not answer",
                            unsaved=len(self._manager.dirty_sessions()))  # fmt: skip

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
            manager = self._manager
            report = await (manager.saver.save_all() if early else manager.saver.save_due(self.interval_seconds))
            if report.saved:
                log.debug("Sessions saved", saved=report.saved, failed=len(report.failed))
            if self._time is not None:
                await self._time.tick()
            await manager.saver.check_place()
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
    """Saves sessions as soon as they are wished for, and reports the outcome to the caller."""

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager
        # Changed on the trio thread only, in synchronous steps.
        self._wishes: list[_Wish] = []
        self._whole: set[str] = set()  # ids of sessions that the journal does not take, until they were saved once
        self._retry_at: dict[str, float] = {}  # by session, on trio's clock
        self._changed = trio.Event()
        self._refused = trio.Event()

    def __repr__(self) -> str:
        return f"<PromptSaver wishes={len(self._wishes)} whole={len(self._whole)}>"

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
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._save_as_a_whole)
            task_status.started()
            while True:
                while not (due := self._due()):
                    self._changed = trio.Event()
                    retries = [at for session_id, at in self._retry_at.items() if session_id not in self._whole]
                    with trio.move_on_at(min(retries, default=float("inf"))):
                        await self._changed.wait()
                await self._commit(due)

    async def settle(self) -> None:
        """Save all requested sessions now, once. Requests that fail here are never settled.

        Cancellation: as for `run`.
        """
        await self._commit({wish.session_id for wish in self._wishes})
        await self._save()

    def _due(self) -> set[str]:
        now = trio.current_time()
        wished = {wish.session_id for wish in self._wishes}
        return {each for each in wished if each not in self._whole and self._retry_at.get(each, now) <= now}

    async def _commit(self, session_ids: set[str]) -> None:
        wishes = [wish for wish in self._wishes if wish.session_id in session_ids]
        answers = await self._manager.saver.committer.commit(session_ids)
        left = self._tell(wishes)
        if answers:
            self._whole |= left
            self._refused.set()
        else:
            self._retry_later(left)

    async def _save_as_a_whole(self) -> None:
        while True:
            self._refused = trio.Event()
            if not self._whole:
                await self._refused.wait()
            began = trio.current_time()
            with trio.move_on_after(ROUND_SECONDS):
                await self._save()
            await trio.sleep(min(REST_FACTOR * (trio.current_time() - began), MAX_REST_SECONDS))

    async def _save(self) -> None:
        session_ids = set(self._whole)
        wishes = [wish for wish in self._wishes if wish.session_id in session_ids]
        try:
            await self._manager.save_sessions(session_ids)
        finally:
            self._whole -= session_ids
            self._retry_later(self._tell(wishes))
            self._changed.set()

    def _retry_later(self, session_ids: set[str]) -> None:
        for session_id in session_ids:
            self._retry_at[session_id] = trio.current_time() + RETRY_SECONDS

    def _tell(self, wishes: Sequence[_Wish]) -> set[str]:
        """Settle all wishes that can be settled; return the ids of the sessions of those that cannot, of these."""
        states = [(wish, wish.state()) for wish in self._wishes]
        self._wishes = [wish for wish, state in states if state == "unsaved"]
        wished = {wish.session_id for wish in self._wishes}
        self._retry_at = {each: at for each, at in self._retry_at.items() if each in wished}
        for wish, state in states:
            if state != "unsaved":
                wish.settled(state == "saved")
        return {wish.session_id for wish in wishes if wish.state() == "unsaved"}
