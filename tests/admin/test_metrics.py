"""The metrics: what they say is what happened, their names keep the conventions, and nothing makes them grow."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from datetime import time, timedelta
from pathlib import Path

import pytest
import trio

from miniclaw.admin.monitoring.metrics import OPEN_METRICS, PLAIN
from miniclaw.agent.stats import MODEL_ERROR_KINDS
from miniclaw.channels.base import InboundMessage
from miniclaw.channels.port import Port
from miniclaw.errors import ModelError
from miniclaw.session.cleanup import Cleanup
from miniclaw.session.maintenance.announcements import Announcement
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.types import Message
from tests.fakes.agent import ScriptedModel, StreamingModel
from tests.fakes.clock import WallClock
from tests.fakes.foreign import SHAPES, ForeignChannel, ForeignModel
from tests.fakes.logs import LogRecorder
from tests.fakes.metrics_rules import broken_rules
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.fakes.watched import Families, Watched, open_watched, value_of

NOT_SAVED = "Session could not be saved; it stays in memory for the next try"
NO_ANSWER = "Model did not answer"


def labelled(families: Families, name: str, label: str) -> dict[str, float]:
    """Return the values of a metric that are not 0, by one of its labels."""
    samples = [sample for family in families.values() for sample in family.samples if sample.name == name]
    return {sample.labels[label]: sample.value for sample in samples if sample.value}


def series(families: Families) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """Return what time series there are."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))) for family in families.values() for sample in family.samples
    }


async def say(watched: Watched, channel: str, text: str = "hello") -> None:
    await watched.loop.handle(InboundMessage(channel, "1", text))


# What they say --------------------------------------------------------------------------------------------------


async def test_metrics_sessions_and_saves_are_those_that_happened(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, logs: LogRecorder
) -> None:
    """Live, unsaved, saved, failed: each number is what the manager has done."""
    logs.expect_error(NOT_SAVED)
    async with open_watched(sessions_dir, clock, fs=fs) as watched:
        families = await watched.scrape()
        assert value_of(families, "miniclaw_sessions_live") == 0
        assert "miniclaw_last_save_age_seconds" not in families, "nothing was ever saved; 0 would be a lie"
        for chat in ("good", "bad"):
            await watched.manager.get_or_create_session("web", chat)
        families = await watched.scrape()
        assert value_of(families, "miniclaw_sessions_live") == value_of(families, "miniclaw_sessions_dirty") == 2
        fs.fail("rename", errno.EIO, path="web_bad.json")
        await watched.runtime.persistence.tick()
        families = await watched.scrape()
        assert value_of(families, "miniclaw_sessions_dirty") == 1
        assert value_of(families, "miniclaw_session_saves_total") == 1
        assert value_of(families, "miniclaw_session_save_failures_total") == 1
        assert value_of(families, "miniclaw_autosave_failing_ticks") == 1
        saved_at = value_of(families, "miniclaw_last_save_timestamp_seconds")
        assert saved_at is not None
        assert clock.ago(hours=1).timestamp() < saved_at <= clock.now.timestamp()
        age = value_of(families, "miniclaw_last_save_age_seconds")
        assert age is not None
        assert 0 <= age < 60
        fs.clear()
        await watched.runtime.persistence.tick()
        assert await watched.value("miniclaw_autosave_failing_ticks") == 0
        assert await watched.value("miniclaw_sessions_dirty") == 0


async def test_metrics_disk_is_what_lies_there(sessions_dir: Path, clock: WallClock, logs: LogRecorder) -> None:
    """Files and bytes of sessions, trash and quarantine are those of a listing; what is foreign is not counted."""
    logs.expect_error("Session could not be read; begun anew")
    sizes = [write_session(sessions_dir, f"web_{n}", clock.ago(days=1)).stat().st_size for n in range(3)]
    (sessions_dir / "README.txt").write_text("not ours")
    (sessions_dir / "folder.json").mkdir()
    policy = RetentionPolicy(trash_for=timedelta(days=7))
    async with open_watched(sessions_dir, clock, policy=policy) as watched:
        (sessions_dir / "web_broken.json").write_text("{")
        await watched.manager.delete_session("web_0")
        await watched.manager.get_or_create_session("web", "broken")
        families = await watched.scrape()
        assert value_of(families, "miniclaw_session_files") == 2
        assert value_of(families, "miniclaw_session_bytes") == sum(sizes[1:])
        (entry,) = (sessions_dir / ".trash").glob("*.gz")
        assert value_of(families, "miniclaw_trash_files") == 1
        assert value_of(families, "miniclaw_trash_bytes") == entry.stat().st_size
        assert value_of(families, "miniclaw_quarantine_files") == value_of(families, "miniclaw_quarantine_bytes") == 1
        assert value_of(families, "miniclaw_disk_scan_ok") == 1
        assert (value_of(families, "miniclaw_disk_free_bytes") or 0) > 0


