"""The clocks of a machine, injected wherever time matters.

A program that runs for years meets wall clocks that are wrong. So whoever needs the time asks a `Timekeeper`
(`miniclaw.session.timekeeper`) for the present, and only that one reads a `Clock`. Waiting inside a running program is
done on `trio.current_time`.
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
        """Return the seconds since the machine was started, those in which it slept included; never set back."""
        ...

    def boot_id(self) -> str:
        """Return a name of this run of the machine, which no other one has."""
        ...

    def synchronised(self) -> bool:
        """Return whether a time server sets the wall clock, and has; False where that is not known."""
        ...


class Reading(Struct, frozen=True):
    """What the clocks of a machine say at one moment.

    Attributes:
        wall: The wall clock, in microseconds since 1970.
        boottime: Since the machine was started, in microseconds.
        boot: Which run of the machine that is.
        synchronised: Whether a time server vouches for `wall`.
    """

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
    """Return the time, in UTC; the nearest that a datetime can have."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return _LAST if microseconds > 0 else _FIRST


LATEST: Final = to_microseconds(datetime(9000, 1, 1, tzinfo=UTC))
"""The latest time that is reckoned with, and the longest span: what comes after it can be written down as well."""


def read_clock(clock: Clock) -> Reading:
    """Return what the clocks say now, within bounds.

    A clock of an embedder may raise anything, or return what is no time; then this raises.
    """
    wall = min(to_microseconds(clock.wall()), LATEST)
    boottime = min(max(0, round(clock.boottime() * 1_000_000)), LATEST)
    boot_id = clock.boot_id()
    if not isinstance(boot_id, str):
        raise TypeError(f"Clock.boot_id returns a text, not {boot_id!r:.80}")
    return Reading(wall, boottime, boot_id, bool(clock.synchronised()))


def as_clock(clock: Clock | Now) -> Clock:
    """Return a clock; a plain function is taken for its wall clock, see `PlainClock`."""
    return clock if isinstance(clock, Clock) else PlainClock(clock)


class PlainClock:
    """A wall clock alone: trio's clock stands in for the time since the start, which is that of this object.

    Args:
        wall: The wall clock.
    """

    def __init__(self, wall: Now) -> None:
        self.wall = wall
        self._boot_id = os.urandom(16).hex()
        self._began: float | None = None

    def boottime(self) -> float:
        """See `Clock.boottime`; without a trio program, time stands still."""
        import trio  # noqa: PLC0415 - start-up time: commands that only look at files need none

        try:
            now = trio.current_time()
        except RuntimeError:
            return 0.0
        if self._began is None:
            self._began = now
        return now - self._began

    def boot_id(self) -> str:
        """See `Clock.boot_id`."""
        return self._boot_id

    def synchronised(self) -> bool:
        """See `Clock.synchronised`."""
        return False


def uptime(clock: Clock, reading: Reading) -> int:
    """Return for how long a machine has run, in microseconds; of a plain clock nobody knows, and it counts as long."""
    return LATEST if isinstance(clock, PlainClock) else reading.boottime


class SystemClock:
    """The clocks of this machine.

    Where the system has no name for its run, this program's run stands in for it; and where it has no clock that goes
    on in its sleep, the monotonic one does: then the sleep looks like a gap.
    """

    def __init__(self) -> None:
        self._clock_id = _sleepless_clock()
        self._began = 0.0
        self._boot_id = machine_boot()
        if not self._boot_id:
            self._boot_id, self._began = os.urandom(16).hex(), time.clock_gettime(self._clock_id)

    def wall(self) -> datetime:
        """See `Clock.wall`."""
        return datetime.now(UTC)

    def boottime(self) -> float:
        """See `Clock.boottime`."""
        return time.clock_gettime(self._clock_id) - self._began

    def boot_id(self) -> str:
        """See `Clock.boot_id`."""
        return self._boot_id

    def synchronised(self) -> bool:
        """See `Clock.synchronised`: adjtimex(2) knows it."""
        adjtimex = _adjtimex()
        return adjtimex is not None and adjtimex() in _SYNCHRONISED


def _sleepless_clock() -> int:
    """Return the clock of the system that goes on in its sleep and is never set; else the monotonic one."""
    if sys.platform == "darwin":
        return time.CLOCK_MONOTONIC_RAW  # clock_gettime(3): goes on in sleep, and no adjustment affects it
    return getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@cache
def machine_boot() -> str:
    """Return a name of this run of the machine, which no other one has; empty where the system has none."""
    with suppress(OSError, ValueError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
    return _boot_session()


def _boot_session() -> str:
    """Return the same on macOS, which tells it by sysctl."""
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
"""What adjtimex(2) returns where the clock is synchronised: TIME_OK to TIME_WAIT; TIME_ERROR is 5, a failure -1."""


@cache
def _adjtimex() -> Callable[[], int] | None:
    """Return what asks the system whether its clock is synchronised, without changing anything; None: it cannot say."""
    import ctypes  # noqa: PLC0415 - start-up time

    try:
        call = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError, TypeError):
        return None
    # struct timex has 208 bytes at most; its first field, `modes`, is 0: nothing is set.
    return lambda: int(call(ctypes.create_string_buffer(512)))
