"""Fixtures for the runtime's tests: a store over real files whose system calls can fail, and a manager over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from miniclaw.session.directory import SessionDirectory
from miniclaw.session.manager import SessionManager
from miniclaw.session.store import FileSessionStore, open_store
from miniclaw.session.trash import Trash
from tests.fakes.clock import WallClock
from tests.fakes.desk import Desk
from tests.fakes.folders import trash_in
from tests.fakes.os_calls import FaultyOs
from tests.fakes.runs import Runs


@pytest.fixture
def fs() -> FaultyOs:
    return FaultyOs()


@pytest.fixture
def directory(sessions_dir: Path, fs: FaultyOs) -> Iterator[SessionDirectory]:
    """An owned directory, below the store."""
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
        yield directory


@pytest.fixture
def trash(sessions_dir: Path, fs: FaultyOs) -> Trash:
    return trash_in(sessions_dir, fs)


@pytest.fixture
async def store(sessions_dir: Path, fs: FaultyOs) -> AsyncIterator[FileSessionStore]:
    async with open_store(sessions_dir, fs=fs) as store:
        yield store


@pytest.fixture
def manager(store: FileSessionStore, clock: WallClock) -> SessionManager:
    return SessionManager(store, clock=clock)


@pytest.fixture
async def desk(tmp_path: Path, fs: FaultyOs, clock: WallClock) -> AsyncIterator[Desk]:
    async with open_store(tmp_path / "sessions", fs=fs) as store:
        yield Desk(store, fs, clock)


@pytest.fixture
def runs(store: FileSessionStore, manager: SessionManager, clock: WallClock) -> Runs:
    return Runs(store, manager, clock)
