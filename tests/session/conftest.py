"""Fixtures for the runtime's tests: a store over real files whose system calls can fail, and a manager over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.live.store import FileSessionStore, open_store
from miniclaw.session.manager import SessionManager
from miniclaw.session.trash.trash import Trash
from miniclaw.session.types import Session
from tests.fakes.by_hand import WEB_1, say
from tests.fakes.clock import WallClock
from tests.fakes.desk import Desk
from tests.fakes.folders import trash_in
from tests.fakes.os_calls import FaultyOs
from tests.fakes.poor_os import PoorOs
from tests.fakes.runs import Runs

# What has to hold on every file system is tried on one that lacks all it can lack as well.
EVERYWHERE = {
    "test_store", "test_manager", "test_manager_memory", "test_manager_removing", "test_manager_trash",
    "test_removal", "test_removal_outcomes", "test_removal_trash", "test_trash", "test_trash_listing",
    "test_restore", "test_migration", "test_directory", "test_directory_load", "test_erasing",
    "test_bad_input", "test_leftovers", "test_operations", "test_stranded", "test_runtime",
}  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fs" in metafunc.fixturenames and metafunc.module.__name__.rpartition(".")[2] in EVERYWHERE:
        metafunc.parametrize("fs", [FaultyOs, PoorOs], indirect=True, ids=["plain", "poor"])


@pytest.fixture
def fs(request: pytest.FixtureRequest) -> FaultyOs:
    made: FaultyOs = getattr(request, "param", FaultyOs)()
    return made


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


@pytest.fixture
def path(sessions_dir: Path) -> Path:
    """The file of the session `saved`."""
    return sessions_dir / f"{WEB_1}.json"


@pytest.fixture
async def saved(manager: SessionManager, clock: WallClock) -> Session:
    """A session with one message, saved and in memory."""
    session = await manager.get_or_create_session("web", "1")
    await say(manager, clock, "secret")
    await manager.save_all_sessions()
    return session
