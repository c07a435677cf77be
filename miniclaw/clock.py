"""The clocks of a machine, injected wherever time matters.

A program that runs for years meets wall clocks that are wrong. All code therefore asks a `Timekeeper`
(`miniclaw.session.timekeeper`) for the present, and only the `Timekeeper` reads a `Clock`. Waits inside a running
program use `trio.current_time`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct

Now: TypeAlias = Callable[[], datetime]
"""Returns the present as an aware datetime in UTC."""


@runtime_checkable
class Clock(Protocol):
    """The clocks of one machine. All methods are quick, and may be called from any thread."""

    def wall(self) -> datetime:
        """Return the wall clock, aware. It may be wrong, and may be set at any time."""
        ...

    def boottime(self) -> float:
        """Return the seconds since the start of the machine, including sleep; never set back."""
        ...

    def boot_id(self) -> str:
        """Return a name that is unique to this run of the machine."""
        ...

    def synchronised(self) -> bool:
        """Return whether a time server has set the wall clock, and keeps it set; False if that is not known."""
        ...


class Reading(Struct, frozen=True):
    """A reading of a machine's clocks in microseconds. If it is `synchronised`, a time server vouches for `wall`."""

    wall: int
    boottime: int
    boot: str
    synchronised: bool


def utc_now() -> datetime:
    """Return the wall clock of the system, UTC."""
    return datetime.now(UTC)


_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """Return a time as whole microseconds since 1970, rounded down."""
    return (moment - _EPOCH) // MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Return the time, in UTC; out of range, the nearest that a datetime can represent."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return _LAST if microseconds > 0 else _FIRST


LATEST: Final = to_microseconds(datetime(9000, 1, 1, tzinfo=UTC))
"""The latest time in calculations, and the longest span: later times can still be represented."""


def read_clock(clock: Clock) -> Reading:
    """Return a reading of the clocks, within bounds. A clock of an embedder may raise anything, which then passes."""
    wall = min(to_microseconds(clock.wall()), LATEST)
    boottime = min(max(0, round(clock.boottime() * 1_000_000)), LATEST)
    boot_id = clock.boot_id()
    if not isinstance(boot_id, str):
        raise TypeError(f"Clock.boot_id returns a text, not {boot_id!r:.80}")
    return Reading(wall, boottime, boot_id, bool(clock.synchronised()))


def as_clock(clock: Clock | Now) -> Clock:
    """Return a clock; a plain function becomes the wall clock of a `PlainClock`.

    Raises:
        TypeError: It is neither, or its present is no datetime with a time zone; the sentence names `clock`.
    """
    if isinstance(clock, type) or not (isinstance(clock, Clock) or callable(clock)):
        raise TypeError(f"clock is a Clock or a function that returns the present, not {clock!r:.80}")
    checked = clock if isinstance(clock, Clock) else PlainClock(clock)
    now: object = checked.wall()
    if not isinstance(now, datetime) or now.tzinfo is None:
        raise TypeError(f"clock returns a datetime with a time zone, not {now!r:.80}")
    return checked


class PlainClock:
    """A wall clock alone: trio's clock replaces the time since the start, and the start is that of this object."""

    def __init__(self, wall: Now) -> None:
        self.wall = wall
        self._boot_id = os.urandom(16).hex()
        self._began: float | None = None

    def boottime(self) -> float:
        """Return the seconds since the first call by trio's clock; without a trio program, 0."""
        import trio  # noqa: PLC0415 - start-up time: commands that only read files need none

        try:
            now = trio.current_time()
        except RuntimeError:
            return 0.0
        if self._began is None:
            self._began = now
        return now - self._began

    def boot_id(self) -> str:
        """Return a random name of this object."""
        return self._boot_id

    def synchronised(self) -> bool:
        """Return False: it is not known."""
        return False


def uptime(clock: Clock, reading: Reading) -> int:
    """Return the microseconds since the start of a machine; unknown for a plain clock, which counts as the longest."""
    return LATEST if isinstance(clock, PlainClock) else reading.boottime


class SystemClock:
    """The clocks of this machine.

    If the system has no name for its run, the run of this program replaces it. If it has no clock that continues during
    sleep, the monotonic one is used: sleep then looks like a gap.
    """

    def __init__(self) -> None:
        self._clock_id = _sleepless_clock()
        self._began = 0.0
        self._boot_id = machine_boot()
        if not self._boot_id:
            self._boot_id, self._began = os.urandom(16).hex(), time.clock_gettime(self._clock_id)

    def wall(self) -> datetime:
        """Return the wall clock of the system, UTC."""
        return datetime.now(UTC)

    def boottime(self) -> float:
        """Return the seconds since the start of the machine, or of this object if the machine's run has no name."""
        return time.clock_gettime(self._clock_id) - self._began

    def boot_id(self) -> str:
        """Return the name of this run of the machine, or a random one."""
        return self._boot_id

    def synchronised(self) -> bool:
        """Return whether adjtimex(2) reports that the clock is synchronised."""
        adjtimex = _adjtimex()
        return adjtimex is not None and adjtimex() in _SYNCHRONISED


def _sleepless_clock() -> int:
    """Return the system's clock that continues during sleep and is never set; otherwise the monotonic one."""
    if sys.platform == "darwin":
        return time.CLOCK_MONOTONIC_RAW  # clock_gettime(3): continues during sleep, and no adjustment affects it
    return getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@cache
def machine_boot() -> str:
    """Return a name that is unique to this run of the machine; empty if the system has none."""
    with suppress(OSError, ValueError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
    return _boot_session()


def _boot_session() -> str:
    """Return the same on macOS, by sysctl."""
    import ctypes  # noqa: PLC0415 - start-up time

    text = ctypes.create_string_buffer(64)
    size = ctypes.c_size_t(len(text))
    try:
        ask = ctypes.CDLL(None).sysctlbyname
        failed = ask(b"kern.bootsessionuuid", text, ctypes.byref(size), None, ctypes.c_size_t(0))
    except (OSError, AttributeError, TypeError):
        return ""
    return "" if failed else text.value.decode("ascii", "replace")


_SYNCHRONISED: Final = range(5)
"""Results of adjtimex(2) for a synchronised clock: TIME_OK to TIME_WAIT; TIME_ERROR is 5, a failure -1."""


@cache
def _adjtimex() -> Callable[[], int] | None:
    """Return a function that calls adjtimex(2) without changing anything; None: the system has no such call."""
    import ctypes  # noqa: PLC0415 - start-up time

    try:
        call = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError, TypeError):
        return None
    # struct timex has 208 bytes at most; its first field, `modes`, is 0 and remains 0: nothing is set. The rest is
    # overwritten by each call, and never read.
    timex = ctypes.create_string_buffer(512)
    return lambda: int(call(timex))
