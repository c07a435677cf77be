"""examples/sqlite_store.py: the store passes the conformance suite, also as two connections to one file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import pytest

from miniclaw.session.types import Message
from miniclaw.stores.protocol import SessionStore
from miniclaw.stores.runtime import open_store_runtime
from miniclaw.testing import check_store
from tests.fakes.stores import StoreClock

PROGRAM = Path(__file__).parents[2] / "examples" / "sqlite_store.py"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("sqlite_store", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "sqlite_store", module)
    spec.loader.exec_module(module)
    return module


async def test_sqlite_store_passes_every_check(example: ModuleType, tmp_path: Path) -> None:
    """Each owner has a connection of its own, as two programs have."""
    clock, opened = StoreClock(), 0

    @asynccontextmanager
    async def open_stores(owners: Sequence[str]) -> AsyncIterator[Sequence[SessionStore]]:
        nonlocal opened
        opened += 1
        stores = [example.SqliteStore(tmp_path / f"{opened}.db", owner=owner, clock=clock) for owner in owners]
        try:
            yield stores
        finally:
            for store in stores:
                store.db.close()

    report = await check_store(open_stores, pass_time=clock.move, many=500)
    assert not report.failures


async def test_sessions_in_sqlite_are_there_after_a_restart(example: ModuleType, tmp_path: Path) -> None:
    """A runtime over the store keeps sessions in the file."""
    for number in range(2):
        async with (
            example.open_sqlite_store(tmp_path / "s.db", owner=f"run {number}") as store,
            open_store_runtime(store) as sessions,
        ):
            session = await sessions.get_or_create("web", "anna")
            assert len(session.messages) == number
            await sessions.add_message("web_anna", Message("user", "hi", sessions.now()))
