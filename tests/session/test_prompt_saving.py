"""Saving what somebody waits for: told when it is on disk, and not before."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from miniclaw.session.live.committer import MAX_NEWS_BYTES
from miniclaw.session.live.entry import SaveState
from miniclaw.session.live.store import open_store
from miniclaw.session.manager import SessionManager
from miniclaw.session.persistence import MAX_REST_SECONDS, RETRY_SECONDS, ROUND_SECONDS, PromptSaver
from miniclaw.session.runtime import open_runtime
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.threads import wait_in_thread


class Waiting:
    """Waits until so many were told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.unsaved: list[str] = []  # of those told, by name
        self._changed = trio.Event()

    def callback(self, name: str) -> Callable[[bool], None]:
        def tell(saved: bool) -> None:
            self.told.append(name)
            if not saved:
                self.unsaved.append(name)
            self._changed.set()

        return tell

    async def until(self, count: int) -> list[str]:
        while len(self.told) < count:
            self._changed = trio.Event()
            await self._changed.wait()
        return sorted(self.told)


@asynccontextmanager
async def saving(sessions_dir: Path, clock: WallClock) -> AsyncIterator[tuple[SessionManager, PromptSaver]]:
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_store(sessions_dir) as store, trio.open_nursery() as nursery:
            manager = SessionManager(store, clock=clock)
            saver = PromptSaver(manager)
            await nursery.start(saver.run)
            yield manager, saver
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def journalled(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs
) -> AsyncIterator[tuple[SessionManager, PromptSaver]]:
    """The same in a runtime, which has a journal."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with (
            open_runtime(sessions_dir, clock=clock, fs=fs, cleanup_interval_seconds=None) as runtime,
            trio.open_nursery() as nursery,
        ):
            saver = PromptSaver(runtime.manager)
            await nursery.start(saver.run)
            yield runtime.manager, saver
            nursery.cancel_scope.cancel()


def counted(manager: SessionManager, name: str, monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Return a list to which each call of a saving method adds its ids."""
    calls: list[set[str]] = []
    method = getattr(manager, name)

    async def counting(session_ids: set[str]) -> object:
        calls.append(set(session_ids))
        return await method(session_ids)

    monkeypatch.setattr(manager, name, counting)
    return calls


async def say(manager: SessionManager, chat_id: str, clock: WallClock) -> str:
    session = await manager.get_or_create_session("web", chat_id)
    await manager.add_message(session.session_id, Message("user", "hello", clock.now))
    return session.session_id


async def test_want_session_is_told_once_it_is_on_disk(sessions_dir: Path, clock: WallClock) -> None:
    """Who is told can rely on the file."""
    async with saving(sessions_dir, clock) as (manager, saver):
        waiting = Waiting()
        ids = {chat: await say(manager, chat, clock) for chat in "abc"}
        for chat, session_id in ids.items():
            saver.want(session_id, waiting.callback(chat))
        assert waiting.told == []
        assert await waiting.until(3) == ["a", "b", "c"]
        assert all(b"hello" in (sessions_dir / f"web_{chat}.json").read_bytes() for chat in "abc")
        assert manager.dirty_sessions() == []


