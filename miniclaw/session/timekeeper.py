"""Keeps the time for a running program, and over its restarts: the present, the ages of sessions, what is due.

Everybody who stamps something, or judges an age, asks here; each question is a look at the clocks.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from threading import RLock
from typing import Final, TypeVar

import trio
from msgspec.structs import replace

from miniclaw.clock import MICROSECOND, Clock, Now, SystemClock, as_clock, read_clock, uptime
from miniclaw.errors import OwnershipLostError, StoreError
from miniclaw.loggers import get_logger
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.records.moment import Moment
from miniclaw.session.records.state import RetentionState, StateDirectory, tick_of
from miniclaw.session.retention.noted import Noted
from miniclaw.session.retention.notice import LastRun, Notice
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.retention.timeline import Ages
from miniclaw.session.threads import ThreadRunner, run_in_thread

T = TypeVar("T")

log = get_logger("miniclaw.session.clock")


def longest_kept(policy: RetentionPolicy) -> timedelta:
    """Return for how long at the most anything is kept by a policy, if not for ever."""
    kept = [policy.ttl, *policy.ttl_by_channel.values(), policy.trash_for, policy.quarantine_for]
    return max((each for each in kept if each is not None), default=timedelta(0))


class Timekeeper:
    """The time of one running program, which owns the sessions. Used on the trio thread, unless it says otherwise.

    Args:
        state: Where it is remembered.
        clock: The clocks.
        keeps: For how long anything is kept; see `longest_kept`.
        run: Runs the work on `state` in a thread.

    Attributes:
        state: What is known; changed by each look.
        due: What the last run found due.
        ahead: What it found ahead of the clock.
        failures: How often the clocks could not be read; time stands still then.
    """

    def __init__(
        self, state: StateDirectory, clock: Clock, keeps: timedelta, *, run: ThreadRunner = run_in_thread
    ) -> None:
        self._directory = state
        self._clock = clock
        self.keep(keeps)
        self._run = run
        self._limiter = trio.CapacityLimiter(1)
        self._looking = RLock()
        self._refused: set[str] = set()  # what was told and has not succeeded since
        self._is_saved = False  # but for what each tick writes
        self._uptime: int | None = None  # as of the last look; None: there was none
        self._clock_fails = False
        self.failures = 0
        self.state = RetentionState()
        self.due, self.ahead = Noted(), Noted()

    def keep(self, keeps: timedelta) -> None:
        """Remember what tells the ages of things that are kept for so long; see `longest_kept`."""
        self._keeps = keeps // MICROSECOND

    async def start(self) -> bool:
        """Go on from what was remembered; return whether files keep their inodes here."""
        await self._in_thread(self._directory.sweep)
        found = await self._in_thread(self._directory.read)
        if found is not None:
            self.state = found
            self.due, self.ahead = await self._in_thread(partial(self._directory.read_due, found))
        self.look()
        try:
            lasting = await self._in_thread(partial(self._directory.inodes_last, self.state))
            if not lasting and self.state.inodes_last:
                self._is_saved = False
            self.state.inodes_last = lasting
        except OwnershipLostError:
            pass  # said once for all
        except StoreError as error:
            log.error("Whether inodes last could not be looked at", error=str(error))
        return self.state.inodes_last

    def look(self) -> int:
        """Look at the clocks; return the time since the start of the machine, in microseconds.

        Raises:
            Exception: The first look fails. Later, one that fails changes nothing, and is an ERROR in the log.
        """
        with self._looking:
            try:
                reading = read_clock(self._clock)
            except Exception as error:  # a clock of an embedder may raise anything
                if self._uptime is None:
                    raise
                self.failures += 1
                if not self._clock_fails:  # every look would say it again
                    log.bug("Clock failed; time stands still until it works again", error)
                self._clock_fails = True
                return self._uptime
            self._clock_fails = False
            if self.state.timeline.observe(reading, keeps=self._keeps):
                self._is_saved = False
            self._uptime = uptime(self._clock, reading)
            return self._uptime

    def now(self) -> datetime:
        """Return the present: what a use stamps. Any thread may ask."""
        return self.ages().now

    def ages(self) -> Ages:
        """Return what tells the ages of sessions now. Any thread may ask."""
        with self._looking:
            self.look()
            return self.state.timeline.ages()

    def moment(self) -> Moment:
        """Return all that is known now."""
        boottime = self.look()
        state = self.state
        return Moment(state.timeline.ages(), boottime, state.last_run, self.due, self.ahead, state.held)

    async def tick(self) -> None:
        """Write down that the program is there, and a jump of the clock. A failure is an ERROR in the log."""
        self.look()
        if not self._is_saved:
            await self.save()
        if self._is_saved:  # also right after a save: once the file is there, a full disk has room for it
            self.state.serial += 1
            await self._write(partial(self._directory.write_last_seen, tick_of(self.state)))

    async def save(self) -> None:
        """Write all of the state down. A failure is an ERROR in the log."""
        self.look()
        self._is_saved = True
        self.state.serial += 1
        if not await self._write(partial(self._directory.write, self.state)):
            self._is_saved = False

    async def remember(self, notice: Notice, run: LastRun | None, *, held: str) -> None:
        """Remember a run. A failure is an ERROR in the log: what is due is announced anew after the next start.

        Args:
            notice: What it has announced.
            run: The run; None: it has not come to its end.
            held: Why it was held; empty where it was not.
        """
        if run is None and self.state.last_run is None:
            return  # there is no run to note the rules with; without them, a tightened rule could not be told later
        # In a thread: of a hundred thousand sessions it takes a while.
        self.due, self.ahead = await self._in_thread(lambda: (notice.due.renewed(), notice.ahead.renewed()))
        await self._write(partial(self._directory.write_due, self.state.id, self.due, self.ahead))
        if run is not None:
            self.state.last_run, self.state.held = run, held
        elif self.state.last_run is not None:  # what is due was announced by these rules, and no longer by its own
            self.state.last_run = replace(self.state.last_run, rules=notice.rules)
        await self.save()

    async def let_through(self) -> None:
        """Forget that the last run of the daily cleanup was held: a later run has removed what it would have."""
        if self.state.held:
            self.state.held = ""
            await self.save()

    async def _write(self, work: Callable[[], None]) -> bool:
        try:
            await self._in_thread(work)
        except OwnershipLostError:
            return False  # said once for all
        except StoreError as error:
            if str(error) not in self._refused:  # each tick would say it again
                log.error("Cleanup state could not be written", error=str(error))
            self._refused.add(str(error))
            return False
        self._refused.clear()
        return True

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await self._run(work, limiter=self._limiter)


INODES_CHANGE: Final = (
    "Files get other inodes at each start here; a session that is due is recognised by its size and time"
)


async def open_time(store: FileSessionStore, clock: Clock | Now | None, policy: RetentionPolicy) -> Timekeeper:
    """Return the time of a program that owns a store, gone on from what was remembered there.

    Args:
        store: The store; told by what it is to recognise files.
        clock: The clocks; a plain function is taken for the wall clock; None: those of this machine.
        policy: The rules, which say how long anything is kept.
    """
    clock = SystemClock() if clock is None else as_clock(clock)
    time = Timekeeper(store.state, clock, longest_kept(policy), run=store.run)
    store.directory.now = time.now
    if not await time.start():
        store.directory.inodes_last = False
        log.info(INODES_CHANGE, path=str(store.directory.path))
    return time
