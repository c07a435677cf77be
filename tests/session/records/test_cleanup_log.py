"""What runs log about single files: no file is an ERROR for ever, and none is passed over in silence."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.entries import Leftover, LeftoverRemoval
from miniclaw.session.records.cleanup_log import MOST_IN_LINE, MOST_NAMED
from miniclaw.session.removal.transaction import Removal
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.policy import RetentionPolicy
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.moments import ages_at
from tests.fakes.os_calls import FaultyOs
from tests.fakes.runs import Runs
from tests.fakes.samples import write_session
from tests.session.test_conflict_names import ADDITIONS, AMBIGUOUS, BEGINNINGS, ENDINGS, TEMPORARY

KEPT = "Session file kept, it cannot be judged"
MORE = "More session files cannot be judged"
COPIES = "Copies of sessions left alone that other programs have made"
FOREIGN = "Entries left alone, they are no sessions"
NOT_REMOVED = "Session not removed"
POLICY = RetentionPolicy()


def lay_copies(runs: Runs) -> tuple[set[str], bytes]:
    """Write a session and all that sync programs, file managers and editors make of it; return that, and the content."""
    content = write_session(runs.store.directory.path, "telegram_1", runs.clock.ago(days=40)).read_bytes()
    copies = {f"telegram_1{addition}.json" for addition in [*ADDITIONS, *AMBIGUOUS]}
    copies |= {f"telegram_1.json{ending}" for ending in ENDINGS}
    copies |= {f"{beginning}telegram_1.json" for beginning in BEGINNINGS}
    for name in copies:
        (runs.store.directory.path / name).write_bytes(content)
    return copies, content


def left(runs: Runs) -> set[str]:
    return {path.name for path in runs.store.directory.path.iterdir()}


async def test_conflict_copies_are_one_warning_a_run_and_stay(runs: Runs, logs: LogRecorder) -> None:
    """Run after run there is one line with the count and the first names; none is deleted or an ERROR."""
    copies, content = lay_copies(runs)
    cleanup = runs.by(POLICY)
    for deleted in (1, 0):
        logs.events.clear()
        result = await cleanup.run()
        assert (result.conflicts, result.sessions_scanned, result.sessions_deleted) == (len(copies), deleted, deleted)
        assert (result.mismatched, result.corrupt, result.foreign) == (0, 0, 0)
        told = logs.one(COPIES)
        assert (told["level"], told["files"]) == ("warning", len(copies))
        assert told["first"] == sorted(copies)[:MOST_IN_LINE]
        assert runs.manager.stats.cleanups.problems["conflict"] == len(copies)
    assert copies <= left(runs)
    assert all((runs.store.directory.path / name).read_bytes() == content for name in copies)


async def test_torn_conflict_copy_is_one_as_well(runs: Runs, logs: LogRecorder) -> None:
    """A copy is known by its name also where its content is damaged, unless a session could have that name."""
    logs.expect_error(KEPT)
    copies, _ = lay_copies(runs)
    ambiguous = {f"telegram_1{addition}.json" for addition in AMBIGUOUS}
    for name in copies:
        (runs.store.directory.path / name).write_bytes(b'{"session_id": "tele')
    result = await runs.by(POLICY).run()
    assert (result.conflicts, result.corrupt) == (len(copies - ambiguous), len(ambiguous))
    assert {Path(event["path"]).name for event in logs.named(KEPT)} == ambiguous


async def test_session_with_the_name_of_a_copy_is_a_session(runs: Runs) -> None:
    """A chat may be called as a conflict copy is: its session expires as any other, whatever wrote its file."""
    place = runs.store.directory.path
    chats = [f"telegram_1{addition}" for addition in [*ADDITIONS, *AMBIGUOUS]]
    for session_id in chats:
        path = write_session(place, session_id, runs.clock.ago(days=40))
        if len(session_id) % 2:  # as an earlier implementation named it
            path.rename(place / f"{session_id}.json")
    result = await runs.by(POLICY).run()
    assert (result.conflicts, result.sessions_deleted) == (0, len(chats))


async def test_temporary_files_of_others_are_one_quiet_line(runs: Runs, logs: LogRecorder) -> None:
    """What sync programs, editors and the system leave is neither an ERROR nor a WARNING, and stays."""
    for name in TEMPORARY:
        (runs.store.directory.path / name).write_bytes(b"x")
    result = await runs.by(POLICY).run()
    assert (result.sessions_scanned, result.conflicts) == (0, 0)
    told = logs.one(FOREIGN)
    assert (told["level"], told["files"]) == ("info", result.foreign)
    assert {event["level"] for event in logs.events} <= {"info", "debug"}
    assert set(TEMPORARY) <= left(runs)


async def test_damaged_file_is_named_by_the_first_run_and_counted_by_the_next(runs: Runs, logs: LogRecorder) -> None:
    """Each run has its ERROR, but only what is new has a line of its own: also a file whose damage is another one."""
    logs.expect_error(KEPT)
    logs.expect_error(MORE)
    place, cleanup = runs.store.directory.path, runs.by(POLICY)
    (place / "telegram_1.json").write_bytes(b"{")
    await cleanup.run()
    assert (len(logs.named(KEPT)), len(logs.named(MORE))) == (1, 0)
    logs.events.clear()
    (place / "telegram_2.json").write_bytes(b"{")
    await cleanup.run()
    assert Path(logs.one(KEPT)["path"]).name == "telegram_2.json"
    more = logs.one(MORE)
    assert (more["level"], more["more"], more["first"]) == ("error", 1, ["telegram_1.json"])
    logs.events.clear()
    (place / "telegram_1.json").write_bytes(b"[]")
    await cleanup.run()
    assert Path(logs.one(KEPT)["path"]).name == "telegram_1.json"
    assert logs.one(MORE)["first"] == ["telegram_2.json"]


async def test_many_damaged_files_are_named_once_up_to_a_bound(runs: Runs, logs: LogRecorder) -> None:
    """Those over the bound are not named one day after another."""
    logs.expect_error(KEPT)
    logs.expect_error(MORE)
    for number in range(MOST_NAMED + 5):
        (runs.store.directory.path / f"telegram_{number}.json").write_bytes(b"")
    cleanup = runs.by(POLICY)
    for more in (5, MOST_NAMED + 5):
        assert (await cleanup.run()).corrupt == MOST_NAMED + 5
        assert len(logs.named(KEPT)) == MOST_NAMED
        assert logs.named(MORE)[-1]["more"] == more
    assert len(logs.named(MORE)) == 2


async def test_damaged_file_that_was_mended_and_breaks_again_is_named_again(runs: Runs, logs: LogRecorder) -> None:
    """What a run did not meet is forgotten."""
    logs.expect_error(KEPT)
    path = write_session(runs.store.directory.path, "telegram_1", runs.clock.now)
    cleanup, whole = runs.by(POLICY), path.read_bytes()
    for content in (b"{", whole, b"{"):
        path.write_bytes(content)
        await cleanup.run()
    assert len(logs.named(KEPT)) == 2


async def test_sessions_that_cannot_be_removed_are_named_once(runs: Runs, fs: FaultyOs, logs: LogRecorder) -> None:
    """A removal that fails day after day, for damage or for the system, is an ERROR each day and a line once."""
    logs.expect_error(NOT_REMOVED)
    logs.expect_error("More sessions not removed")
    runs.write(*range(31, 31 + MOST_NAMED + 3))
    fs.fail("rename", errno.EACCES, path="telegram_")
    cleanup = runs.by(POLICY)
    for more in (3, MOST_NAMED + 3):
        assert (await cleanup.run()).failed == MOST_NAMED + 3
        assert len(logs.named(NOT_REMOVED)) == MOST_NAMED
        assert logs.named("More sessions not removed")[-1]["more"] == more


async def test_leftovers_that_cannot_be_removed_are_named_once(runs: Runs, fs: FaultyOs, logs: LogRecorder) -> None:
    """So it is with what lies beside the sessions."""
    logs.expect_error("Leftover not removed")
    logs.expect_error("More leftovers not removed")
    path = runs.store.directory.path / ".work" / "tmp-0123456789abcdef"
    path.write_bytes(b"x")
    os.utime(path, (runs.clock.ago(days=2).timestamp(),) * 2)
    fs.fail("unlink", errno.EACCES, path=path.name)
    cleanup = runs.by(POLICY)
    await cleanup.run()
    await cleanup.run()
    assert logs.one("Leftover not removed")["file"] == path.name
    assert logs.one("More leftovers not removed")["first"] == [path.name]


async def test_sessions_ahead_of_the_clock_are_named_once(runs: Runs, logs: LogRecorder) -> None:
    """So it is with a WARNING."""
    runs.write(-400)
    cleanup = runs.by(POLICY)
    await cleanup.run()
    await cleanup.run()
    assert logs.one("Session kept, it is ahead of the clock")["level"] == "warning"
    more = logs.one("More sessions are ahead of the clock")
    assert (more["level"], more["first"]) == ("warning", ["telegram_-400.json"])


@pytest.mark.parametrize("fields", [{"confirmed": True}, {}])
async def test_another_cleanup_names_all_anew(runs: Runs, logs: LogRecorder, fields: dict[str, Any]) -> None:
    """Who starts the program, or a command, is told by name what is wrong."""
    logs.expect_error(KEPT)
    (runs.store.directory.path / "telegram_1.json").write_bytes(b"{")
    await runs.by(POLICY).run(**fields)
    await runs.by(POLICY).run(**fields)
    assert len(logs.named(KEPT)) == 2
    assert not logs.named(MORE)


def test_batch_that_outlasts_its_run_is_told_by_name(sessions_dir: Path, logs: LogRecorder, clock: WallClock) -> None:
    """What fails when its run has ended is an ERROR for each file: no later line of that run would count it."""
    logs.expect_error(NOT_REMOVED)
    logs.expect_error("Leftover not removed")
    plan = CleanupPlan(ages_at(clock.now))
    removal = Removal("telegram_1.json", "failed", reason="no")
    swept = LeftoverRemoval(Leftover("temporary", "tmp-1", 1, None), "failed", reason="no")
    cleanup = Cleanup(sessions_dir, clock=clock)
    cleanup._add_late(plan, "service", lambda progress: progress.add_removals([], [removal]))
    cleanup._add_late(plan, "service", lambda progress: progress.add_leftovers([swept]))
    assert logs.one(NOT_REMOVED)["path"] == str(sessions_dir / "telegram_1.json")
    assert logs.one("Leftover not removed")["file"] == "tmp-1"