async def test_want_many_at_once_are_saved_in_one_go(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crowd costs one round of the disk, not one each; without a journal as well."""
    async with saving(sessions_dir, clock) as (manager, saver):
        goes = counted(manager, "save_sessions", monkeypatch)
        waiting = Waiting()
        for chat in [await say(manager, str(number), clock) for number in range(50)]:
            saver.want(chat, waiting.callback(chat))
        await waiting.until(50)
        assert [len(ids) for ids in goes] == [50]


async def test_want_many_at_once_are_one_commit(sessions_dir: Path, clock: WallClock, fs: FaultyOs) -> None:
    """Two hundred people cost one sync of the journal, and no file is written for them."""
    async with journalled(sessions_dir, clock, fs) as (manager, saver):
        chats = [await say(manager, str(number), clock) for number in range(200)]
        waiting = Waiting()
        for chat in chats:
            saver.want(chat, waiting.callback(chat))
        await waiting.until(200)
        assert waiting.unsaved == []
        assert [name for name, _ in fs.calls].count("sync_data") == 1
        assert list(sessions_dir.glob("*.json")) == []
        assert len(manager.dirty_sessions()) == 200


async def test_want_is_told_without_any_wait(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, mock_clock: MockClock
) -> None:
    """No pause gathers and no rest delays: a conversation goes on while time stands still."""
    async with journalled(sessions_dir, clock, fs) as (manager, saver):
        waiting = Waiting()
        for number in range(1, 6):
            saver.want(await say(manager, "a", clock), waiting.callback("a"))
            await waiting.until(number)
        assert trio.current_time() == 0


async def test_want_session_that_the_journal_refuses_is_saved_as_a_whole_and_delays_no_other(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """A session with too much news hangs at its file; what others say is confirmed meanwhile."""
    async with journalled(sessions_dir, clock, fs) as (manager, saver):
        gate = fs.block("rename", path="web_large.json")
        waiting = Waiting()
        session = await manager.get_or_create_session("web", "large")
        await manager.add_message(session.session_id, Message("user", "x" * (MAX_NEWS_BYTES + 1), clock.now))
        saver.want(session.session_id, waiting.callback("large"))
        await wait_in_thread(gate.reached)
        for number in range(1, 4):
            saver.want(await say(manager, "a", clock), waiting.callback("a"))
            await waiting.until(number)
        assert waiting.told == ["a", "a", "a"]
        gate.opened.set()
        assert await waiting.until(4) == ["a", "a", "a", "large"]


async def test_want_what_is_saved_already_is_told(sessions_dir: Path, clock: WallClock) -> None:
    """Nobody waits for a change that does not come."""
    async with saving(sessions_dir, clock) as (manager, saver):
        session_id = await say(manager, "a", clock)
        await manager.save_all_sessions()
        waiting = Waiting()
        saver.want(session_id, waiting.callback("a"))
        assert await waiting.until(1) == ["a"]


async def test_want_session_deleted_meanwhile_is_told_as_not_saved(sessions_dir: Path, clock: WallClock) -> None:
    """What was deleted for good before it was saved never counts as saved, also with a new session in its place."""
    async with saving(sessions_dir, clock) as (manager, saver):
        session_id = await say(manager, "a", clock)
        await manager.save_all_sessions()
        await say(manager, "a", clock)
        waiting = Waiting()
        saver.want(session_id, waiting.callback("old"))
        await manager.delete_session(session_id)
        await say(manager, "a", clock)
        assert await waiting.until(1) == ["old"]
        assert waiting.unsaved == ["old"]


async def test_want_change_made_during_the_save_is_told_by_the_next(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """A commit that began before a message does not confirm it."""
    async with journalled(sessions_dir, clock, fs) as (manager, saver):
        waiting = Waiting()
        gate = fs.block("sync_data")
        session_id = await say(manager, "a", clock)
        saver.want(session_id, waiting.callback("first"))
        await wait_in_thread(gate.reached)
        told: list[list[str]] = []
        fs.on(lambda name, _: told.append(list(waiting.told)) if name == "sync_data" else None)
        await say(manager, "a", clock)
        saver.want(session_id, waiting.callback("second"))
        gate.opened.set()
        assert await waiting.until(2) == ["first", "second"]
        assert told == [["first"]]


async def test_want_session_that_cannot_be_saved_is_told_when_it_can(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused save is not a saved one; it is tried again, and others do not wait for it."""
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    monkeypatch.setattr("miniclaw.session.persistence.RETRY_SECONDS", 0.05)
    async with saving(sessions_dir, clock) as (manager, saver):
        waiting = Waiting()
        bad, good = await say(manager, "bad", clock), await say(manager, "good", clock)
        (sessions_dir / ".quarantine").touch()  # there is no room for what stands in its place
        os.mkdir(sessions_dir / "web_bad.json")
        saver.want(bad, waiting.callback("bad"))
        saver.want(good, waiting.callback("good"))
        assert await waiting.until(1) == ["good"]
        while not logs.named("Session could not be saved; it stays in memory for the next try"):
            await trio.testing.wait_all_tasks_blocked()
        assert "bad" not in waiting.told
        (sessions_dir / ".quarantine").unlink()
        assert await waiting.until(2) == ["bad", "good"]
    assert RETRY_SECONDS >= 1  # a disk that refuses is not asked without rest


async def test_settle_saves_what_is_wished_for_at_once(sessions_dir: Path, clock: WallClock) -> None:
    """At the end nobody has to wait for the next go."""
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_store(sessions_dir) as store:
            manager = SessionManager(store, clock=clock)
            saver = PromptSaver(manager)
            waiting = Waiting()
            saver.want(await say(manager, "a", clock), waiting.callback("a"))
            await saver.settle()
            assert waiting.told == ["a"]
            assert repr(saver) == "<PromptSaver wishes=0 whole=0>"


class _Disk:
    """A manager that has no journal, and whose saves fail, hang or succeed as the test says."""

    def __init__(self) -> None:
        self.saved: set[str] = set()
        self.failing: set[str] = set()
        self.hangs: trio.Event | None = None
        self.saver = self.committer = self

    def watch_save(self, session_id: str) -> Callable[[], SaveState]:
        return lambda: "saved" if session_id in self.saved else "unsaved"

    async def commit(self, session_ids: set[str]) -> bool:
        return True

    async def save_sessions(self, session_ids: set[str]) -> None:
        if self.hangs is not None:
            await self.hangs.wait()
        self.saved |= session_ids - self.failing


class _Steps(trio.abc.Instrument):
    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += ".PromptSaver." in task.name


async def _steps_of_saver(count: int = 100) -> int:
    """Return how often the saver runs while another task runs this often."""
    steps = _Steps()
    trio.lowlevel.add_instrument(steps)
    for _ in range(count):
        await trio.lowlevel.checkpoint()
    trio.lowlevel.remove_instrument(steps)
    return steps.count


@asynccontextmanager
async def _saver_on(disk: _Disk) -> AsyncIterator[PromptSaver]:
    saver = PromptSaver(cast("SessionManager", disk))
    async with trio.open_nursery() as nursery:
        await nursery.start(saver.run)
        yield saver
        nursery.cancel_scope.cancel()


async def _fail_once(saver: PromptSaver, disk: _Disk, clock: MockClock) -> None:
    disk.failing = {"a"}
    saver.want("a", lambda _: None)
    await wait_all_tasks_blocked()
    clock.jump(1)
    await wait_all_tasks_blocked()
    disk.failing = set()


async def test_saver_sleeps_while_a_retried_save_hangs(mock_clock: MockClock) -> None:
    """A disk that hangs costs no processor time."""
    disk = _Disk()
    async with _saver_on(disk) as saver:
        await _fail_once(saver, disk, mock_clock)
        disk.hangs = trio.Event()
        mock_clock.jump(RETRY_SECONDS)
        await wait_all_tasks_blocked()
        assert repr(saver) == "<PromptSaver wishes=1 whole=1>"
        assert await _steps_of_saver() == 0
        disk.hangs.set()
        await wait_all_tasks_blocked()
        assert disk.saved == {"a"}


async def test_saver_gives_up_a_round_that_hangs_and_saves_others(mock_clock: MockClock) -> None:
    """One hung file costs the other sessions that are saved as a whole one round, not all."""
    disk = _Disk()
    async with _saver_on(disk) as saver:
        disk.hangs = trio.Event()
        saver.want("a", lambda _: None)
        await wait_all_tasks_blocked()
        disk.hangs = None
        saver.want("b", lambda _: None)
        for seconds in (ROUND_SECONDS, MAX_REST_SECONDS):
            assert disk.saved == set()
            mock_clock.jump(seconds)
            await wait_all_tasks_blocked()
        assert disk.saved == {"b"}


async def test_saver_forgets_the_retry_of_a_session_that_the_autosave_saved(mock_clock: MockClock) -> None:
    """The time of a retry that nothing waits for any more does not keep the saver awake."""
    disk = _Disk()
    async with _saver_on(disk) as saver:
        await _fail_once(saver, disk, mock_clock)
        disk.saved.add("a")
        saver.want("b", lambda _: None)
        await wait_all_tasks_blocked()
        mock_clock.jump(1)
        await wait_all_tasks_blocked()
        assert disk.saved == {"a", "b"}
        mock_clock.jump(RETRY_SECONDS)
        await wait_all_tasks_blocked()
        assert await _steps_of_saver() == 0
