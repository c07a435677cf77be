"""Fixtures for pytest with pytest-trio, for programs that embed miniclaw, which itself needs neither package.

A ``conftest.py`` switches them on::

    pytest_plugins = ["miniclaw.testing.pytest_plugin"]
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from trio.testing import MockClock

from miniclaw.testing.clock import FakeClock, autojump


@pytest.fixture
def fake_clock() -> FakeClock:
    """Return a wall clock that follows trio's clock."""
    return FakeClock()


@pytest.fixture
async def safe_autojump(mock_clock: MockClock) -> AsyncIterator[MockClock]:
    """Let trio's clock jump to the next deadline when neither a task nor a thread works.

    A test that uses it also names ``mock_clock`` as a parameter of its own: pytest-trio takes no clock from elsewhere.
    """
    async with autojump():
        yield mock_clock
