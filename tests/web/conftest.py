"""Fixtures for the tests of the web server."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

QUIET_SECONDS = 0.05
"""How long nothing may happen on the sockets of the test, in real time, before the clock goes on to the next deadline."""

RATE = 0.1
"""How much of the real time passes while something happens: an application that never rests meets its deadline, too."""


@pytest.fixture
def jumping_clock() -> MockClock:
    """A clock that is slow while anything happens, and jumps to the next deadline when nothing does.

    A limit of the server is met at once where a test is about it, and never because the machine is slow. Client and
    server are tasks of the same program without threads, so that a quiet program waits for the time alone.
    """
    return MockClock(rate=RATE, autojump_threshold=QUIET_SECONDS)
