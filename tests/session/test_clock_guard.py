"""Wrong clocks over restarts: what was suspicious stays so until it is announced, whatever ends the program."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.runtime import SessionRuntime, open_runtime
from miniclaw.session.state import CleanupState
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.folders import state_in
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session
from tests.fakes.threads import settle

ANNOUNCED = "Session cleanup announced; nothing is removed yet"

Open = Callable[..., AbstractAsyncContextManager[SessionRuntime]]


@pytest.fixture
def open_swept(sessions_dir: Path, clock: WallClock) -> Open:
    """Open the runtime over a workspace that was swept a day ago."""
    state_in(sessions_dir).write_cleanup(CleanupState(last_run_at=clock.ago(days=1)))
    return partial(open_runtime, sessions_dir, clock=clock)


def left(sessions_dir: Path) -> int:
    return len(list(sessions_dir.glob("*.json")))


async def test_clock_that_jumps_and_a_restart_loses_nothing_in_silence(
    open_swept: Open, sessions_dir: Path, clock: WallClock, logs: LogRecorder, days_pass: DaysPass
) -> None:
    """A jump of the clock, an autosave and a restart before the next run: the run still announces."""
    write_session(sessions_dir, "telegram_1", clock.now)
    async with open_swept() as runtime:
        await settle()
        clock.move(days=60)
        await runtime.persistence.tick()
    async with open_swept():
        await settle()
        assert left(sessions_dir) == 1
        assert logs.named(ANNOUNCED)
        await days_pass(1)
    assert left(sessions_dir) == 0


async def test_long_absence_noticed_before_a_run_is_due_survives_restarts(
    open_swept: Open, sessions_dir: Path, clock: WallClock, logs: LogRecorder, days_pass: DaysPass
) -> None:
    """What was suspicious at a start is still so at the next ones, until a run has announced it."""
    start: Any = partial(
        open_swept,
        policy=RetentionPolicy(ttl=timedelta(days=2)),
        cleanup_interval_seconds=timedelta(days=7).total_seconds(),
    )
    async with start():
        await settle()
    write_session(sessions_dir, "telegram_1", clock.now)
    clock.move(days=5)
    for _ in range(3):
        async with start():
            await days_pass(0.4)
            assert left(sessions_dir) == 1
    assert logs.named(ANNOUNCED)


async def test_short_lives_are_seen_too(
    open_swept: Open, sessions_dir: Path, clock: WallClock, logs: LogRecorder, days_pass: DaysPass
) -> None:
    """A program that ends before its first autosave has been seen, so that a long absence after it is noticed."""
    async with open_swept():
        pass
    write_session(sessions_dir, "telegram_1", clock.now)
    clock.move(days=40)
    async with open_swept():
        await settle()
        assert left(sessions_dir) == 1
    assert "half of the shortest TTL" in logs.one(ANNOUNCED)["because"]


async def test_announcement_that_cannot_be_recorded_is_made_again_after_a_restart(
    open_swept: Open, sessions_dir: Path, clock: WallClock, logs: LogRecorder, days_pass: DaysPass
) -> None:
    """Where the announcement cannot be written down, the next start does not take its day for over."""
    logs.expect_error("Cleanup state could not be written")
    async with open_swept():
        await settle()
    write_session(sessions_dir, "telegram_1", clock.now)
    clock.move(days=40)
    state = sessions_dir / ".state"
    (state / "cleanup.json").unlink()
    (state / "cleanup.json").mkdir()
    logs.expect_error("Cleanup state could not be read")
    for _ in range(2):
        async with open_swept_again(sessions_dir, clock):
            await settle()
            assert left(sessions_dir) == 1
    assert len(logs.named(ANNOUNCED)) == 2


def open_swept_again(sessions_dir: Path, clock: WallClock) -> AbstractAsyncContextManager[SessionRuntime]:
    return open_runtime(sessions_dir, clock=clock)


async def test_policy_without_ttl_does_not_count_as_a_sweep(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, days_pass: DaysPass
) -> None:
    """A gateway that never removes has not swept: when a TTL is set later, the first run announces."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=400))
    async with open_runtime(sessions_dir, clock=clock, policy=RetentionPolicy(ttl=None)):
        await settle()
    async with open_runtime(sessions_dir, clock=clock):
        await settle()
    assert left(sessions_dir) == 1
    assert logs.named(ANNOUNCED)


async def test_temporary_files_of_the_state_are_swept_at_the_start(
    open_swept: Open, sessions_dir: Path, days_pass: DaysPass
) -> None:
    """What a program that died while it wrote its state has left is gone after the next start."""
    (sessions_dir / ".state" / "tmp-0123").write_text("half")
    async with open_swept():
        await settle()
        assert not (sessions_dir / ".state" / "tmp-0123").exists()


async def test_plan_on_its_own_changes_nothing(sessions_dir: Path, clock: WallClock) -> None:
    """A plan takes no lock, makes no folder, changes no mode, and resolves nothing that a crash has left."""
    write_session(sessions_dir, "telegram_1", clock.ago(days=31))
    sessions_dir.chmod(0o2775)
    (sessions_dir / ".work").mkdir()
    (sessions_dir / ".work" / "tmp-mine").touch()
    before = sorted(path.name for path in sessions_dir.rglob("*"))
    assert len((await Cleanup(sessions_dir, clock=clock).plan()).removals) == 1
    assert sorted(path.name for path in sessions_dir.rglob("*")) == before
    assert sessions_dir.stat().st_mode & 0o7777 == 0o2775


async def test_absence_beyond_what_the_trash_keeps_empties_it_only_after_an_announcement(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, days_pass: DaysPass
) -> None:
    """A clock that is ahead at boot makes the trash look expired, too: it goes a day after it was announced."""
    policy = RetentionPolicy(ttl=None, trash_for=timedelta(days=7))
    async with open_runtime(sessions_dir, clock=clock, policy=policy) as runtime:
        await runtime.manager.get_or_create_session("telegram", "1")
        await runtime.manager.delete_session("telegram_1")
    trash = sessions_dir / ".trash"
    clock.move(days=10)
    async with open_runtime(sessions_dir, clock=clock, policy=policy):
        await settle()
        assert len(list(trash.iterdir())) == 1
        assert logs.one(ANNOUNCED)["leftovers"] == 1
        await days_pass(1)
        assert list(trash.iterdir()) == []
