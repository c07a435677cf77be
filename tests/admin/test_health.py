"""`/healthz` and `/readyz`, over a real server and with disks that really fail."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import MockClock

from miniclaw.admin.monitoring.health import HEALTH_PATHS, Phase, health_routes
from miniclaw.admin.monitoring.metrics import metrics_routes
from miniclaw.config.web import WebConfig
from miniclaw.errors import ChannelEndedError
from miniclaw.secret import Secret
from miniclaw.session.persistence import PERSISTENCE_INTERVAL_SECS
from miniclaw.web.access.security import Security
from miniclaw.web.app import build_app
from tests.fakes.clock import WallClock
from tests.fakes.logs import MISPLACED, LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.threads import settle, wait_in_thread
from tests.fakes.watched import Watched, open_watched, served

NOT_SAVED = "Session could not be saved; it stays in memory for the next try"
PHASES: Final[tuple[Phase, ...]] = ("starting", "running", "draining")


def codes(watched: Watched) -> list[str]:
    return [reason.code for reason in watched.health.reasons()]


async def test_healthz_is_ok_in_every_phase(sessions_dir: Path, clock: WallClock) -> None:
    """Alive is who answers: also while starting, draining, and not ready."""
    async with open_watched(sessions_dir, clock) as watched, served(watched) as client:
        for phase in PHASES:
            watched.health.phase = phase
            answer = await client.get("/healthz")
            assert (answer.status_code, answer.json()["status"], answer.json()["phase"]) == (200, "ok", phase)
            assert answer.json()["uptime_seconds"] >= 0
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["cache-control"] == "no-store"


async def test_readyz_follows_the_phase(sessions_dir: Path, clock: WallClock) -> None:
    """Only a running gateway is ready; another one says why it is not, for people and for programs."""
    async with open_watched(sessions_dir, clock) as watched, served(watched) as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"ready": True, "phase": "running", "reasons": []})
        for phase in (PHASES[0], PHASES[2]):
            watched.health.phase = phase
            answer = await client.get("/readyz")
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"].isdigit()
            document = answer.json()
            assert (document["ready"], [reason["code"] for reason in document["reasons"]]) == (False, [phase])
            assert document["reasons"][0]["detail"] in document["detail"]


async def test_stranger_gets_the_status_and_no_detail(sessions_dir: Path, clock: WallClock) -> None:
    """At an address that needs the token, a stranger gets the status without its reasons, and no metrics."""
    token = Secret("x" * 40)
    async with open_watched(sessions_dir, clock) as watched:
        routes = [*health_routes(watched.health), *metrics_routes(watched.metrics)]
        security = Security(WebConfig(), token)
        app = build_app(routes, security=security, open_paths=HEALTH_PATHS)
        shown = {"authorization": f"Bearer {token.reveal()}"}
        async with served(watched, app) as client:
            assert (await client.get("/healthz")).json() == {"status": "ok"}
            assert (await client.get("/readyz")).json() == {"ready": True}
            assert (await client.get("/metrics")).status_code == 401
            assert (await client.get("/healthz", headers=shown)).json()["phase"] == "running"
            assert (await client.get("/metrics", headers=shown)).status_code == 200
            watched.health.phase = "draining"
            answer = await client.get("/readyz")
            document = {"title": "Service Unavailable", "status": 503, "ready": False}
            assert (answer.status_code, answer.json() | document) == (503, answer.json())
            assert answer.headers["retry-after"].isdigit()
            assert "reasons" not in answer.json()
            assert "stopping" not in answer.text
            assert "draining" not in answer.text
            assert (await client.get("/readyz", headers=shown)).json()["phase"] == "draining"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_head_has_the_same_status_and_no_body(sessions_dir: Path, clock: WallClock, path: str) -> None:
    """A checker that asks by HEAD learns the same."""
    async with open_watched(sessions_dir, clock) as watched, served(watched) as client:
        for phase in PHASES[1:]:
            watched.health.phase = phase
            head, get = await client.head(path), await client.get(path)
            assert (head.status_code, head.content) == (get.status_code, b"")
            assert head.headers["content-type"] == get.headers["content-type"]
        assert (await client.post(path)).status_code == 405


async def test_readyz_turns_when_saving_has_failed_for_two_intervals_and_back(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, logs: LogRecorder, mock_clock: MockClock
) -> None:
    """One autosave that fails is bad luck, the second one in a row is the end of being ready; a good one mends it."""
    logs.expect_error(NOT_SAVED)
    async with open_watched(sessions_dir, clock, fs=fs) as watched:

        async def interval() -> list[str]:
            mock_clock.jump(PERSISTENCE_INTERVAL_SECS)
            await settle()
            return codes(watched)

        await watched.manager.get_or_create_session("web", "1")
        fs.fail("rename", errno.ENOSPC, path="web_")
        assert await interval() == []
        assert await interval() == ["saving_fails"]
        assert await interval() == ["saving_fails"]
        assert "the last 3 autosaves" in watched.health.reasons()[0].detail
        fs.clear()
        assert await interval() == []


async def test_readyz_one_failing_session_among_good_ones_counts(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, logs: LogRecorder
) -> None:
    """What somebody was told is at risk as long as one session cannot be saved, however many others can."""
    logs.expect_error(NOT_SAVED)
    async with open_watched(sessions_dir, clock, fs=fs) as watched:
        fs.fail("rename", errno.EIO, path="web_bad.json")
        for _ in range(2):
            for chat in ("bad", "good"):
                await watched.manager.get_or_create_session("web", chat)
            await watched.runtime.persistence.tick()
        assert codes(watched) == ["saving_fails"]
        fs.clear()


async def test_readyz_early_saves_that_fail_are_no_intervals(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, logs: LogRecorder, mock_clock: MockClock
) -> None:
    """A memory that is overfull has saves between the intervals; many of them failing within a second are not two."""
    logs.expect_error(NOT_SAVED)
    async with open_watched(sessions_dir, clock, fs=fs, max_live_sessions=1) as watched:
        fs.fail("rename", errno.EIO, path="web_")
        for number in range(5):
            await watched.manager.get_or_create_session("web", str(number))
            await settle()
        assert len(logs.named(NOT_SAVED)) > 2
        assert watched.manager.stats.saves.failing_ticks == 0
        assert codes(watched) == []
        fs.clear()


async def test_readyz_disk_that_hangs_for_two_intervals_counts(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, mock_clock: MockClock
) -> None:
    """A save that never ends is no save, though nothing says that it failed."""
    async with open_watched(sessions_dir, clock, fs=fs) as watched:
        await watched.manager.get_or_create_session("web", "1")
        gate = fs.block("rename", path="web_1.json")
        mock_clock.jump(PERSISTENCE_INTERVAL_SECS)
        await wait_in_thread(gate.reached)
        for expected in ([], ["saving_fails"]):
            mock_clock.jump(PERSISTENCE_INTERVAL_SECS)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert codes(watched) == expected
        gate.opened.set()


async def test_readyz_sessions_directory_out_of_its_place(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """Sessions that are saved where nobody looks for them are not kept; put back, all is well again."""
    logs.expect_error(MISPLACED)
    async with open_watched(sessions_dir, clock) as watched, served(watched) as client:
        aside = sessions_dir.with_name("aside")
        sessions_dir.rename(aside)
        await watched.runtime.persistence.tick()
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert [reason["code"] for reason in answer.json()["reasons"]] == ["sessions_dir_misplaced"]
        assert str(sessions_dir) not in answer.text, "it goes to anybody"
        assert await watched.value("miniclaw_sessions_dir_in_place") == 0
        aside.rename(sessions_dir)
        await watched.runtime.persistence.tick()
        assert (await client.get("/readyz")).status_code == 200


async def test_readyz_turns_when_another_process_owns_the_directory(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A gateway that can keep nothing any more is not ready, whatever the other one does afterwards."""
    logs.expect_error(
        "Sessions directory is owned by another process; nothing is saved or removed any more until a restart"
    )
    async with open_watched(sessions_dir, clock) as watched, served(watched) as client:
        assert await watched.value("miniclaw_sessions_dir_owned") == 1
        lock = sessions_dir / ".lock"
        lock.unlink()
        lock.touch()
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            await watched.runtime.persistence.tick()
        await watched.runtime.persistence.tick()
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert [reason["code"] for reason in answer.json()["reasons"]] == ["ownership_lost"]
        assert await watched.value("miniclaw_sessions_dir_owned") == 0


