"""System calls with a point before each, counted: there one can fail, come back short, or kill the process.

The reading of a directory's entries counts as calls too (``readdir``). `fsync` and `sync_data` do nothing here: neither an error nor
a kill can show what it is for (power cuts do, in tests of their own), and thousands of points would wait for the disk.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Self

from miniclaw.session.disk.syscalls import OsCalls
from tests.fakes.os_calls import CALLS

_WRITES = frozenset({"write", "pwrite"})
_HALVED = frozenset({"read", "readv", "pread"}) | _WRITES

Real = Callable[[], Any]


class Act:
    """What happens at a call; here nothing but the call itself.

    Attributes:
        made: The calls that came by and count.
        hit: The call at the point, once it was reached; else empty.
    """

    def __init__(self) -> None:
        self.made = 0
        self.hit = ""

    def counts(self, name: str) -> bool:
        """Return whether calls of this name count."""
        return True

    def at(self, name: str, real: Real, shorter: Real) -> Any:
        """Make the call, or not."""
        self.made += self.counts(name)
        return real()


class Fault(Act):
    """Fail the `k`-th call, and `more` calls after it; None: with a short read or write instead of an error."""

    def __init__(self, k: int, number: int | None, *, more: int = 0, gap: int = 0) -> None:
        super().__init__()
        self._k = k
        self._number = number
        self._more = more
        self._gap = gap  # so many calls after the first failed one, another fails

    def counts(self, name: str) -> bool:
        return self._number is not None or name in _HALVED

    def at(self, name: str, real: Real, shorter: Real) -> Any:
        if not self.counts(name):
            return real()
        self.made += 1
        behind = self.made - self._k
        if behind < 0 or (behind > self._more and behind != self._gap):
            return real()
        self.hit = self.hit or name
        if self._number is None:
            return shorter()
        if name == "close":
            real()  # the descriptor is gone also where close reports an error
        raise OSError(self._number, os.strerror(self._number))


class ShortThenFull(Act):
    """Have the `k`-th write come back short, and every later one fail with ENOSPC, as a disk that gets full."""

    def __init__(self, k: int, number: int) -> None:
        super().__init__()
        self._k = k
        self._number = number

    def counts(self, name: str) -> bool:
        return name in _WRITES

    def at(self, name: str, real: Real, shorter: Real) -> Any:
        self.made += self.counts(name)
        if not self.counts(name) or self.made < self._k:
            return real()
        self.hit = self.hit or name
        if self.made == self._k:
            return shorter()
        raise OSError(self._number, os.strerror(self._number))


class Kill(Act):
    """Kill this process at the `k`-th call: ``before`` it, ``after`` it, or ``half`` way through the `k`-th write."""

    def __init__(self, k: int, when: str) -> None:
        super().__init__()
        self._k = k
        self._when = when

    def counts(self, name: str) -> bool:
        return self._when != "half" or name in _WRITES

    def at(self, name: str, real: Real, shorter: Real) -> Any:
        self.made += self.counts(name)
        if not self.counts(name) or self.made != self._k:
            return real()
        if self._when == "after":
            with suppress(Exception):  # also after a call that fails, and after the end of a listing
                real()
        elif self._when == "half":
            shorter()
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("nobody survives SIGKILL")


class PointOs(OsCalls):
    """The real calls, each through an act.

    Attributes:
        act: What happens at a call from now on.
    """

    def __init__(self, act: Act | None = None) -> None:
        self.act = act or Act()

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name not in CALLS:
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            shorter = partial(value, args[0], _half(args[1]), *args[2:], **kwargs) if name in _HALVED else value
            return self.act.at(name, partial(value, *args, **kwargs), shorter)

        return call

    def fsync(self, fd: int) -> None:
        os.fstat(fd)

    def sync_data(self, fd: int) -> None:
        os.fstat(fd)

    def scandir(self, fd: int) -> Any:
        return _Entries(self, os.scandir(fd))


def _half(argument: Any) -> Any:
    """Return half of what a call was to read or write: a size, a text, or a list with one buffer."""
    if isinstance(argument, list):
        return [memoryview(argument[0])[: max(1, len(argument[0]) // 2)]]
    return max(1, argument // 2) if isinstance(argument, int) else argument[: max(1, len(argument) // 2)]


class _Entries:
    """A listing whose steps are calls as well."""

    def __init__(self, fs: PointOs, entries: Any) -> None:
        self._fs = fs
        self._entries = entries

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return self

    def __next__(self) -> os.DirEntry[str]:
        step = partial(next, self._entries)
        entry: os.DirEntry[str] = self._fs.act.at("readdir", step, step)
        return entry

    def close(self) -> None:
        self._entries.close()
