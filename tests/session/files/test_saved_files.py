"""What this process has saved is not opened by its next scan."""

from __future__ import annotations

from pathlib import Path

import pytest

from miniclaw.session.entries import StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.ledger import LedgerFile
from miniclaw.session.files.saved_files import SavedFiles
from miniclaw.session.files.subdirectory import STATE_NAME, Folder
from miniclaw.session.live.store import FileSessionStore, open_store
from miniclaw.session.manager import SessionManager
from miniclaw.session.types import Session
from miniclaw.workspace.plan import scan_sync
from tests.fakes.clock import WallClock
from tests.fakes.moments import at_once
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.session.scans import POLICY, told


async def drain(store: FileSessionStore) -> int:
    """Scan to the end, and return how many sessions there were."""
    count = 0
    async with store.scan() as scanning:
        while not scanning.complete:
            count += len(await scanning.next_batch())
    return count


async def test_scan_after_own_saves_opens_none_of_them(tmp_path: Path, clock: WallClock) -> None:
    """The daily scan after a day of chats opens no session, and neither does the one after that."""
    fs = FaultyOs()
    async with open_store(tmp_path / "sessions", fs=fs) as store:
        store.keep_ledger(LedgerFile(store.state.folder))
        manager = SessionManager(store, clock=clock)
        for _ in range(3):
            for number in range(20):
                session = await manager.get_or_create_session("web", str(number))
                await manager.set_pinned(session.session_id, number == 7)
            await manager.save_all_sessions()
            clock.move(hours=1)
            for _ in range(2):
                fs.calls.clear()
                assert await drain(store) == 20
                assert [args for name, args in fs.calls if name == "open" and str(args[0]).endswith(".json")] == []
    with SessionDirectory.open(tmp_path / "sessions") as directory:
        known, plain = (
            scan_sync(directory, POLICY, at_once(clock.ago(days=-40), POLICY), ledger=ledger)
            for ledger in (LedgerFile(Folder.within(directory, STATE_NAME)).load(), None)
        )
    assert told(known) == told(plain)
    assert (len(known.removals), known.pinned) == (19, 1)


async def test_scan_after_own_save_and_another_hand_reads_the_file(tmp_path: Path, clock: WallClock) -> None:
    """What is remembered of a save holds only for the file as it was saved."""
    sessions = tmp_path / "sessions"
    async with open_store(sessions) as store:
        store.keep_ledger(LedgerFile(store.state.folder))
        manager = SessionManager(store, clock=clock)
        await manager.get_or_create_session("web", "1")
        await manager.save_all_sessions()
        write_session(sessions, "web_1", clock.ago(days=400))
        async with store.scan() as scanning:
            (row,) = await scanning.next_batch()
    assert isinstance(row, StoredSession)
    assert row.header.last_accessed == clock.ago(days=400)


async def test_scan_that_is_broken_off_loses_no_saves(
    tmp_path: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cleanup that a shutdown cut short leaves to the next one what was remembered."""
    monkeypatch.setattr("miniclaw.session.live.store_scan.SCAN_BATCH_SECONDS", -1.0)
    async with open_store(tmp_path / "sessions") as store:
        store.keep_ledger(LedgerFile(store.state.folder))
        manager = SessionManager(store, clock=clock)
        for number in range(40):
            await manager.get_or_create_session("web", str(number))
        await manager.save_all_sessions()
        saved = store.directory.saved_files
        assert saved is not None
        async with store.scan() as scanning:
            await scanning.next_batch()
        assert (scanning.complete, len(saved)) == (False, 40)
        assert await drain(store) == 40
        assert len(saved) == 0


def test_saved_files_are_bounded(tmp_path: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway of very many chats remembers some of them, and what it remembers is the newest."""
    monkeypatch.setattr("miniclaw.session.files.saved_files.MAX_NOTES", 3)
    saved, status = SavedFiles(), tmp_path.stat()
    for number in range(5):
        session = Session(f"web_{number}", "web", str(number), clock.now, clock.now)
        saved.note(f"web_{number}.json", session, status)
    session.pinned = True
    saved.note("web_0.json", session, status)
    assert [used & 1 for _, (_, used) in saved.all().values()] == [1, 0, 0]


def test_forget_keeps_what_was_saved_again_meanwhile(tmp_path: Path, clock: WallClock) -> None:
    """A scan that has seen a session's older file does not make the next one open the newer."""
    saved, status = SavedFiles(), tmp_path.stat()
    session = Session("web_1", "web", "1", clock.now, clock.now)
    saved.note("web_1.json", session, status)
    saved.note("web_2.json", session, status)
    seen = saved.all()
    session.pinned = True
    saved.note("web_1.json", session, status)
    saved.forget(seen)
    assert [used & 1 for _, (_, used) in saved.all().values()] == [1]
