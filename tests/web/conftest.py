"""Fixtures for the tests of the web server."""

from __future__ import annotations

import time
from time import perf_counter

import pytest
from trio.testing import MockClock

QUIET_SECONDS = 0.05
"""How long nothing may happen on the sockets of the test, in real time, before the clock goes on to the next deadline."""

RATE = 0.1
"""How much of the real time passes while something happens: an application that never rests meets its deadline, too."""


MOST_AT_ONCE_SECONDS = 2 * QUIET_SECONDS
"""How much of the real time counts between two looks at the clock: in more, the machine was busy with other things."""


class OwnTime:
    """The real time, without that in which the machine did not come to this program."""

    def __init__(self) -> None:
        self._seen = perf_counter()
        self._seconds = 0.0

    def __call__(self) -> float:
        seen, self._seen = self._seen, perf_counter()
        self._seconds += min(self._seen - seen, MOST_AT_ONCE_SECONDS)
        return self._seconds


@pytest.fixture
def jumping_clock(monkeypatch: pytest.MonkeyPatch) -> MockClock:
    """A clock that is slow while anything happens, and jumps to the next deadline when nothing does.

    A limit of the server is met at once where a test is about it, and never because the machine is slow. Client and
    server are tasks of the same program without threads, so that a quiet program waits for the time alone.
    """
    with monkeypatch.context() as patched:
        patched.setattr(time, "perf_counter", OwnTime())  # which a MockClock keeps
        return MockClock(rate=RATE, autojump_threshold=QUIET_SECONDS)
