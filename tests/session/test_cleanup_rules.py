"""A run by all rules: budgets and memory, the guard against mass removal, and what the history tells of each run."""

from __future__ import annotations

import errno
import os
from datetime import timedelta
from pathlib import Path

import pytest
import trio
import trio.testing

from miniclaw.session.cleanup import CleanupResult
from miniclaw.session.executor import TRASH_BATCH, TRASHED_BYTES
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.retention.policy import RetentionPolicy
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.runs import Runs
from tests.fakes.samples import write_session
from tests.fakes.threads import wait_in_thread

HELD = "Session cleanup held"
WEEK = timedelta(days=7)
NEVER = RetentionPolicy(ttl=None)


# Budgets --------------------------------------------------------------------------------------------------------


async def test_run_by_max_sessions_takes_the_least_recently_used(runs: Runs) -> None:
    """What is more than may stay goes, oldest first, and the result says by which rule."""
    runs.write(2, 5, 9, 7, 40)
    result = await runs.by(RetentionPolicy(max_sessions=2)).run()
    assert runs.left() == [2, 5]
    assert (result.sessions_deleted, result.removed_by_reason) == (3, {"ttl": 1, "max_sessions": 2})
    assert result.unmet == ()


async def test_run_by_a_budget_goes_by_what_memory_knows(runs: Runs) -> None:
    """Who is used in memory is not the least recently used, however old the file; the next one goes instead."""
    runs.write(3, 5, 9)
    await runs.manager.get_session("telegram_9")
    result = await runs.by(RetentionPolicy(ttl=None, max_sessions=2)).run()
    assert runs.left() == [3, 9]
    assert result.removed_by_reason == {"max_sessions": 1}


async def test_run_by_a_budget_that_only_busy_ones_could_meet_is_unmet(runs: Runs) -> None:
    """What is in use stays, whatever the budget, and the result says that it is not met."""
    runs.write(5, 9)
    async with runs.manager.using("telegram_9"), runs.manager.using("telegram_5"):
        await runs.manager.save_all_sessions()
        result = await runs.by(RetentionPolicy(ttl=None, max_sessions=1)).run()
    assert runs.left() == [5, 9]
    assert (result.sessions_deleted, result.unmet) == (0, ("max_sessions",))


async def test_run_by_a_budget_used_since_the_plan_stays(runs: Runs, fs: FaultyOs) -> None:
    """A session that was used between the plan and its removal is no longer what the budget was to take."""
    runs.write(5, 9)

    def use(name: str, args: tuple[object, ...]) -> None:
        if name == "rename" and args[0] == "telegram_9.json":
            fs.clear()
            write_session(runs.store.directory.path, "telegram_9", runs.clock.ago(days=1))

    fs.on(use)
    result = await runs.by(RetentionPolicy(ttl=None, max_sessions=1)).run()
    assert runs.left() == [5, 9]
    assert (result.sessions_deleted, result.kept_active) == (0, 1)


async def test_run_by_a_disk_budget_empties_the_trash_first(runs: Runs) -> None:
    """Where the room is needed, what is removed already goes before any session does, and what goes is gone."""
    runs.write(5, 9, 40, note="".join(f"{number:x}" for number in range(3000)))
    await runs.by(RetentionPolicy(trash_for=WEEK)).run()
    trashed = sum(entry.stored_size for entry in runs.store.trash.entries())
    size = (runs.store.directory.path / "telegram_5.json").stat().st_size
    enough = RetentionPolicy(ttl=None, trash_for=WEEK, max_disk_bytes=2 * size + trashed - 1, low_water=2 * size)
    result = await runs.by(enough).run()
    assert (runs.left(), runs.store.trash.entries()) == ([5, 9], [])
    assert (result.leftovers_removed, result.bytes_freed) == ({"trash": 1}, trashed)
    tight = RetentionPolicy(ttl=None, trash_for=WEEK, max_disk_bytes=2 * size - 1)
    result = await runs.by(tight).run()
    assert (runs.left(), runs.store.trash.entries()) == ([5], [])
    assert (result.trashed, result.bytes_freed, result.removed_by_reason) == (0, size, {"max_disk_bytes": 1})


