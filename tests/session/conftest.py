"""Fixtures for the runtime's tests: a store over real files whose system calls can fail, and a manager over it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from miniclaw.session.manager import SessionManager
from miniclaw.session.store import FileSessionStore, open_store
from tests.fakes.clock import WallClock
from tests.fakes.os_calls import FaultyOs


@pytest.fixture
def fs() -> FaultyOs:
    return FaultyOs()


@pytest.fixture
async def store(sessions_dir: Path, fs: FaultyOs) -> AsyncIterator[FileSessionStore]:
    async with open_store(sessions_dir, fs=fs) as store:
        yield store


@pytest.fixture
def manager(store: FileSessionStore, clock: WallClock) -> SessionManager:
    return SessionManager(store, clock=clock)
