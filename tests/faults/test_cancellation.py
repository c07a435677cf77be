"""Cancellation at every point of every public coroutine.

Two loops over each: cancel when it (or a task below it) yields to the scheduler for the n-th time, and cancel while a
thread of it is at its n-th system call, which then goes on only after somebody else has come to the same session.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from miniclaw.agent.loop import AgentLoop
from miniclaw.agent.models import EchoModel
from miniclaw.channels.base import InboundMessage
from miniclaw.session.cleanup import Cleanup
from miniclaw.session.directory import SessionDirectory
from miniclaw.session.manager import SessionManager
from miniclaw.session.names import file_name, split_session_id
from miniclaw.session.rows import StoredSession
from miniclaw.session.runtime import open_runtime
from miniclaw.session.state import STATE_NAME, CleanupState, StateDirectory
from miniclaw.session.store import FileSessionStore, open_store
from miniclaw.session.types import Message
from tests.fakes.agent import MailboxChannel
from tests.fakes.cancelling import Cancelling, QuickOs
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session
from tests.fakes.work_folder import left_in_work

LEGITIMATE = {
    "Session could not be read; begun anew",
    "Session file kept, it cannot be judged",
    "Session could not be saved; it stays in memory for the next try",
    "Message could not be recorded",
}
BAD = b"no session"
ON_DISK = {"web_cold", "web_old", "web_old2", "web_Capital", "web_dirty", "web_left"}
OLD = frozenset({"web_old", "web_old2"})
NEW = [f"web_new{number}" for number in range(5)]


class Home:
    """A workspace with a session of each kind, and what works on it."""

    def __init__(self, directory: Path, clock: WallClock) -> None:
        self.directory, self.clock, self.fs = directory, clock, QuickOs()
        for session_id in ON_DISK - {"web_left"}:
            write_session(directory, session_id, clock.ago(days=40 if session_id in OLD else 1))
        (directory / file_name("web_Capital")).rename(directory / "web_Capital.json")  # as earlier programs wrote it
        (directory / "web_bad.json").write_bytes(BAD)
        batch = directory / ".work" / "rm-1"
        batch.mkdir(parents=True)
        write_session(batch, "web_left", clock.ago(days=1))
        (directory / ".work" / "tmp-1").touch()
        StateDirectory(directory / STATE_NAME).write_cleanup(CleanupState(last_run_at=clock()))  # so that none is due

    store: FileSessionStore
    manager: SessionManager
    expired: list[StoredSession]

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        async with open_store(self.directory, fs=self.fs) as self.store:
            self.manager = SessionManager(self.store, clock=self.clock)
            for session_id in ["web_dirty", *NEW]:
                await say(self.manager, session_id, "unsaved", self.clock)
            self.expired = await self.cleanup().scan_expired_sessions()
            self.in_order(self.manager)
            yield

    def cleanup(self) -> Cleanup:
        return Cleanup(self.directory, clock=self.clock, manager=self.manager, store=self.store)

    def contents(self) -> dict[str, list[str]]:
        """Return who said what, by the files; each has to be whole."""
        assert not left_in_work(self.directory)
        found = {}
        for path in self.directory.glob("*.json"):
            if path.read_bytes() != BAD:
                content = json.loads(path.read_bytes())
                found[content["session_id"]] = [message["content"] for message in content["messages"]]
        return found

    def in_order(self, manager: SessionManager) -> None:
        assert not len(manager._locks), f"locks are held: {manager!r}"
        assert not trio.testing.active_thread_count()

    def evidence(self) -> bool:
        return any(path.is_file() and path.read_bytes() == BAD for path in self.directory.rglob("web_bad*"))


async def say(manager: SessionManager, session_id: str, text: str, clock: WallClock) -> None:
    await manager.get_or_create_session(*split_session_id(session_id))
    await manager.add_message(session_id, Message("user", text, clock()))


Operation = Callable[[Home], Awaitable[object]]


class Case(NamedTuple):
    """A public coroutine: how it is called, whose session it is about, what it may remove, whether it completes what is begun."""

    call: Operation
    about: str = "web_cold"
    removes: frozenset[str] = frozenset()
    completes: bool = False


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
    await home.manager.remove_sessions(home.expired, home.cleanup().is_expired)


async def delete_expired(home: Home) -> None:
    await home.cleanup().delete_session(home.expired[0])


async def handle(home: Home) -> None:
    loop = AgentLoop(home.manager, EchoModel(), {"web": MailboxChannel()}, clock=home.clock)
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


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def check(home: Home, case: Case, manager: SessionManager, spoken: dict[str, str]) -> None:
    """Nothing is half done, and every session can be used."""
    before = home.contents()
    assert home.evidence()
    for session_id in ON_DISK - case.removes:
        assert before[session_id][0].startswith("hello"), session_id
    for session_id, text in spoken.items():
        if session_id not in case.removes and session_id not in manager.dirty_sessions():
            assert text in before.get(session_id, []), f"{session_id} was saved and is not there"
    everybody = {*ON_DISK, *NEW, "web_bad", case.about}
    for session_id in everybody:
        await say(manager, session_id, "again", home.clock)
    report = await manager.save_all_sessions()
    assert (report.saved, report.failed, manager.dirty_sessions()) == (len(everybody), (), [])
    after = home.contents()
    for session_id in everybody:
        said = after[session_id]
        assert said[-1] == "again"
        assert said.count("again") == 1
        if session_id in before:
            assert said[: len(before[session_id])] == before[session_id]
        if session_id in spoken and session_id not in case.removes:
            assert spoken[session_id] in said, f"{session_id} has lost what was said meanwhile: {said}"
    assert home.evidence()


async def try_point(number: int, how: str, case: Case, home: Home, cancelling: Cancelling, *, managed: bool) -> None:
    spoken: dict[str, str] = {}

    async def meanwhile() -> None:
        if managed:
            await say(home.manager, case.about, "meanwhile", home.clock)
            spoken[case.about] = "meanwhile"
            await home.manager.save_all_sessions()

    async def cancelled() -> None:
        if how == "yield":
            await cancelling.at_yield(number, lambda: case.call(home))
        else:
            await cancelling.at_call(number, home.fs, lambda: case.call(home), meanwhile)

    if managed:
        async with home.opened():
            await cancelled()
            home.in_order(home.manager)
            await check(home, case, home.manager, spoken)
    else:
        await cancelled()
        assert not trio.testing.active_thread_count()
        async with open_store(home.directory) as store:
            await check(home, case, SessionManager(store, clock=home.clock), spoken)
    with SessionDirectory.open(home.directory) as directory:
        directory.own()  # nobody holds it


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
    cancelling = Cancelling(monkeypatch)
    for number in itertools.count(1):
        home = Home(tmp_path / str(number), clock)
        before = descriptors()
        cancelling.reached = cancelling.left_early = False
        await try_point(number, how, case, home, cancelling, managed=managed)
        assert descriptors() == before
        assert not (case.completes and cancelling.left_early), "a deletion that had begun was not completed"
        errors = [event for event in logs.events if event["level"] == "error"]
        assert all(event["event"] in LEGITIMATE for event in errors), errors
        logs.events.clear()
        if not cancelling.reached:
            break
    print(number - 1, "points")
    assert number > 1
