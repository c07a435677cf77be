"""What lies on the disk: counted by listing, in batches, without opening a file."""

from __future__ import annotations

import errno
from datetime import timedelta
from pathlib import Path

import pytest
import trio

from miniclaw.session.entries import FileTally
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.maintenance.usage import UsageMeter
from miniclaw.session.manager import SessionManager
from miniclaw.session.retention.policy import RetentionPolicy
from tests.fakes.clock import WallClock
from tests.fakes.descriptors import descriptors_below
from tests.fakes.os_calls import FaultyOs
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import write_session
from tests.fakes.threads import until, wait_in_thread

NOTHING = FileTally(0, 0)


async def test_measure_empty_store_is_known_to_be_empty(store: FileSessionStore) -> None:
    """Folders that were never made hold nothing, which is known."""
    usage = await UsageMeter(store).measure()
    assert (usage.sessions, usage.trash, usage.quarantine) == (NOTHING, NOTHING, NOTHING)
    assert usage.problems == ()
    assert usage.free_bytes is not None


@pytest.mark.parametrize("batch_seconds", [0, 60])
async def test_measure_counts_the_same_in_any_batches(
    store: FileSessionStore, sessions_dir: Path, clock: WallClock, fs: FaultyOs, batch_seconds: float
) -> None:
    """Session files count by their names, good or bad; links, folders, hidden and foreign files do not."""
    sizes = [write_session(sessions_dir, f"web_{n}", clock.ago(days=n)).stat().st_size for n in range(5)]
    (sessions_dir / "web_bad.json").write_text("not a session")
    (sessions_dir / "web_folder.json").mkdir()
    (sessions_dir / "web_link.json").symlink_to("web_1.json")
    (sessions_dir / ".hidden.json").write_text("hidden")
    (sessions_dir / "notes.txt").write_text("foreign")
    fs.calls.clear()
    usage = await UsageMeter(store, batch_seconds=batch_seconds).measure()
    assert usage.sessions == FileTally(6, sum(sizes) + len("not a session"))
    opened = [args[0] for name, args in fs.calls if name == "open"]
    assert not [name for name in opened if str(name).endswith(".json")]


async def test_measure_trash_counts_entries(store: FileSessionStore, sessions_dir: Path, clock: WallClock) -> None:
    """An entry takes what its compressed file takes; what lies beside the entries is not counted."""
    manager = SessionManager(store, clock=clock, policy=RetentionPolicy(trash_for=timedelta(days=7)))
    for number in range(3):
        write_session(sessions_dir, f"web_{number}", clock.ago(days=1))
        await manager.delete_session(f"web_{number}")
    (sessions_dir / ".trash" / "notes.txt").write_text("foreign")
    (sessions_dir / ".trash" / "notes.gz").write_text("foreign")
    entries = list((sessions_dir / ".trash").glob("web*.gz"))
    usage = await UsageMeter(store).measure()
    assert usage.trash == FileTally(3, sum(path.stat().st_size for path in entries))
    assert usage.sessions == NOTHING


@pytest.mark.parametrize("call", ["scandir", "stat", "open"])
async def test_measure_what_cannot_be_listed_is_not_known(
    store: FileSessionStore, sessions_dir: Path, clock: WallClock, fs: FaultyOs, call: str
) -> None:
    """A refusal makes one part unknown, and says where; it is never a smaller number."""
    write_session(sessions_dir, "web_1", clock.now)
    fs.fail(call, errno.EIO)
    usage = await UsageMeter(store).measure()
    fs.clear()
    assert usage.sessions is None
    assert any(str(sessions_dir) in problem for problem in usage.problems)


async def test_measure_what_vanishes_meanwhile_is_left_out(
    store: FileSessionStore, sessions_dir: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """A session that is removed between the listing and the look at it is no error."""
    write_session(sessions_dir, "web_1", clock.now)
    fs.fail("stat", errno.ENOENT, path="web_1.json")
    usage = await UsageMeter(store).measure()
    assert (usage.sessions, usage.problems) == (NOTHING, ())


async def test_measure_cancelled_leaves_nothing_open(
    store: FileSessionStore, sessions_dir: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """Who gives up while a thread lists leaves at once; when the thread is done, its descriptors are closed."""
    write_session(sessions_dir, "web_1", clock.now)
    before = descriptors_below(sessions_dir)
    gate = fs.block("stat", path="web_1.json")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(UsageMeter(store).measure)
        await wait_in_thread(gate.reached)
        assert descriptors_below(sessions_dir) > before
        nursery.cancel_scope.cancel()
    gate.opened.set()
    with trio.fail_after(PATIENCE_SECONDS):
        await until(lambda: descriptors_below(sessions_dir) == before)


async def test_measure_waits_for_no_save_and_holds_up_none(
    store: FileSessionStore, manager: SessionManager, sessions_dir: Path, fs: FaultyOs
) -> None:
    """While a listing hangs, sessions are saved and loaded as ever."""
    await manager.get_or_create_session("web", "1")
    gate = fs.block("scandir")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(UsageMeter(store).measure)
        await wait_in_thread(gate.reached)
        assert (await manager.save_all_sessions()).saved == 1
        assert await manager.get_session("web_2") is None
        gate.opened.set()
