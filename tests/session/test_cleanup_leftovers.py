"""What a run does beside the sessions: every leftover of ours goes in its time, by kind, and nothing of anybody else's."""

from __future__ import annotations

import errno
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import trio

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.entries import FileTally
from miniclaw.session.manager import SessionManager
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.threads import PATIENCE_SECONDS
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.runs import Runs
from tests.fakes.samples import write_session
from tests.fakes.threads import until, wait_in_thread

WEEK = timedelta(days=7)
POLICY = RetentionPolicy(trash_for=WEEK, quarantine_for=timedelta(days=10))
REMOVED = "Leftover not removed"


def lay(path: Path, mtime: datetime, content: bytes = b"12345") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (mtime.timestamp(), mtime.timestamp()))
    return path


def quarantined(runs: Runs, days: int, name: str = "telegram_1.json") -> Path:
    stamp = f"{runs.clock.ago(days=days):%Y%m%dT%H%M%SZ}-0a1b2c3d"
    return lay(runs.store.directory.path / ".quarantine" / f"{name}.{stamp}", runs.clock.now)


async def test_run_sweeps_each_kind_and_counts_it(runs: Runs, logs: LogRecorder) -> None:
    """Temporary files, what has been in quarantine for too long, and expired trash go, each counted by its kind."""
    place, old = runs.store.directory.path, runs.clock.ago(days=2)
    runs.write(31)
    await runs.by(POLICY).run()
    runs.clock.move(days=7, seconds=1)
    going = [lay(place / ".work" / f"tmp-{number:016x}", old) for number in range(3)] + [quarantined(runs, 11)]
    staying = [quarantined(runs, 10), lay(place / ".work" / "tmp-00000000000000ff", runs.clock.now)]
    entry = runs.store.trash.entries()[0]
    result = await runs.by(POLICY).run()
    assert (result.leftovers_removed, result.leftovers_trashed) == ({"temporary": 3, "quarantined": 1, "trash": 1}, 1)
    (moved,) = runs.store.trash.entries()
    assert (moved.from_quarantine, moved.reason, moved.by) == (True, "quarantine_expired", "program")
    assert result.bytes_freed == 4 * 5 + entry.stored_size - moved.stored_size
    assert not any(path.exists() for path in going)
    assert all(path.exists() for path in staying)
    event = runs.told()[-1]
    assert {kind: (tally.files, tally.bytes) for kind, tally in event.leftovers.items()} == {
        "temporary": (3, 15),
        "quarantined": (1, 5),
        "trash": (1, entry.stored_size),
    }
    assert len(logs.named("Leftover removed")) == 5


@pytest.mark.parametrize("over", [False, True])
async def test_trash_is_kept_until_the_time_that_was_promised(runs: Runs, over: bool) -> None:
    """At exactly its time an entry stays; a moment later it goes; a rule that was changed since breaks no promise."""
    runs.write(31)
    await runs.by(POLICY).run()
    runs.clock.move(days=7, seconds=over)
    await runs.by(RetentionPolicy(trash_for=timedelta(hours=1))).run()
    assert len(runs.store.trash.entries()) == (not over)


async def test_trash_empties_itself_also_when_it_is_switched_off(runs: Runs) -> None:
    """Entries of a trash that the policy no longer keeps go at their time all the same."""
    runs.write(31)
    await runs.by(POLICY).run()
    runs.clock.move(days=8)
    await runs.by(RetentionPolicy(ttl=None)).run()
    assert runs.store.trash.entries() == []


async def test_run_moves_what_an_earlier_implementation_left_to_quarantine(runs: Runs, logs: LogRecorder) -> None:
    """Its temporary and corrupt files are no strangers: they go to quarantine, kept, and age there."""
    place = runs.store.directory.path
    old, young = runs.clock.ago(days=2), runs.clock.ago(hours=23)
    going = [lay(place / f"telegram_{name}", old) for name in ("1.json.tmp", "2.json.corrupted")]
    staying = [
        lay(place / "telegram_3.json.tmp", young),
        lay(place / "notes.txt", old),
        lay(place / ".quarantine" / "notes", old),
        lay(place / ".work" / "notes", old),
    ]
    result = await runs.by(POLICY).run()
    assert (result.leftovers_removed, result.bytes_freed) == ({"legacy": 2}, 0)
    assert result.foreign == 2  # the young one and the notes
    assert not any(path.exists() for path in going)
    assert all(path.exists() for path in staying)
    kept = sorted(path.name for path in (place / ".quarantine").iterdir())
    assert [name.rsplit(".", 1)[0] for name in kept] == ["notes", "telegram_1.json.tmp", "telegram_2.json.corrupted"]
    told = logs.one("Entries left alone, they are no sessions")
    assert (told["files"], told["first"]) == (2, ["notes.txt", "telegram_3.json.tmp"])


