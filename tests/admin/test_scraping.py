"""Scrapes: over a real server, many at once, with many files on the disk, and with a disk that hangs."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx2
import pytest
import trio
from prometheus_client.metrics_core import Metric
from trio.testing import MockClock

from miniclaw.admin.monitoring.disk_cache import PATIENCE_SECONDS, REFRESH_SECONDS
from miniclaw.admin.monitoring.health import Health
from miniclaw.admin.monitoring.metrics import OPEN_METRICS, PLAIN, Metrics, negotiate
from miniclaw.session.entries import FileTally
from miniclaw.session.maintenance.usage import DiskUsage
from tests.fakes.clock import WallClock
from tests.fakes.metrics_rules import broken_rules
from tests.fakes.os_calls import FaultyOs
from tests.fakes.threads import wait_in_thread
from tests.fakes.watched import Watched, open_watched, parse, served, value_of

MANY = 20_000


def make_many(sessions_dir: Path) -> None:
    """Make files that are listed as sessions; nobody opens them here."""
    sessions_dir.mkdir(parents=True)
    for number in range(MANY):
        (sessions_dir / f"web_{number}.json").write_bytes(b"{}")


class Counting:
    """Counts the texts that are made."""

    def __init__(self, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts = 0
        write = watched.metrics._write

        def counted(content_type: str, families: list[Metric]) -> bytes:
            self.texts += 1
            return write(content_type, families)

        monkeypatch.setattr(watched.metrics, "_write", counted)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", PLAIN),
        ("application/openmetrics-text; version=1.0.0", OPEN_METRICS),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "text/plain;version=1.0.0;q=0.4,*/*;q=0.1",
            OPEN_METRICS,
        ),
        ("application/openmetrics-text;q=0.1, text/plain;q=0.9", PLAIN),
        ("application/openmetrics-text;q=0", PLAIN),
        ("application/openmetrics-text;version=abc", OPEN_METRICS),
        ("application/openmetrics-text;q=nan", PLAIN),
        ("application/openmetrics-text;q=much", PLAIN),
        (";;;,,,===,application/openmetrics-text-not", PLAIN),
    ],
)
def test_negotiate_takes_what_is_preferred(accept: str, expected: str) -> None:
    """OpenMetrics goes to who asks for it and prefers it; whatever else is asked, there is an answer."""
    assert negotiate(accept) == expected


@pytest.mark.parametrize("content_type", [PLAIN, OPEN_METRICS])
async def test_scrape_over_a_real_server(sessions_dir: Path, clock: WallClock, content_type: str) -> None:
    """What Prometheus gets is of the type that it asked for, can be parsed, and keeps the conventions."""
    async with open_watched(sessions_dir, clock) as watched, served(watched) as client:
        await watched.manager.get_or_create_session("web", "1")
        await watched.metrics.lag.measure_once()
        answer = await client.get("/metrics", headers={"accept": content_type})
        assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
        assert list(broken_rules(answer.text, content_type)) == []
        assert value_of(parse(answer.text, content_type), "miniclaw_sessions_live") == 1


async def test_scrapes_a_hundred_at_once_share_a_listing(sessions_dir: Path, clock: WallClock, fs: FaultyOs) -> None:
    """However many ask at once, the disk is listed once; all get the whole."""
    async with open_watched(sessions_dir, clock, fs=fs) as watched, served(watched) as client:
        listed = len([name for name, _ in fs.calls if name == "scandir"])
        answers: list[httpx2.Response] = []

        async def scrape() -> None:
            answers.append(await client.get("/metrics", timeout=None))

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(scrape)
        assert {answer.status_code for answer in answers} == {200}
        assert all(value_of(parse(answer.text), "miniclaw_session_files") == 0 for answer in answers)
        assert len([name for name, _ in fs.calls if name == "scandir"]) - listed == 1, "trash and quarantine: not made"


async def test_scrapes_that_come_together_share_the_text_but_never_an_older_one(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrape that came after something happened tells of it, also while another scrape is under way."""
    async with open_watched(sessions_dir, clock) as watched:
        await watched.scrape()
        counting = Counting(watched, monkeypatch)
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(watched.metrics.text)
        assert counting.texts <= 2, "the first, and one for all who came while it was made"
        await watched.manager.get_or_create_session("web", "1")
        assert await watched.value("miniclaw_sessions_live") == 1


async def test_scrape_with_many_files_leaves_the_loop_free(sessions_dir: Path, clock: WallClock, fs: FaultyOs) -> None:
    """While files are listed for a scrape, the loop goes on turning: it is no listing that it waits for."""
    await trio.to_thread.run_sync(make_many, sessions_dir)
    async with open_watched(sessions_dir, clock, fs=fs) as watched:
        gate = fs.block("scandir")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watched.scrape)
            await wait_in_thread(gate.reached)  # the loop turns, or this would never return
            gate.opened.set()
        families = await watched.scrape()
        files = value_of(families, "miniclaw_session_files")
        assert files in {None, MANY}, "all of them, or not known yet: a slow disk is not waited for"
        usage = await watched.runtime.usage.measure()
        assert usage.sessions == FileTally(MANY, 2 * MANY)


async def test_scrape_disk_that_hangs_is_waited_for_once_and_not_for_long(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, mock_clock: MockClock
) -> None:
    """The first scrape waits for the listing for a second; after that nobody waits, and its age tells how old it is."""
    async with open_watched(sessions_dir, clock, fs=fs) as watched:
        assert value_of(await watched.scrape(), "miniclaw_session_files") == 0
        gate = fs.block("scandir")
        mock_clock.jump(REFRESH_SECONDS)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watched.scrape)
            await wait_in_thread(gate.reached)
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(PATIENCE_SECONDS)
        # No clock moves any more: a scrape that waited would never come back.
        families = await watched.scrape()
        assert value_of(families, "miniclaw_session_files") == 0
        assert value_of(families, "miniclaw_disk_scan_age_seconds") == REFRESH_SECONDS + PATIENCE_SECONDS
        gate.opened.set()


async def test_scrape_before_anything_runs_answers(sessions_dir: Path, clock: WallClock) -> None:
    """Metrics that nobody has started say what is known without the disk."""
    async with open_watched(sessions_dir, clock) as watched:
        idle = Metrics(Health(watched.runtime, ()), watched.loop.stats, watched.inbox)
        families = parse((await idle.text()).decode())
        assert value_of(families, "miniclaw_sessions_live") == 0
        assert value_of(families, "miniclaw_disk_scan_ok") == 0
        assert "miniclaw_session_files" not in families


async def test_scrape_numbers_about_the_disk_are_kept_for_a_minute(
    sessions_dir: Path, clock: WallClock, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever scrapes every second makes the disk be listed once a minute."""
    async with open_watched(sessions_dir, clock) as watched:
        measure, times = watched.runtime.usage.measure, 0

        async def counted() -> DiskUsage:
            nonlocal times
            times += 1
            return await measure()

        monkeypatch.setattr(watched.metrics.disk, "_measure", counted)
        for _ in range(REFRESH_SECONDS):
            await watched.scrape()
            mock_clock.jump(1)
        assert times == 1
        await watched.scrape()
        assert times == 2


async def test_scrape_cancelled_harms_no_other(sessions_dir: Path, clock: WallClock) -> None:
    """A client that leaves in the middle takes nothing along: the next one is answered."""
    async with open_watched(sessions_dir, clock) as watched:
        for _ in range(20):
            with trio.move_on_after(0.001):
                await watched.metrics.text()
        assert value_of(await watched.scrape(), "miniclaw_ready") == 1
        assert threading.active_count() < 50
