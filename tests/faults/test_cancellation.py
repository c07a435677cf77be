"""Cancellation at every point of every public coroutine.

Two loops over each: cancel when it (or a task below it) yields to the scheduler for the n-th time, and cancel while a
thread of it is at its n-th system call, which then goes on only after somebody else has come to the same session.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from miniclaw.agent.loop import AgentLoop
from miniclaw.agent.models import EchoModel
from miniclaw.channels.base import InboundMessage
from miniclaw.session.cleanup import Cleanup
from miniclaw.session.live.store import open_store
from miniclaw.session.names import split_session_id
from miniclaw.session.runtime import open_runtime
from miniclaw.session.types import Message
from tests.fakes.agent import MailboxChannel
from tests.fakes.cancelling import Cancelling
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.logs import LogRecorder
from tests.faults.cancelling_home import NEW, OLD, Case, Home, cancel_everywhere, say


def get(session_id: str) -> Case:
    return Case(lambda home: home.manager.get_or_create_session(*split_session_id(session_id)), session_id)


def delete(session_id: str) -> Case:
    return Case(
        lambda home: home.manager.delete_session(session_id), session_id, frozenset({session_id}), completes=True
    )


async def use(home: Home) -> None:
    async with home.manager.using("web_cold"):
        await trio.lowlevel.checkpoint()


async def save_twice(home: Home) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(home.manager.save_all_sessions)
        await say(home.manager, "web_dirty", "more", home.clock)
        nursery.start_soon(home.manager.save_all_sessions)


async def remove(home: Home) -> None:
    await home.manager.remover.remove(home.expired, home.cleanup().is_expired, late=lambda removals: None)


async def delete_expired(home: Home) -> None:
    await home.cleanup().delete_session(home.expired[0])


async def handle(home: Home) -> None:
    loop = AgentLoop(home.manager, EchoModel(), {"web": MailboxChannel()})
    await loop.handle(InboundMessage("web", "cold", "hello"))


async def run_store(home: Home) -> None:
    async with open_store(home.directory, fs=home.fs):
        await trio.lowlevel.checkpoint()


async def run_runtime(home: Home) -> None:
    async with open_runtime(home.directory, clock=home.clock, fs=home.fs) as runtime:
        await say(runtime.manager, "web_cold", "in the runtime", home.clock)


MESSAGE = Message("user", "added", datetime(2026, 11, 23, tzinfo=UTC))
MANAGED = {
    "get_or_create_cold": get("web_cold"),
    "get_or_create_new": get("web_nobody"),
    "get_or_create_corrupt": get("web_bad"),
    "get_or_create_legacy_name": get("web_Capital"),
    "get_session": Case(lambda home: home.manager.get_session("web_cold")),
    "add_message": Case(lambda home: home.manager.add_message("web_cold", MESSAGE)),
    "using": Case(use),
    "is_session_expired": Case(lambda home: home.manager.is_session_expired("web_cold")),
    "save_all_sessions": Case(lambda home: home.manager.save_all_sessions(), "web_dirty"),
    "save_all_sessions_twice": Case(save_twice, "web_dirty"),
    "remove_sessions": Case(remove, "web_old", OLD, completes=True),
    "delete_session_cold": delete("web_cold"),
    "delete_session_dirty": delete("web_dirty"),
    "delete_session_new": delete(NEW[0]),
    "cleanup_plan": Case(lambda home: home.cleanup().plan()),
    "cleanup_scan_expired_sessions": Case(lambda home: home.cleanup().scan_expired_sessions()),
    "cleanup_run": Case(lambda home: home.cleanup().run(), "web_old", OLD),
    "cleanup_delete_session": Case(delete_expired, "web_old", OLD, completes=True),
    "handle": Case(handle),
}
ALONE = {
    "open_store": Case(run_store),
    "open_runtime": Case(run_runtime),
    "cleanup_alone_plan": Case(lambda home: Cleanup(home.directory, clock=home.clock).plan()),
    "cleanup_alone_run": Case(lambda home: Cleanup(home.directory, clock=home.clock).run(), removes=OLD),
}


CASES = [
    pytest.param(case, how, managed, id=f"{name}-{how}")
    for cases, managed in [(MANAGED, True), (ALONE, False)]
    for name, case in cases.items()
    for how in ["yield", "call"]
    if not (how == "call" and "alone" in name)  # it has its system calls to itself
]


@pytest.fixture
def days_pass(clock: WallClock) -> DaysPass:
    """trio's clock, standing still: no deadline ever comes."""
    return DaysPass(clock)


@pytest.mark.parametrize(("case", "how", "managed"), CASES)
async def test_operation_cancelled_anywhere_leaves_everything_in_order(
    case: Case,
    how: str,
    managed: bool,
    tmp_path: Path,
    clock: WallClock,
    days_pass: DaysPass,
    logs: LogRecorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No lock, thread or descriptor stays, no file is half done, no session lost, and no Cancelled swallowed."""
    points = await cancel_everywhere(case, how, tmp_path, clock, logs, Cancelling(monkeypatch), managed=managed)
    print(points, "points")
    assert points