async def test_run_sweeps_also_where_no_session_ever_expires(runs: Runs) -> None:
    """Leftovers need no TTL to be nobody's."""
    path = lay(runs.store.directory.path / ".work" / "tmp-0123456789abcdef", runs.clock.ago(days=2))
    runs.write(400)
    result = await runs.by(RetentionPolicy(ttl=None)).run()
    assert (result.sessions_deleted, result.leftovers_removed) == (0, {"temporary": 1})
    assert not path.exists()


async def test_leftover_that_is_refused_is_an_error_and_hinders_nothing(
    runs: Runs, fs: FaultyOs, logs: LogRecorder
) -> None:
    """Each leftover that cannot be removed is an ERROR that names it; sessions go all the same."""
    logs.expect_error(REMOVED)
    path = quarantined(runs, 11)
    runs.write(31)
    fs.fail("unlink", errno.EACCES, path=path.name)
    result = await runs.by(POLICY).run()
    assert (result.sessions_deleted, result.leftovers_removed) == (1, {})
    event = logs.one(REMOVED)
    assert (event["kind"], event["file"]) == ("quarantined", path.name)
    assert "Permission denied" in event["reason"]


async def test_trash_that_cannot_be_listed_is_an_error_and_hinders_no_ttl(
    runs: Runs, fs: FaultyOs, logs: LogRecorder
) -> None:
    """A trash folder that is in somebody's way is said; sessions that would go there stay."""
    logs.expect_error("Leftovers could not be listed")
    logs.expect_error("Session not removed")
    runs.store.trash.path.write_text("in the way")
    runs.write(31)
    result = await runs.by(POLICY).run()
    assert (result.sessions_deleted, result.failed) == (0, 1)
    assert runs.left() == [31]


async def test_run_cancelled_among_leftovers_completes_the_batch(runs: Runs, fs: FaultyOs) -> None:
    """Also of leftovers a batch that has begun is completed and told; no session goes after it."""
    for number in range(2):
        quarantined(runs, 11, name=f"telegram_{number}.json")
    runs.write(31)
    gate = fs.block("unlink", path=".json.")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runs.by(POLICY).run)
        await wait_in_thread(gate.reached)
        nursery.cancel_scope.cancel()
        gate.opened.set()
    (event,) = runs.told()
    assert (event.event, event.leftovers["quarantined"].files) == ("interrupted", 2)
    assert runs.left() == [31]


async def test_run_on_a_hung_disk_ends_after_a_while_and_tells_the_outcome_when_it_comes(
    runs: Runs, fs: FaultyOs, logs: LogRecorder, mock_clock: trio.testing.MockClock
) -> None:
    """A leftover whose removal hangs ends the run as interrupted; when it is removed after all, that is told too."""
    logs.expect_error("Leftover not removed yet")
    quarantined(runs, 11)
    gate = fs.block("unlink", path=".json.")
    results = []
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            results.append(await runs.by(POLICY).run())

        nursery.start_soon(run)
        await wait_in_thread(gate.reached)
        mock_clock.jump(PATIENCE_SECONDS)
        while not results:
            await trio.testing.wait_all_tasks_blocked()
        gate.opened.set()
    assert (results[0].leftovers_removed, results[0].interrupted) == ({}, True)
    assert "has not answered yet" in logs.one("Leftover not removed yet")["reason"]
    await until(lambda: len(runs.told()) == 2)
    assert logs.one("Session cleanup has removed more after its end")["leftovers_removed"] == {"quarantined": 1}
    assert runs.manager.stats.cleanups.leftovers["quarantined"] == 1
    assert [event.event for event in runs.told()] == ["interrupted", "late"]
    assert runs.told()[1].leftovers == {"quarantined": FileTally(1, 5)}


async def test_run_alone_sweeps_a_hidden_trash(sessions_dir: Path, clock: WallClock) -> None:
    """A cleanup without a runtime keeps its trash beside the sessions, and finds it there the next time."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    cleanup = Cleanup(sessions_dir, policy=POLICY, clock=clock)
    assert (await cleanup.run()).trashed == 1
    assert len(list((sessions_dir / ".trash").iterdir())) == 1
    clock.move(days=8)
    assert (await cleanup.run()).leftovers_removed == {"trash": 1}


async def test_run_leaves_what_a_save_or_a_restore_is_writing(
    runs: Runs, manager: SessionManager, fs: FaultyOs, clock: WallClock
) -> None:
    """A clock that jumps ahead while something is being written makes no leftover of it, and costs no save."""
    runs.write(31)
    await runs.by(POLICY).run()
    await manager.get_or_create_session("telegram", "1")
    for call, work in [("rename", manager.save_all_sessions), ("link", lambda: manager.restore_session("telegram_31"))]:
        gate = fs.block(call, path="tmp-")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            await wait_in_thread(gate.reached)
            (temporary,) = (runs.store.directory.path / ".work").glob("tmp-*")
            os.utime(temporary, (clock.ago(hours=2).timestamp(),) * 2)
            assert (await runs.by(POLICY).run()).leftovers_removed == {}
            gate.opened.set()
    assert manager.dirty_sessions() == []
    assert runs.left() == [1, 31]
