"""Time in tests of embedders: days pass in a moment, and no thread is taken for idleness."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import miniclaw
from miniclaw.clock import Clock
from miniclaw.testing import FakeClock, autojump, pass_days, settle
from tests.fakes.patience import PATIENCE_SECONDS

pytest_plugins = ["miniclaw.testing.pytest_plugin"]

WEEK = miniclaw.RetentionPolicy(ttl=timedelta(days=7), trash_for=None)


def test_fake_clock_follows_the_clock_of_each_run_of_trio() -> None:
    """It stands still outside of trio, goes on in the next run, and can be read by any thread."""
    clock = FakeClock(datetime(2026, 3, 1, tzinfo=UTC))
    assert isinstance(clock, Clock)

    async def live() -> datetime:
        assert await trio.to_thread.run_sync(clock.wall) == clock()
        await pass_days(1)
        return await trio.to_thread.run_sync(clock.wall)

    assert trio.run(live, clock=MockClock()) == datetime(2026, 3, 2, tzinfo=UTC)
    assert clock() == datetime(2026, 3, 2, tzinfo=UTC)
    boottime = clock.boottime()
    assert trio.run(live, clock=MockClock()) == datetime(2026, 3, 3, tzinfo=UTC)
    assert clock.boottime() - boottime == 24 * 60 * 60
    assert repr(clock) == "<FakeClock 2026-03-03T00:00:00+00:00>"


def test_fake_clock_start_without_a_zone_is_refused() -> None:
    """A naive start would fail far away, in a comparison."""
    with pytest.raises(ValueError, match="start is an aware datetime"):
        FakeClock(datetime(2026, 3, 1))  # noqa: DTZ001 - the mistake


async def test_pass_days_session_is_announced_and_deleted_by_the_daily_cleanup(
    tmp_path: Path, mock_clock: MockClock, fake_clock: FakeClock
) -> None:
    """The whole life of a session in one test: saved by itself, kept while it is used, deleted after its TTL."""
    async with miniclaw.open_runtime(tmp_path / "sessions", policy=WEEK, clock=fake_clock) as runtime:
        manager = runtime.manager
        for name in ("anna", "bert"):
            await manager.get_or_create_session("web", name)
            await manager.add_message(f"web_{name}", miniclaw.Message("user", "Good morning", runtime.time.now()))
        await pass_days(6)
        assert sorted(path.name for path in (tmp_path / "sessions").glob("*.json")) == [
            "web_anna.json",
            "web_bert.json",
        ]
        assert await manager.get_session("web_anna") is not None
        await pass_days(3)
        assert [path.name for path in (tmp_path / "sessions").glob("*.json")] == ["web_anna.json"]
        result = runtime.cleanup_service.last_result
        assert result is not None


async def test_pass_days_waits_for_the_threads_of_each_step(mock_clock: MockClock) -> None:
    """Work that a step makes due is complete before the next one, however slow its thread is."""
    done: list[float] = []

    async def work() -> None:
        while True:
            await trio.sleep(60 * 60)
            with trio.fail_after(1):  # in trio's time, of which none passes
                await trio.to_thread.run_sync(time.sleep, 0.01, abandon_on_cancel=True)
            done.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        began = trio.current_time()
        await pass_days(0.25, step=timedelta(hours=1))
        nursery.cancel_scope.cancel()
    assert [round(each - began) // 3600 for each in done] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("days", "step", "words"), [(-1, 1, "days is"), (float("nan"), 1, "days is"), (1, 0, "step is")]
)
async def test_pass_days_wrong_arguments_are_refused(mock_clock: MockClock, days: float, step: int, words: str) -> None:
    """The error names the argument."""
    with pytest.raises(ValueError, match=words):
        await pass_days(days, step=timedelta(hours=step))


async def test_clock_that_cannot_be_moved_is_told() -> None:
    """On the real clock a test would wait for days."""
    with pytest.raises(
        RuntimeError, match=r"pass_days moves trio\.testing\.MockClock, and this run of trio has SystemClock"
    ):
        await pass_days(1)
    with pytest.raises(RuntimeError, match="autojump moves"):
        async with autojump():
            raise AssertionError


# Autojump -------------------------------------------------------------------------------------------------------


async def test_autojump_of_trio_jumps_while_a_thread_works(autojump_clock: MockClock) -> None:
    """That is the trap: a deadline of a day passes while a thread is at work, in no time."""
    go_on = threading.Event()

    async def sleep() -> None:
        await trio.sleep(24 * 60 * 60)
        go_on.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleep)
        assert await trio.to_thread.run_sync(go_on.wait, PATIENCE_SECONDS)


async def test_autojump_does_not_jump_while_a_thread_works(autojump_clock: MockClock) -> None:
    """A deadline is not met by a thread that takes some real time; trio's own autojump is off for the block."""
    async with autojump():
        began = trio.current_time()
        with trio.fail_after(5):
            await trio.to_thread.run_sync(time.sleep, 0.1, abandon_on_cancel=True)
        assert trio.current_time() == began
    assert autojump_clock.autojump_threshold == 0


async def test_safe_autojump_fixture_passes_time_without_waiting(
    mock_clock: MockClock, safe_autojump: MockClock
) -> None:
    """Sleeps of days take no time, also several tasks' at once, in their order."""
    woken: list[int] = []

    async def sleep(days: int) -> None:
        await trio.sleep(days * 24 * 60 * 60)
        woken.append(days)

    async with trio.open_nursery() as nursery:
        for days in (3, 1, 2):
            nursery.start_soon(sleep, days)
    assert woken == [1, 2, 3]
    assert mock_clock.autojump_threshold == inf


async def test_autojump_runs_a_runtime_with_its_threads(
    tmp_path: Path, mock_clock: MockClock, safe_autojump: MockClock, fake_clock: FakeClock
) -> None:
    """A program that sleeps beside the runtime is tested at once; no save is late, and no deadline is missed."""
    async with miniclaw.open_runtime(tmp_path / "sessions", clock=fake_clock) as runtime:
        await runtime.manager.get_or_create_session("web", "anna")
        await runtime.manager.add_message("web_anna", miniclaw.Message("user", "hi", runtime.time.now()), durable=True)
        await trio.sleep(60)
        await settle()
        assert (tmp_path / "sessions" / "web_anna.json").exists()
        assert not runtime.manager.dirty_sessions()


async def test_autojump_that_has_no_deadline_waits(mock_clock: MockClock) -> None:
    """Without a task that waits for time, time stands still, and other things can happen."""
    heard = trio.Event()
    token = trio.lowlevel.current_trio_token()
    async with autojump():
        before = trio.current_time()
        timer = threading.Timer(0.05, token.run_sync_soon, [heard.set])
        timer.start()
        await heard.wait()
        timer.join()
        assert trio.current_time() == before