async def test_metrics_directory_that_cannot_be_listed_is_no_empty_one(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """What is not known is left out, and one metric says so; the other parts are told all the same."""
    async with open_watched(sessions_dir, clock, fs=fs) as watched:
        fs.fail("scandir", errno.EACCES)
        families = await watched.scrape()
        assert value_of(families, "miniclaw_disk_scan_ok") == 0
        assert not {"miniclaw_session_files", "miniclaw_session_bytes"} & set(families)
        assert value_of(families, "miniclaw_trash_files") == 0, "there is none yet, which is known"
        assert value_of(families, "miniclaw_sessions_live") == 0
        fs.clear()


async def test_metrics_cleanups_by_service_and_by_command_are_counted_together(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """Whoever has a cleanup run on the same sessions, the numbers are of all of them."""
    policy = RetentionPolicy(max_removed_fraction=0.5)
    async with open_watched(sessions_dir, clock, policy=policy) as watched:
        for number in range(20):
            write_session(sessions_dir, f"web_old{number}", clock.ago(days=31))
        for number in range(2):
            write_session(sessions_dir, f"web_new{number}", clock.ago(days=1))
        (sessions_dir / "web_new0 (1).json").write_text("{")
        manager = watched.manager
        by_command = Cleanup(sessions_dir, policy=policy, clock=clock, manager=manager, by="command")
        held = await watched.runtime.cleanup.run()
        families = await watched.scrape()
        assert labelled(families, "miniclaw_cleanup_runs_total", "outcome") == {"held": 1}
        assert value_of(families, "miniclaw_cleanup_last_run_scanned_files") == held.sessions_scanned == 22
        problems = labelled(families, "miniclaw_cleanup_last_run_problem_files", "kind")
        assert problems == {"conflict": 1}
        result = await by_command.run(confirmed=True)
        await watched.manager.delete_session("web_new0")
        families = await watched.scrape()
        assert labelled(families, "miniclaw_sessions_removed_total", "reason") == {"ttl": 20, "deleted": 1}
        assert (value_of(families, "miniclaw_freed_bytes_total") or 0) > result.bytes_freed
        assert value_of(families, "miniclaw_cleanup_last_run_timestamp_seconds") == clock.now.timestamp()
        assert value_of(families, "miniclaw_cleanup_last_run_duration_seconds") is not None


async def test_metrics_next_cleanup_and_what_is_due(sessions_dir: Path, clock: WallClock) -> None:
    """What had expired before the first run, and what will expire within a week, is announced, each counted by itself."""
    for days in (40, 31, 25, 1):
        write_session(sessions_dir, f"web_{days}", clock.ago(days=days))
    async with open_watched(sessions_dir, clock, cleanup_interval_seconds=24 * 60 * 60) as watched:
        await watched.first_cleanup()
        families = await watched.scrape()
        assert value_of(families, "miniclaw_sessions_due") == 3
        announced = {"expected": 1, "unexpected": 2}
        assert labelled(families, "miniclaw_sessions_announced_total", "kind") == announced
        assert value_of(families, "miniclaw_cleanup_held") == value_of(families, "miniclaw_clock_behind") == 0
        assert value_of(families, "miniclaw_sessions_removed_total") is None
        due = watched.runtime.cleanup_service.next_run_at
        assert due == clock() + timedelta(days=1)
        assert value_of(families, "miniclaw_cleanup_next_run_timestamp_seconds") == due.timestamp()


async def test_metrics_sessions_due_of_an_earlier_start_are_not_announced_again(
    sessions_dir: Path, clock: WallClock
) -> None:
    """How many are due is known from the start on; the counter is of this start."""
    write_session(sessions_dir, "web_old", clock.ago(days=31))
    async with open_watched(sessions_dir, clock, cleanup_interval_seconds=24 * 60 * 60) as watched:
        await watched.first_cleanup()
    async with open_watched(sessions_dir, clock, cleanup_interval_seconds=24 * 60 * 60) as watched:
        families = await watched.scrape()
        assert value_of(families, "miniclaw_sessions_due") == 1
        assert labelled(families, "miniclaw_sessions_announced_total", "kind") == {}


async def test_metrics_held_cleanup_shows_until_a_run_goes_through(sessions_dir: Path, clock: WallClock) -> None:
    """The guard against mass removal has held the service's run, and the metrics say so, after another start too."""
    for number in range(20):
        write_session(sessions_dir, f"web_old{number}", clock.ago(days=31))
    policy = RetentionPolicy(max_removed_fraction=0.5)
    async with open_watched(sessions_dir, clock, policy=policy, notice=False, cleanup_interval_seconds=3600) as watched:
        await watched.first_cleanup()
        families = await watched.scrape()
        assert value_of(families, "miniclaw_cleanup_held") == 1
        assert labelled(families, "miniclaw_sessions_removed_total", "reason") == {}
    async with open_watched(sessions_dir, clock, policy=policy) as watched:
        assert value_of(await watched.scrape(), "miniclaw_cleanup_held") == 1
        await watched.runtime.operations().cleanup(confirmed=True)
        assert value_of(await watched.scrape(), "miniclaw_cleanup_held") == 0


async def test_metrics_clock_that_is_behind_shows_until_it_is_set(sessions_dir: Path, clock: WallClock) -> None:
    """A machine that starts without a battery is behind what was known; set by hand or by a server, it is not."""
    async with open_watched(sessions_dir, clock) as watched:
        assert value_of(await watched.scrape(), "miniclaw_clock_behind") == 0
    clock.reboot(off=timedelta(days=-300))
    async with open_watched(sessions_dir, clock) as watched:
        assert value_of(await watched.scrape(), "miniclaw_clock_behind") == 1
        clock.jump(days=301)
        assert value_of(await watched.scrape(), "miniclaw_clock_behind") == 0


async def test_metrics_cleanup_that_never_runs_has_no_next_time(sessions_dir: Path, clock: WallClock) -> None:
    """There is no time of what is not going to happen."""
    async with open_watched(sessions_dir, clock) as watched:
        assert "miniclaw_cleanup_next_run_timestamp_seconds" not in await watched.scrape()
    async with open_watched(sessions_dir, clock, cleanup_at=time(3, 0)) as watched:
        assert "miniclaw_cleanup_next_run_timestamp_seconds" in await watched.scrape()


async def test_metrics_turns_waiting_and_in_flight(sessions_dir: Path, clock: WallClock) -> None:
    """A message waits, is being answered, is answered: each in its place, and the latencies are of the answered."""
    go_on = trio.Event()
    model = StreamingModel("first ", go_on, "rest")
    async with open_watched(sessions_dir, clock, model=model) as watched, trio.open_nursery() as nursery:
        await nursery.start(watched.loop.run, watched.inbox)
        for text in ("one", "two"):
            watched.inbox.send_nowait(InboundMessage("web", "1", text))
        await model.waiting.wait()
        families = await watched.scrape()
        assert value_of(families, "miniclaw_inbox_messages") == 1
        assert value_of(families, "miniclaw_turns_in_flight") == 1
        assert value_of(families, "miniclaw_turn_first_token_seconds_count") == 1
        assert value_of(families, "miniclaw_turn_duration_seconds_count") == 0
        go_on.set()
        watched.inbox.close()
        while watched.loop.stats.total("answered") < 2:
            await trio.testing.wait_all_tasks_blocked()
        families = await watched.scrape()
        assert value_of(families, "miniclaw_inbox_messages") == value_of(families, "miniclaw_turns_in_flight") == 0
        assert value_of(families, "miniclaw_turns_total", channel="web", outcome="answered") == 2
        assert value_of(families, "miniclaw_turn_duration_seconds_count") == 2
        assert value_of(families, "miniclaw_turn_duration_seconds_bucket", le="+Inf") == 2


async def test_metrics_ready_and_phase(sessions_dir: Path, clock: WallClock) -> None:
    """They say what /readyz says."""
    async with open_watched(sessions_dir, clock) as watched:
        families = await watched.scrape()
        assert value_of(families, "miniclaw_ready") == 1
        assert labelled(families, "miniclaw_phase", "phase") == {"running": 1}
        watched.health.phase = "draining"
        families = await watched.scrape()
        assert value_of(families, "miniclaw_ready") == 0
        assert labelled(families, "miniclaw_phase", "phase") == {"draining": 1}


async def test_metrics_process_and_build(sessions_dir: Path, clock: WallClock) -> None:
    """Memory and descriptors are this process's, under the names that every Prometheus knows."""
    async with open_watched(sessions_dir, clock) as watched:
        families = await watched.scrape()
        assert (value_of(families, "process_resident_memory_bytes") or 0) > 10_000_000
        assert (value_of(families, "process_open_fds") or 0) > 3
        (build,) = families["miniclaw_build_info"].samples
        assert set(build.labels) == {"version", "python", "trio"}
        assert build.labels["trio"] == trio.__version__


# How they say it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", [PLAIN, OPEN_METRICS])
async def test_metrics_keep_the_conventions(sessions_dir: Path, clock: WallClock, content_type: str) -> None:
    """Each name has its unit, counters end in _total, each family has a type and a meaning and comes once."""
    async with open_watched(sessions_dir, clock, cleanup_interval_seconds=3600) as watched:
        await watched.metrics.lag.measure_once()
        await say(watched, "web")
        await watched.runtime.persistence.tick()
        await watched.first_cleanup()
        text = (await watched.metrics.text(content_type)).decode()
        assert list(broken_rules(text, content_type)) == []
        assert text.count("# TYPE miniclaw_") > 35


# What cannot make them grow -------------------------------------------------------------------------------------


async def test_metrics_hostile_input_makes_no_new_series(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A thousand errors, kinds, reasons and channels that nobody has heard of are one series more each, at most."""
    logs.expect_error(NO_ANSWER)
    count = 0

    async def script(_: Sequence[Message]) -> str:
        nonlocal count
        count += 1
        raise ModelError(f"trouble number {count}", kind=f"kind{count}")  # type: ignore[arg-type]

    async with open_watched(sessions_dir, clock, model=ScriptedModel(script)) as watched:
        await watched.metrics.lag.measure_once()  # its maximum is not there before
        before = series(await watched.scrape())
        for _ in range(1000):
            await say(watched, "web")
        turns, cleanups = watched.loop.stats, watched.manager.stats.cleanups
        for number in range(1000):
            with turns.turn(f"channel{number}"):
                pass
            cleanups.gone({f"reason{number}": 1}, {f"kind{number}": 1}, 1)
        families = await watched.scrape()
        new = {name for name, _ in series(families) - before}
        assert len(series(families)) <= len(before) + 3
        assert new == {"miniclaw_turns_total", "miniclaw_sessions_removed_total", "miniclaw_leftovers_removed_total"}
        assert labelled(families, "miniclaw_model_errors_total", "kind") == {"other": 1000}
        assert value_of(families, "miniclaw_turns_total", channel="other", outcome="interrupted") == 1000
        assert labelled(families, "miniclaw_sessions_removed_total", "reason") == {"other": 1000}


async def test_metrics_every_kind_of_model_error_has_its_series_from_the_start(
    sessions_dir: Path, clock: WallClock
) -> None:
    """What has not happened yet is 0 and not absent, so that the first time can be seen as an increase."""
    async with open_watched(sessions_dir, clock, channels=("web", "telegram")) as watched:
        families = await watched.scrape()
        kinds = {sample.labels["kind"] for sample in families["miniclaw_model_errors"].samples}
        assert kinds == set(MODEL_ERROR_KINDS)
        channels = {sample.labels["channel"] for sample in families["miniclaw_turns"].samples}
        assert channels == {"web", "telegram"}


# Foreign code ---------------------------------------------------------------------------------------------------


async def test_metrics_failures_of_channels_models_and_hooks_are_counted_apart(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """Each part has a count of its own, so that a bug is looked for where it is."""
    for sentence in ("Channel failed", "Model failed", "Program could not be told what was announced"):
        logs.expect_error(sentence)

    async def fail(_: Announcement) -> None:
        raise ZeroDivisionError

    write_session(sessions_dir, "web_old", clock.ago(days=31))
    async with open_watched(sessions_dir, clock, cleanup_interval_seconds=3600, on_announced=fail) as watched:
        await watched.first_cleanup()
        port = watched.loop.ports["web"] = Port(
            "web", ForeignChannel(fails=dict.fromkeys(["send", "send_delta"], SHAPES["plain"]))
        )
        port.phase = "running"
        await say(watched, "web")
        watched.loop._model = ForeignModel(entering=SHAPES["plain"])
        await say(watched, "web")
        families = await watched.scrape()
        assert labelled(families, "miniclaw_channel_failures_total", "call") == {"send": 2, "send_delta": 1}
        assert labelled(families, "miniclaw_channel_up", "channel") == {"web": 1}
        assert labelled(families, "miniclaw_model_errors_total", "kind") == {"bug": 1}
        assert labelled(families, "miniclaw_hook_failures_total", "hook") == {"on_announced": 1}
        port.phase = "failed"
        assert labelled(await watched.scrape(), "miniclaw_channel_up", "channel") == {}
