"""Messages, commits, saves and removals beside a running committer, in every order, with a crash before each choice.

The committing threads are actors as well: ``commit``, and ``commit'`` beside one that hangs. The lock of a segment is a
stop, and who waits for it is not to be chosen. Before each choice nothing moves, and the directory is what a crash
leaves; `Crashes` starts anew in each such state that it has not met yet, and compares with `Told`.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import trio
import trio.testing

from miniclaw.errors import NotConfirmedError, SessionNotFoundError
from miniclaw.session.disk.syscalls import Bytes
from miniclaw.session.journal import journal
from miniclaw.session.journal.records import JOURNAL_NAME, SEGMENT_SUFFIX
from miniclaw.session.live.store import FileSessionStore, open_store
from miniclaw.session.manager import SessionManager
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.types import Message, Session
from tests.fakes.chatter import small_segments
from tests.fakes.clock import WallClock
from tests.fakes.patience import PATIENCE_SECONDS
from tests.faults.interleaving import _ACTOR, Level, Outcome, PausingOs, Schedule, Stage, explore, run_tasks, run_trio
from tests.faults.interleaving_crashes import ID, Crashes, Told, texts_of

SEGMENT_BYTES: Final = 4096


class JournalOs(PausingOs):
    """Stops also before each call on a segment, and knows what of the segments a power cut could take.

    Attributes:
        unsynced: Path -> the ranges that were written since the last sync.
    """

    def __init__(self, level: Level) -> None:
        super().__init__(level)
        self.unsynced: dict[str, list[tuple[int, int]]] = {}

    def _stops(self, call: str, args: tuple[Any, ...], descriptors: Iterable[int]) -> bool:
        if call in {"pwrite", "sync_data"} or str(args[0]).endswith(SEGMENT_SUFFIX):
            return True
        if call == "fsync" and _path(args[0]).endswith(JOURNAL_NAME):
            return True
        return super()._stops(call, args, descriptors)

    def pwrite(self, fd: int, data: Bytes, offset: int) -> int:
        count = super().pwrite(fd, data, offset)
        self.unsynced.setdefault(_path(fd), []).append((offset, count))
        return count

    def sync_data(self, fd: int) -> None:
        super().sync_data(fd)
        self.unsynced.pop(_path(fd), None)


def _path(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")


class JournalStage(Stage):
    """A stage whose threads have names of their own, and may wait for a `StagedLock`.

    Args:
        schedule: The choices.
        look: Called before each choice.
    """

    def __init__(self, schedule: Schedule, look: Callable[[], None]) -> None:
        super().__init__(schedule)
        self.look = look  # type: ignore[method-assign]
        self.locks: list[StagedLock] = []
        self._mark = ""

    async def in_thread(self, run_sync: Callable[..., Awaitable[Any]], work: Callable[..., Any], options: Any) -> Any:
        name = f"{_ACTOR.get()}{self._mark}"

        def named_work() -> Any:
            _ACTOR.set(name)
            return work()

        return await super().in_thread(run_sync, named_work, options)

    def waits(self, actor: str) -> None:
        """The thread of an actor waits for something that another one does."""
        self._token.run_sync_soon(self._threads.add, actor)
        self._token.run_sync_soon(self._wake_driver)

    def _wake_driver(self) -> None:
        self._moved.set()  # the present one: each wait has its own

    def can_go_on(self, actor: str, resume: Callable[[], object]) -> None:
        """What it waited for has happened: it may be chosen."""
        self._token.run_sync_soon(self._arrive, actor, resume, True)

    def time_out(self) -> None:
        """Have everybody who waits for a lock with a timeout wait no longer; threads have other names from now on."""
        self._mark += "'"
        for lock in self.locks:
            lock.wake()


class StagedLock:
    """A `threading.Lock` for threads of actors; without a run, a lock as any other."""

    def __init__(self, stage: JournalStage, fs: PausingOs) -> None:
        self._fs = fs
        self._lock = threading.Lock()
        self._stage = stage
        self._guard = threading.Lock()
        self._waiting: list[tuple[str, threading.Semaphore]] = []
        stage.locks.append(self)

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        actor = _ACTOR.get()
        if not blocking or actor is None or self._fs.pause is None:
            return self._lock.acquire(blocking, timeout)
        self._fs.stop()
        with self._guard:
            if self._lock.acquire(blocking=False):
                return True
            go = threading.Semaphore(0)
            self._waiting.append((actor, go))
            self._stage.waits(actor)
        assert go.acquire(timeout=PATIENCE_SECONDS)
        return self._lock.acquire(blocking=False)

    def release(self) -> None:
        self._lock.release()
        self.wake()

    def wake(self) -> None:
        """Let those who wait try again."""
        with self._guard:
            waiting, self._waiting = self._waiting, []
            for actor, go in waiting:
                self._stage.can_go_on(actor, go.release)


class JournalWorld:
    """A manager whose committer runs, and what the actors do with one session.

    Args:
        store: Owned.
        clock: Stands still.
        stage: Where the actors are.
    """

    def __init__(self, store: FileSessionStore, clock: WallClock, stage: JournalStage, told: Told) -> None:
        self.manager = SessionManager(store, clock=clock, policy=RetentionPolicy(trash_for=timedelta(days=30)))
        self.told = told
        self._stage = stage
        self._clock = clock
        self._sessions: list[Session] = []  # one for each life

    # Preparations ---------------------------------------------------------------------------------------------

    async def be_saved(self) -> None:
        """The file has all, and so has an old segment."""
        await self._say("old")
        await self.manager.durable(ID)
        await self.manager.save_all_sessions()
        self.told.keep(0, 1)
        self.manager.store.journal.begin_segment()

    async def be_recorded(self) -> None:
        """The journal has more than the file, in two segments."""
        await self.be_saved()
        await self._say("recorded")
        await self.manager.durable(ID)
        self.told.keep(0, 2)

    async def be_in_the_journal_alone(self) -> None:
        """There is no file yet."""
        await self._say("recorded")
        await self.manager.durable(ID)
        self.told.keep(0, 1)

    # Actors ---------------------------------------------------------------------------------------------------

    async def chat(self, stage: Stage) -> None:
        """Say two things, each acknowledged before the next one."""
        for text in ("one", "two"):
            life, count = await self._say(text)
            with suppress(NotConfirmedError, SessionNotFoundError):
                await self.manager.durable(ID)
                self.told.keep(life, count)
            await stage.stop()

    async def pin(self, stage: Stage) -> None:
        """Pin the session and unpin it, each acknowledged before the other."""
        for pinned in (True, False):
            self.told.pins.add(pinned)
            with suppress(NotConfirmedError, SessionNotFoundError):
                await self.manager.set_pinned(ID, pinned)
                await self.manager.durable(ID)
                self.told.pins = {pinned}
            await stage.stop()

    async def save(self, stage: Stage) -> None:
        """Save it, due or not."""
        await self.manager.save_all_sessions()

    async def tick(self, stage: Stage) -> None:
        """Save what is due, which it is, and delete segments."""
        await self.manager.saver.save_due(30)

    async def commit_due(self, stage: Stage) -> None:
        """The same with a session so large that it is not due: it is committed."""
        await self.manager.saver.save_due(0.001)

    async def flush(self, stage: Stage) -> None:
        """Save all and leave no segment, as at the end."""
        await self.manager.saver.flush()

    async def delete(self, stage: Stage) -> None:
        """Move it to the trash."""
        await self._remove(is_erased=False)

    async def erase(self, stage: Stage) -> None:
        """Delete it for good."""
        await self._remove(is_erased=True)

    async def hang(self, stage: Stage) -> None:
        """Let so much time pass that a commit under way is given up."""
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(journal.WAIT_SECONDS)
        self._stage.time_out()

    async def _remove(self, *, is_erased: bool) -> None:
        self.told.removal, self.told.is_erased = "begun", is_erased
        await self.manager.delete_session(ID, erase=is_erased)
        self.told.removal = "ended"

    async def _say(self, text: str) -> tuple[int, int]:
        """Say something, in whatever life there is; return which it is, and how many texts it has."""
        self.told.saying = text
        while True:
            await self.manager.get_or_create_session("web", "a")
            with suppress(SessionNotFoundError):
                session = await self.manager.add_message(ID, Message("user", text, self._clock.now))
                break
        self.told.saying = ""
        if self._sessions and self._sessions[-1] is not session:
            self.told.lives.append([])
            self.told.sure.append(0)
            self.told.pins = {False}
        if not self._sessions or self._sessions[-1] is not session:
            self._sessions.append(session)
        self.told.lives[-1].append(text)
        return len(self.told.lives) - 1, len(self.told.lives[-1])

    async def end(self) -> None:
        """End as a gateway does: the files have all, and there is no segment."""
        await self.manager.saver.flush()
        assert not list((self.manager.store.directory.path / JOURNAL_NAME).iterdir())
        session = await self.manager.get_session(ID)
        is_gone = self.told.removal and len(self.told.lives) == 1
        assert (None if session is None else texts_of(session)) == (None if is_gone else self.told.lives[-1])


Prepare = Callable[[JournalWorld], Awaitable[None]]


class JournalExplorer:
    """Runs scenarios."""

    def __init__(self, sessions_dir: Path, clock: WallClock, monkeypatch: Any) -> None:
        self._path = sessions_dir
        self._clock = clock
        self._monkeypatch = monkeypatch

    def run(self, name: str, prepare: Prepare, *, preemptions: int | None, level: Level = "shared") -> tuple[int, int]:
        """Run the actors in `name`, which are methods of `JournalWorld`, in all orders.

        Returns:
            How many orders there were, and how many crashes.
        """
        crashes = Crashes(self._path)

        def run(schedule: Schedule) -> None:
            run_trio(lambda: self._run(schedule, name, prepare, level, crashes), self._monkeypatch)
            crashes.check()

        count = explore(run, preemptions=preemptions)
        print(f"{count} interleavings of {name} over {prepare.__name__}, {crashes.count} crashes")
        return count, crashes.count

    async def _run(self, schedule: Schedule, name: str, prepare: Prepare, level: Level, crashes: Crashes) -> None:
        fs, told = JournalOs(level), Told()
        shutil.rmtree(self._path, ignore_errors=True)
        self._path.mkdir(0o700, parents=True)
        stage = JournalStage(schedule, lambda: crashes.note(self._path, fs.unsynced, told))
        with small_segments(SEGMENT_BYTES), _staged(stage, fs):
            async with open_store(self._path, fs=fs) as store:
                fs.shared_fd = store.directory.fd
                world = JournalWorld(store, self._clock, stage, told)
                committer = world.manager.saver.committer
                async with trio.open_nursery() as nursery:
                    _ACTOR.set("commit")  # the new task inherits it
                    self._monkeypatch.setattr(committer, "_prepare", _as_actor("prepare", committer._prepare))
                    await nursery.start(committer.run)
                    _ACTOR.set(None)
                    try:
                        await prepare(world)
                        actors = {actor: getattr(world, actor) for actor in name.split(" x ")}
                        check(await run_tasks(schedule, fs, actors, stage))
                        stage.look()
                        await world.end()
                        stage.look()
                    finally:
                        committer.stop()


def _as_actor(name: str, work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    async def act() -> None:
        _ACTOR.set(name)
        await work()

    return act


def check(outcomes: dict[str, Outcome]) -> None:
    """Raise the error of an actor."""
    for outcome in outcomes.values():
        if isinstance(outcome, BaseException):
            raise outcome


@contextmanager
def _staged(stage: JournalStage, fs: PausingOs) -> Iterator[None]:
    """Have the lock of each segment that is opened meanwhile on the stage."""

    class StagedWriter(journal._Writer):
        def __init__(self) -> None:
            super().__init__()
            self.lock = StagedLock(stage, fs)  # type: ignore[assignment]

    with patch.object(journal, "_Writer", StagedWriter):
        yield