async def test_run_by_min_free_disk_asks_the_disk(
    runs: Runs, store: FileSessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is too full is made emptier; one that does not say how full it is costs nobody a session."""
    runs.write(5, 9)
    policy = RetentionPolicy(ttl=None, min_free_disk=2**40)
    for free, left in [(None, [5, 9]), (2**40, [5, 9]), (2**40 - 4096, [5])]:
        monkeypatch.setattr(store.directory, "free_disk", lambda free=free: free)
        await runs.by(policy).run()
        assert runs.left() == left


async def test_run_into_the_trash_is_counted(runs: Runs) -> None:
    """What is in the trash counts as removed, and as freed only with what its entry does not take."""
    runs.write(31, 40, note="x" * 9000)
    sizes = sum(path.stat().st_size for path in runs.store.directory.path.glob("*.json"))
    result = await runs.by(RetentionPolicy(trash_for=WEEK)).run()
    entries = runs.store.trash.entries()
    assert (result.sessions_deleted, result.trashed) == (2, 2)
    assert result.bytes_freed == sizes - sum(entry.stored_size for entry in entries)
    assert {(entry.reason, entry.by, entry.removed_at) for entry in entries} == {("ttl", "program", runs.clock.now)}


async def test_run_packs_large_sessions_a_few_at_a_time(runs: Runs, fs: FaultyOs) -> None:
    """Packing takes a board seconds: so a batch ends where it has so many bytes, and messages come in between."""
    runs.write(31, 32, 33, note="x" * (TRASHED_BYTES // 2 + 1))
    await runs.by(RetentionPolicy(trash_for=WEEK)).run()
    commits = [args[1] for name, args in fs.calls if name == "rename" and str(args[1]).endswith(".gz")]
    captures = [args[0] for name, args in fs.calls if name == "rename" and str(args[0]).endswith(".json")]
    order = [args for name, args in fs.calls if name == "rename"]
    first_commit = next(place for place, args in enumerate(order) if args[1] == commits[0])
    assert len(captures) == 3
    assert first_commit == 1


async def test_delete_session_goes_to_the_trash_too(runs: Runs) -> None:
    """A single expired session is removed as a run would."""
    runs.write(31)
    cleanup = runs.by(RetentionPolicy(trash_for=WEEK))
    (expired,) = await cleanup.scan_expired_sessions()
    await cleanup.delete_session(expired)
    assert [entry.reason for entry in runs.store.trash.entries()] == ["ttl"]


# The guard ------------------------------------------------------------------------------------------------------


async def test_run_of_too_many_is_held_until_it_is_confirmed(runs: Runs, logs: LogRecorder) -> None:
    """A run that would remove more than the fraction removes nothing, not even a leftover, and says why and what next."""
    runs.write(*range(20, 40))
    temporary = runs.store.directory.path / ".work" / "tmp-0123456789abcdef"
    temporary.touch()
    os.utime(temporary, (0, 0))
    cleanup = runs.by(RetentionPolicy(max_removed_fraction=0.4))
    result = await cleanup.run()
    assert len(runs.left()) == 20
    assert temporary.exists()
    assert (result.sessions_deleted, result.sessions_scanned, result.interrupted) == (0, 20, False)
    assert "9 of 20 sessions" in result.held
    event = logs.one(HELD)
    assert (event["level"], event["because"]) == ("warning", result.held)
    (told,) = runs.told()
    assert (told.event, told.because, told.bytes_freed, len(told.sessions)) == ("held", result.held, 0, 9)
    result = await cleanup.run(confirmed=True)
    assert (result.sessions_deleted, result.held, len(runs.left())) == (9, "", 11)
    assert not temporary.exists()
    assert [told.event for told in runs.told()] == ["held", "cleanup"]


@pytest.mark.parametrize(("ages", "deleted"), [(range(19, 39), 8), (range(21, 40), 9), (range(19, 40), 0)])
async def test_run_at_the_fraction_or_of_few_is_not_held(runs: Runs, ages: range, deleted: int) -> None:
    """At exactly the fraction, and of less than twenty, a run removes; above it nothing goes."""
    runs.write(*ages)
    result = await runs.by(RetentionPolicy(max_removed_fraction=0.4)).run()
    assert (result.sessions_deleted, bool(result.held)) == (deleted, not deleted)


async def test_run_holds_for_what_really_would_go(runs: Runs, logs: LogRecorder) -> None:
    """Files that are damaged behind their beginning are not removed, and so they hold nothing up: as in the dry run."""
    logs.expect_error("Session file kept, it cannot be judged")
    runs.write(*range(20, 39))
    for number in range(10):
        path = write_session(runs.store.directory.path, f"web_{number}", runs.clock.ago(days=40), note="x" * 9000)
        path.write_bytes(path.read_bytes()[:-2])
    runs.write(1)
    cleanup = runs.by(RetentionPolicy(max_removed_fraction=0.4))
    plan = await cleanup.plan()
    result = await cleanup.run()
    assert (plan.held, result.held) == (None, "")
    assert (len(plan.removals), result.sessions_deleted, result.corrupt) == (8, 8, 10)


# The history ----------------------------------------------------------------------------------------------------


async def test_run_is_told_with_all_that_went(runs: Runs) -> None:
    """The history keeps who went, when last used, how large, by which rule, and what the disk got back."""
    runs.write(2, 5, 40)
    sizes = {days: (runs.store.directory.path / f"telegram_{days}.json").stat().st_size for days in (5, 40)}
    result = await runs.by(RetentionPolicy(max_sessions=1)).run()
    (event,) = runs.told()
    assert (event.event, event.by, event.at) == ("cleanup", "program", runs.clock.now)
    assert [(row.session_id, row.last_accessed, row.size, row.reason) for row in event.sessions] == [
        ("telegram_40", runs.clock.ago(days=40), sizes[40], "ttl"),
        ("telegram_5", runs.clock.ago(days=5), sizes[5], "max_sessions"),
    ]
    assert (event.bytes_freed, event.sessions_scanned) == (result.bytes_freed, 3)
    assert {reason: (tally.sessions, tally.bytes) for reason, tally in event.reasons.items()} == {
        "ttl": (1, sizes[40]),
        "max_sessions": (1, sizes[5]),
    }


async def test_run_whose_history_cannot_be_written_goes_on(runs: Runs, logs: LogRecorder) -> None:
    """A record is no reason to stop a cleanup; that it is missing is an ERROR."""
    logs.expect_error("Cleanup could not be written into the history")
    runs.state.path.mkdir(parents=True)
    (runs.state.path / "history.jsonl").mkdir()
    runs.write(40)
    assert (await runs.by(NEVER).run()).sessions_deleted == 0
    assert (await runs.by(RetentionPolicy()).run()).sessions_deleted == 1


async def test_run_while_another_one_is_going_follows_it(runs: Runs, fs: FaultyOs, sessions_dir: Path) -> None:
    """Two runs never go at once; the second one waits, and takes what has come since the first one's listing."""
    runs.write(40)
    cleanup = runs.by(RetentionPolicy())
    gate = fs.block("unlink", path="telegram_40")
    results: list[CleanupResult] = []

    async def run() -> None:
        results.append(await cleanup.run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await wait_in_thread(gate.reached)
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked()
        runs.write(41)
        gate.opened.set()
    assert [result.sessions_deleted for result in results] == [1, 1]
    assert [event.event for event in runs.told()] == ["cleanup", "cleanup"]


async def test_stop_ends_also_the_run_that_waits(runs: Runs, fs: FaultyOs) -> None:
    """A run that waits for its turn when the cleanup is stopped removes nothing; a later one does."""
    runs.write(40)
    cleanup = runs.by(RetentionPolicy())
    gate = fs.block("unlink", path="telegram_40")
    waiting: list[CleanupResult] = []

    async def wait() -> None:
        waiting.append(await cleanup.run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cleanup.run)
        await wait_in_thread(gate.reached)
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        runs.write(41)
        cleanup.stop()
        gate.opened.set()
    assert (waiting[0].interrupted, waiting[0].sessions_deleted) == (True, 0)
    assert (await cleanup.run()).sessions_deleted == 1


async def test_run_stopped_while_it_scans_removes_nothing(runs: Runs, logs: LogRecorder) -> None:
    """A plan over half of a directory is none: nobody knows what a budget or the guard would say of the rest."""
    runs.write(*range(20, 60))
    cleanup = runs.by(RetentionPolicy(max_removed_fraction=0.1))
    result = await cleanup.run(on_progress=lambda _: cleanup.stop())
    assert (result.interrupted, result.sessions_deleted, result.held) == (True, 0, "")
    assert len(runs.left()) == 40
    assert [event.event for event in runs.told()] == ["interrupted"]
    assert logs.named("Session cleanup interrupted")


async def test_run_cancelled_completes_its_batch_and_tells(runs: Runs, fs: FaultyOs) -> None:
    """A batch that has begun is completed, none is begun after, and what went is told as interrupted."""
    runs.write(*range(31, 31 + TRASH_BATCH + 5))
    gate = fs.block("unlink", path="telegram_")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runs.by(RetentionPolicy(trash_for=WEEK)).run)
        await wait_in_thread(gate.reached)
        nursery.cancel_scope.cancel()
        gate.opened.set()
    assert len(runs.left()) == 5
    (event,) = runs.told()
    assert (event.event, len(event.sessions)) == ("interrupted", TRASH_BATCH)
    assert len(runs.store.trash.entries()) == TRASH_BATCH


async def test_run_whose_trash_is_full_keeps_all_and_says_so(runs: Runs, fs: FaultyOs, logs: LogRecorder) -> None:
    """Without room for the trash nothing is removed: each session is an ERROR of its own, and stays."""
    logs.expect_error("Session not removed")
    runs.write(31, 40)
    fs.fail("open", errno.ENOSPC, path="tmp-")
    result = await runs.by(RetentionPolicy(trash_for=WEEK)).run()
    fs.clear()
    assert (result.sessions_deleted, result.failed, result.bytes_freed) == (0, 2, 0)
    assert runs.left() == [31, 40]
    assert "No space left" in logs.named("Session not removed")[0]["reason"]
