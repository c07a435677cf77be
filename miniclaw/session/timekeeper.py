"""The time of a program, also over its restarts: the present, the ages of sessions, and the sessions that are due.

Every stamp and every judgement of an age uses this module; each call reads the clocks.
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
from miniclaw.foreign import Contained
from miniclaw.loggers import get_logger
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.records.moment import Moment
from miniclaw.session.records.state import RetentionState, StateDirectory, tick_of
from miniclaw.session.retention.noted import Noted
from miniclaw.session.retention.notice import LastRun, Notice
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.retention.timeline import Ages
from miniclaw.session.threads import run_in_thread

T = TypeVar("T")

log: Final = get_logger("miniclaw.session.clock")


def longest_kept(policy: RetentionPolicy) -> timedelta:
    """Return the longest finite time for which a policy keeps anything; zero if it has none."""
    kept = [policy.ttl, *policy.ttl_by_channel.values(), policy.trash_for, policy.quarantine_for]
    return max((each for each in kept if each is not None), default=timedelta(0))


class Timekeeper:
    """The time of one running program, which owns the sessions. For the trio thread, unless a method says otherwise.

    Args:
        state: The folder in which the state is stored.
        keeps: The longest time for which anything is kept, as returned by `longest_kept`.
        store: The store to which `state` belongs; it remains open while a worker thread works on that. None: there is
            none.

    Attributes:
        state: The state so far; changed by each reading of the clocks.
        due: The entries that the last run found due.
        ahead: The entries that the last run found ahead of the clock.
        failures: Number of failed readings of the clocks; time stands still during a failure.
    """

    def __init__(
        self, state: StateDirectory, clock: Clock, keeps: timedelta, *, store: FileSessionStore | None = None
    ) -> None:
        self._directory = state
        self._clock = clock
        self.keep(keeps)
        self._store = store
        self._limiter = trio.CapacityLimiter(1)
        self._looking = RLock()
        self._refused: set[str] = set()  # errors logged since the last write that succeeded
        self._is_saved = False  # apart from the part that each tick writes
        self._uptime: int | None = None  # at the last reading; None: there was none
        self._clock_fails = False
        self.failures: int = 0
        self.state: RetentionState = RetentionState()
        self.due: Noted = Noted()
        self.ahead: Noted = Noted()

    def keep(self, keeps: timedelta) -> None:
        """Keep the records of the clock from which ages up to `keeps` can be computed."""
        self._keeps = keeps // MICROSECOND

    async def start(self) -> bool:
        """Load the stored state and read the clocks; return whether files keep their inodes in this directory.

        Raises:
            BaseException: The clocks could not be read.
        """
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
            pass  # logged once for the whole program
        except StoreError as error:
            log.error("Whether inodes last could not be looked at", error=str(error))
        return self.state.inodes_last

    def look(self) -> int:
        """Read the clocks; return the time since the start of the machine, in microseconds.

        Raises:
            BaseException: The first reading failed. A later failure changes nothing, and is logged as an ERROR.
        """
        with self._looking:
            failed: list[BaseException] = []
            with Contained(failed.append):
                reading = read_clock(self._clock)
            if failed:
                if self._uptime is None:
                    raise failed[0]
                self.failures += 1
                if not self._clock_fails:  # otherwise each reading would log it again
                    log.bug("Clock failed; time stands still until it works again", failed[0])
                self._clock_fails = True
                return self._uptime
            self._clock_fails = False
            if self.state.timeline.observe(reading, keeps=self._keeps):
                self._is_saved = False
            self._uptime = uptime(self._clock, reading)
            return self._uptime

    def now(self) -> datetime:
        """Return the present, with which each use is stamped. Any thread may call."""
        with self._looking:
            self.look()
            return self.state.timeline.present()

    def ages(self) -> Ages:
        """Return the ages of sessions at the present. Any thread may call."""
        with self._looking:
            self.look()
            return self.state.timeline.ages()

    def moment(self) -> Moment:
        """Return the present moment: ages, last run, and the entries found due or ahead of the clock."""
        boottime = self.look()
        state = self.state
        return Moment(state.timeline.ages(), boottime, state.last_run, self.due, self.ahead, state.held)

    async def tick(self) -> None:
        """Record on disk that the program is running, and a jump of the clock; log a failure as an ERROR."""
        self.look()
        if not self._is_saved:
            await self.save()
        if self._is_saved:  # also right after a save: once its file exists, a full disk has room for later ticks
            self.state.serial += 1
            await self._write(partial(self._directory.write_last_seen, tick_of(self.state)))

    async def save(self) -> None:
        """Write the whole state to disk; log a failure as an ERROR."""
        self.look()
        self._is_saved = True
        self.state.serial += 1
        if not await self._write(partial(self._directory.write, self.state)):
            self._is_saved = False

    async def remember(self, notice: Notice, run: LastRun | None, *, held: str) -> None:
        """Store a run with its announcements; without a `run` it was not completed, without `held` it was not held.

        A failure is logged as an ERROR: due sessions are then announced anew after the next start.
        """
        if run is None and self.state.last_run is None:
            return  # no run to store the rules with; without them, a tightened rule could not be detected later
        # In a worker thread: slow for a hundred thousand sessions.
        self.due, self.ahead = await self._in_thread(lambda: (notice.due.renewed(), notice.ahead.renewed()))
        await self._write(partial(self._directory.write_due, self.state.id, self.due, self.ahead))
        if run is not None:
            self.state.last_run, self.state.held = run, held
        elif self.state.last_run is not None:  # announcements were made by these rules, and not by its own
            self.state.last_run = replace(self.state.last_run, rules=notice.rules)
        await self.save()

    async def let_through(self) -> None:
        """Forget that the last daily run was held: a later run has removed the sessions that it would have removed."""
        if self.state.held:
            self.state.held = ""
            await self.save()

    async def _write(self, work: Callable[[], None]) -> bool:
        try:
            await self._in_thread(work)
        except OwnershipLostError:
            return False  # logged once for the whole program
        except StoreError as error:
            if str(error) not in self._refused:  # otherwise each tick would log it again
                log.error("Cleanup state could not be written", error=str(error))
            self._refused.add(str(error))
            return False
        self._refused.clear()
        return True

    async def _in_thread(self, work: Callable[[], T]) -> T:
        run = run_in_thread if self._store is None else self._store.run
        return await run(work, limiter=self._limiter)


INODES_CHANGE: Final = (
    "Files get other inodes at each start here; a session that is due is recognised by its size and time"
)


async def open_time(store: FileSessionStore, clock: Clock | Now | None, policy: RetentionPolicy) -> Timekeeper:
    """Return the timekeeper of a program that owns a store, with the state stored there.

    Without `clock` it reads the clocks of this machine. The store's directory gets the clock, and an indication if
    inodes do not last.
    """
    clock = SystemClock() if clock is None else as_clock(clock)
    time = Timekeeper(store.state, clock, longest_kept(policy), store=store)
    store.directory.now = time.now
    if not await time.start():
        store.directory.inodes_last = False
        log.info(INODES_CHANGE, path=str(store.directory.path))
    return time