async def test_readyz_turns_while_a_channel_has_failed_and_names_none(sessions_dir: Path, clock: WallClock) -> None:
    """A channel that waits for its next start cannot be talked to; one that has ended as it should is no trouble."""
    async with open_watched(sessions_dir, clock, channels=["irc", "web"]) as watched, served(watched) as client:
        irc, web = watched.loop.ports.values()
        irc.phase, web.phase = "ended", "running"
        assert codes(watched) == []
        web.phase = "failed"
        answer = await client.get("/readyz")
        assert (answer.status_code, codes(watched)) == (503, ["channel_failed"])
        assert "a channel has failed" in answer.json()["detail"]
        assert "web" not in answer.text
        irc.phase = "failed"
        assert "2 channels have failed" in watched.health.reasons()[0].detail
        irc.phase = web.phase = "running"
        assert (await client.get("/readyz")).status_code == 200


async def test_readyz_turns_when_a_channel_has_ended_for_good_and_names_it(
    sessions_dir: Path, clock: WallClock
) -> None:
    """Nothing starts such a channel again, so the answer says which one an administrator has to mend."""
    async with open_watched(sessions_dir, clock, channels=["irc", "web"]) as watched, served(watched) as client:
        irc, web = watched.loop.ports.values()
        irc.phase, irc.ended_by, web.phase = "ended", ChannelEndedError("the key was revoked"), "running"
        answer = await client.get("/readyz")
        assert (answer.status_code, codes(watched)) == (503, ["channel_ended"])
        assert "the channel irc has ended" in answer.json()["reasons"][0]["detail"]
        assert "revoked" not in answer.text
        assert watched.status().not_ready == (answer.json()["reasons"][0]["detail"],)
        web.phase, web.ended_by = "ended", ChannelEndedError("so was this one")
        assert "the channels irc, web have ended" in watched.health.reasons()[0].detail
