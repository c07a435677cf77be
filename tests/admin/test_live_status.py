"""The live part of the status: gathered from what happened, sent as JSON, shown as lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from miniclaw.admin.monitoring.live_status import ChannelStatus, LiveStatus, resident_bytes, status_lines
from miniclaw.channels.base import InboundMessage
from miniclaw.errors import ModelError
from tests.fakes.agent import StreamingModel
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.watched import open_watched


async def test_live_status_is_what_happened(sessions_dir: Path, clock: WallClock, logs: LogRecorder) -> None:
    """Sessions, saves, turns and errors are those of this gateway, and go through JSON unharmed."""
    logs.expect_error("Model did not answer")
    async with open_watched(sessions_dir, clock, cleanup_interval_seconds=3600) as watched:
        await watched.loop.handle(InboundMessage("web", "1", "hello"))
        await watched.runtime.persistence.tick()
        await watched.manager.get_or_create_session("web", "2")
        watched.loop._model = StreamingModel(ModelError("away", kind="unreachable"))
        await watched.loop.handle(InboundMessage("web", "1", "hello"))
        await watched.metrics.lag.measure_once()
        found = watched.status()
        assert msgspec.json.decode(msgspec.json.encode(found), type=LiveStatus) == found
        assert (found.pid, found.phase, found.not_ready) == (os.getpid(), "running", ())
        assert (found.sessions_live, found.sessions_dirty, found.saved, found.save_failures) == (2, 2, 1, 0)
        assert (found.turns_answered, found.turns_failed) == (1, 1)
        assert found.model_errors == {"unreachable": 1}
        assert found.last_save_age_seconds is not None
        assert found.turn_p95_seconds is not None
        assert found.loop_lag_max_seconds is not None
        assert found.next_cleanup_at == watched.runtime.cleanup_service.next_run_at
        watched.health.phase = "draining"
        assert watched.status().not_ready == ("the gateway is stopping and takes no more messages",)


@pytest.fixture
def status(clock: WallClock) -> LiveStatus:
    return LiveStatus(
        version="0.1.0",
        now=clock.now,
        started_at=clock.ago(days=3, minutes=1),
        pid=4711,
        phase="running",
        uptime_seconds=3 * 24 * 3600 + 60,
        not_ready=(),
        model="echo",
        addresses=("http://127.0.0.1:8765",),
        sessions_live=1,
        sessions_dirty=0,
        saved=5,
        save_failures=0,
        last_save_age_seconds=12.3,
        waiting=0,
        turns_in_flight=1,
        turns_answered=1234,
        turns_failed=2,
        turn_p50_seconds=0.25,
        turn_p95_seconds=12,
        last_turn_seconds=1,
        model_errors={"rate_limited": 2},
        loop_lag_max_seconds=0.004,
        next_cleanup_at=clock.ago(hours=-5),
        cleanup_runs={"removed": 3},
        sessions_removed=7,
        bytes_freed=2048,
        memory_bytes=64 * 1024 * 1024,
    )


def test_status_lines_say_all_on_a_few_lines(status: LiveStatus) -> None:
    """Each number is on the screen, with its unit, and a label that fits beside it."""
    lines = dict(status_lines(status))
    assert lines == {
        "gateway": "running for 3d, process 4711; ready",
        "served at": "http://127.0.0.1:8765",
        "model": "echo; 2 errors since the start (rate limited 2)",
        "in memory": "1 session, 0 unsaved; last save 12s ago",
        "messages": "0 waiting, 1 being answered; 1,234 answered, 2 failed since the start; "
        "half within 250 ms, 95 % within 12.0 s",
        "next cleanup": "2026-11-23 17:00:00 UTC, in 5h",
        "removed": "7 sessions, 2.0 KiB freed since the start; runs: removed 3",
        "process": "64.0 MiB of memory; event loop late by 4 ms at most in the last minute",
    }
    assert max(map(len, lines)) <= 13


def test_status_lines_trouble_stands_out(status: LiveStatus) -> None:
    """Who is not ready says so first, and why; what failed is said where it belongs; what is not known is not said."""
    trouble = replace(
        status,
        not_ready=("one", "two"),
        save_failures=3,
        last_save_age_seconds=None,
        turn_p50_seconds=None,
        next_cleanup_at=None,
        loop_lag_max_seconds=None,
        memory_bytes=None,
        addresses=(),
        log_records_dropped=1200,
    )
    lines = dict(status_lines(trouble))
    assert lines["gateway"].endswith("NOT READY: one; two")
    assert lines["in memory"] == "1 session, 0 unsaved; nothing saved yet, 3 failed since the start"
    assert lines["process"] == "memory not known"
    assert lines["log"] == "1,200 records dropped since the start: it is not read, or cannot be written"
    assert "half within" not in lines["messages"]
    assert not {"next cleanup", "served at"} & set(lines)


def test_status_lines_channel_that_is_not_as_it_should_be_has_a_line(status: LiveStatus) -> None:
    """A channel that runs well is not mentioned; of another one stand there its phase, why, and when it is tried again."""
    channels = (
        ChannelStatus("web", "running", {}, None, None),
        ChannelStatus("irc", "failed", {"run": 2, "send_delta": 1}, "KeyError", 8.0),
        ChannelStatus("tape", "ended", {}, None, None),
        ChannelStatus("sms", "running", {"send": 1}, None, None),
    )
    assert [text for label, text in status_lines(replace(status, channels=channels)) if label == "channel"] == [
        "irc: FAILED; last failure: KeyError; starts again in 8.0 s; 3 failures since the start (run 2, send delta 1)",
        "tape: ended",
        "sms: running; 1 failure since the start (send 1)",
    ]


async def test_live_status_has_the_channels(sessions_dir: Path, clock: WallClock, mock_clock: MockClock) -> None:
    """Name, phase, failures and the next start are those of the supervisor."""
    async with open_watched(sessions_dir, clock, channels=["irc"]) as watched:
        port = watched.loop.ports["irc"]
        port.phase, port.last_failure, port.starts_at = "failed", "KeyError", trio.current_time() + 8
        port.failures["run"] = 1
        assert watched.status().channels == (ChannelStatus("irc", "failed", {"run": 1}, "KeyError", 8.0),)
        port.phase = "running"
        assert watched.status().channels[0].starts_again_in_seconds is None


def test_live_status_of_an_earlier_version_has_no_channels(status: LiveStatus) -> None:
    """A command understands a gateway that was started before it was installed."""
    document = msgspec.to_builtins(status)
    del document["channels"]
    assert msgspec.convert(document, LiveStatus, strict=False).channels == ()


def test_resident_bytes_is_the_memory_of_this_process() -> None:
    """It is what the system says, within reason."""
    memory = resident_bytes()
    assert memory is not None
    assert 10_000_000 < memory < 10_000_000_000


def test_live_status_loads_neither_trio_nor_the_server() -> None:
    """A command that only shows it starts quickly."""
    code = "import sys, miniclaw.admin.monitoring.live_status; print(sorted({'trio', 'starlette', 'prometheus_client'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
