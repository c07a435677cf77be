"""A workspace with a session of each kind, in which work is cancelled at each point, and what has to be true then."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import trio

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.entries import StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format import codec
from miniclaw.session.live.store import FileSessionStore, open_store
from miniclaw.session.manager import SessionManager
from miniclaw.session.names import file_name, split_session_id
from miniclaw.session.operations.operations import SessionOperations
from miniclaw.session.records.history import History
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.types import Message
from tests.fakes.cancelling import Cancelling, QuickOs
from tests.fakes.clock import WallClock
from tests.fakes.descriptors import descriptors_below
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
TRASHED = "web_trashed"
ON_DISK = {"web_cold", "web_old", "web_old2", "web_Capital", "web_dirty", "web_left"}
OLD = frozenset({"web_old", "web_old2"})
NEW = [f"web_new{number}" for number in range(5)]


class Home:
    """A workspace with a session of each kind, and what works on it."""

    def __init__(self, directory: Path, clock: WallClock, policy: RetentionPolicy | None = None) -> None:
        self.directory, self.clock, self.fs, self.policy = directory, clock, QuickOs(), policy
        for session_id in ON_DISK - {"web_left"}:
            write_session(directory, session_id, clock.ago(days=40 if session_id in OLD else 1))
        (directory / file_name("web_Capital")).rename(directory / "web_Capital.json")  # as earlier programs wrote it
        (directory / "web_bad.json").write_bytes(BAD)
        batch = directory / ".work" / "rm-1"
        batch.mkdir(parents=True)
        write_session(batch, "web_left", clock.ago(days=1))
        (directory / ".work" / "tmp-1").touch()

    store: FileSessionStore
    manager: SessionManager
    expired: list[StoredSession]
    entry_id: str  # of what is in the trash, where the policy keeps one

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        async with open_store(self.directory, fs=self.fs) as self.store:
            self.manager = SessionManager(self.store, clock=self.clock, policy=self.policy)
            if self.policy is not None:
                write_session(self.directory, TRASHED, self.clock.ago(days=1))
                self.entry_id = (await self.manager.delete_session(TRASHED)).entry_id
            for session_id in ["web_dirty", *NEW]:
                await say(self.manager, session_id, "unsaved", self.clock)
            self.expired = await self.cleanup().scan_expired_sessions()
            self.in_order(self.manager)
            yield

    def cleanup(self) -> Cleanup:
        return Cleanup(
            self.directory,
            policy=self.policy,
            clock=self.clock,
            manager=self.manager,
            history=self.history(),
        )

    def history(self) -> History:
        return self.store.state.history()

    def operations(self) -> SessionOperations:
        return SessionOperations(self.manager, self.cleanup(), self.history())

    def trashed(self) -> set[str]:
        """Return the sessions in the trash; each has to be whole."""
        trash = self.store.trash
        sessions = [codec.decode_session(trash.read(entry.id)) for entry in trash.entries()]
        assert all(session.messages for session in sessions)
        return {session.session_id for session in sessions}

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
    """A public coroutine: how it is called, whose session it is about, what it may remove, whether it completes what is
    begun, and whether what it removes is gone from the trash as well.
    """

    call: Operation
    about: str = "web_cold"
    removes: frozenset[str] = frozenset()
    completes: bool = False
    erases: bool = False


async def check(home: Home, case: Case, manager: SessionManager, spoken: dict[str, str]) -> None:
    """Nothing is half done, and every session can be used."""
    before = home.contents()
    assert home.evidence()
    if home.policy is not None and not case.erases:
        for session_id in {TRASHED, *case.removes}:
            whole = any(content.startswith("hello") for content in before.get(session_id, []))
            assert whole or session_id in home.trashed(), f"{session_id} is nowhere"
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


async def cancel_everywhere(
    case: Case,
    how: str,
    root: Path,
    clock: WallClock,
    logs: LogRecorder,
    cancelling: Cancelling,
    *,
    managed: bool = True,
    policy: RetentionPolicy | None = None,
) -> int:
    """Cancel a case at each point in turn, each time in a workspace laid anew; return how many points there were."""
    for number in itertools.count(1):
        home = Home(root / str(number), clock, policy)
        cancelling.reached = cancelling.left_early = False
        await try_point(number, how, case, home, cancelling, managed=managed)
        assert not descriptors_below(root)
        untouched = case.removes <= home.contents().keys() and any((home.directory / ".trash").glob(f"{TRASHED}.*"))
        begun = not (case.erases and untouched)  # an erasure first looks for what remains, and may be called off there
        assert not (case.completes and cancelling.left_early and begun), "a deletion that had begun was not completed"
        errors = [event for event in logs.events if event["level"] == "error"]
        assert all(event["event"] in LEGITIMATE for event in errors), errors
        logs.events.clear()
        if not cancelling.reached:
            return number - 1
    raise AssertionError
