"""A runtime over real files and threads, and the model that it is compared with."""

from __future__ import annotations

import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import trio

from miniclaw.session.names import file_name
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.runtime import SessionRuntime, open_runtime
from miniclaw.session.types import Message, Session
from tests.fakes.chat_model import Chat, File, Odd, State, read_file, state_of
from tests.fakes.clock import WallClock
from tests.fakes.folders import trash_in
from tests.fakes.hand_clock import TrioThread
from tests.fakes.logs import LogRecorder
from tests.fakes.snapshots import SnapshotOs
from tests.fakes.work_folder import left_in_work

# One has capitals, so that its file has a digest in its name, and differs from another one in case only. More than the two
# that may stay in memory.
CHATS = [("web", "a"), ("web", "b"), ("web", "B"), ("telegram", "1")]

# What the runtime may say at ERROR, and only about something unreadable that lies about.
LEGITIMATE = {
    "Session could not be read; begun anew",
    "Session file kept, it cannot be judged",
    "More session files cannot be judged",
}


class ModelledRuntime:
    """One workspace, and the runtime on it, from start to start."""

    root: ClassVar[Path]
    logs: ClassVar[LogRecorder]
    counts: ClassVar[dict[str, int]]
    numbers: ClassVar[itertools.count[int]]
    policy: ClassVar[RetentionPolicy]
    make_fs: ClassVar[Callable[[], SnapshotOs]]

    def __init__(self) -> None:
        self.wall = WallClock(datetime(2090, 11, 23, 12, 0, tzinfo=UTC))  # long after the first release, whatever jumps
        self.off = timedelta(0)  # the time for which the machine was off
        self.exact = True  # the clock was never set, and no gap is unknown: what is expired is known to the microsecond
        self.trio = TrioThread(self.wall)
        self.chats = {f"{channel}_{chat_id}": Chat() for channel, chat_id in CHATS}
        self.evidence: set[bytes] = set()  # contents that must never vanish
        self.counts["examples"] += 1
        self.logs.events.clear()
        self.directory = self.root / str(next(self.numbers))
        self.fs = type(self).make_fs()
        self.open()

    def end(self) -> None:
        try:
            self.close()
        finally:
            self.trio.stop()
            shutil.rmtree(self.directory)

    def open(self) -> None:
        async def hold(directory: Path, *, task_status: trio.TaskStatus[SessionRuntime]) -> None:
            self.closing, self.closed = trio.Event(), trio.Event()
            async with open_runtime(
                directory, policy=self.policy, clock=self.wall, fs=self.fs, max_live_sessions=2
            ) as runtime:
                task_status.started(runtime)
                await self.closing.wait()
            self.closed.set()

        async def start() -> SessionRuntime:
            runtime: SessionRuntime = await self.trio.nursery.start(hold, self.directory)
            return runtime

        self.runtime = self.trio.run(start)

    def close(self) -> None:
        async def close() -> None:
            self.closing.set()
            await self.closed.wait()

        self.trio.run(close)
        for chat in self.chats.values():
            chat.save()

    @property
    def true(self) -> timedelta:
        """The true time, since the beginning."""
        return timedelta(seconds=self.trio.seconds) + self.off

    # Looking ----------------------------------------------------------------------------------------------------

    def path(self, session_id: str) -> Path:
        return self.directory / file_name(session_id)

    def look(self, session_id: str) -> File:
        return read_file(self.path(session_id), session_id)

    def note_removals(self) -> None:
        """Take over what a cleanup of the runtime's own may have removed; it must have been expired."""
        dirty = self.runtime.manager.dirty_sessions()
        for session_id, chat in self.chats.items():
            if chat.now and session_id not in dirty and not self.path(session_id).exists():
                assert chat.may_go_by_itself(chat.now, self.true), (
                    f"{session_id} was in use, or not announced: {chat.now}"
                )
                self.gone(chat)
                self.counts["removed"] += 1

    def gone(self, chat: Chat) -> None:
        chat.removed(to_trash=self.policy.trash_for is not None)

    def look_into_trash(self, session_id: str) -> dict[str, tuple[datetime, State]]:
        """Return what the trash has of a session, by its entries: when each was removed, and what it says."""
        if self.policy.trash_for is None:
            return {}
        trash = trash_in(self.directory)
        return {
            entry.id: (entry.removed_at, state_of(json.loads(trash.read(entry.id))))
            for entry in trash.find_all(session_id)
        }

    def states_in_trash(self, session_id: str) -> Counter[State]:
        return Counter(state for _, state in self.look_into_trash(session_id).values())

    def note_saves(self) -> None:
        """Take over what was saved because memory was overfull, maybe in the middle of a step."""
        dirty = self.runtime.manager.dirty_sessions()
        for session_id, chat in self.chats.items():
            if session_id not in dirty:
                chat.save()
            elif (file := self.look(session_id)) != chat.file:
                assert file in chat.unsaved
                chat.file = file
        assert all(self.chats[session_id].unsaved for session_id in dirty)

    def saved(self) -> None:
        assert not self.runtime.manager.dirty_sessions(), [*self.logs.events, self.runtime.manager]
        for chat in self.chats.values():
            chat.save()
        self.note_removals()

    def check(self) -> None:
        self.note_saves()
        for session_id, chat in self.chats.items():
            assert self.look(session_id) == chat.file, session_id
            assert self.states_in_trash(session_id) == +chat.trashed, session_id
        assert not left_in_work(self.directory)
        quarantine = self.directory / ".quarantine"
        kept = {path.read_bytes() for path in quarantine.glob("*") if path.is_file()}
        kept |= {chat.file.data for chat in self.chats.values() if isinstance(chat.file, Odd)}
        assert self.evidence <= kept, "something unreadable was deleted"
        errors = [event for event in self.logs.events if event["level"] == "error"]
        self.logs.events.clear()
        assert all(event["event"] in LEGITIMATE for event in errors), errors

    def same(self, session: Session, session_id: str) -> None:
        said = tuple(message.content for message in session.messages)
        state = State(said, session.last_accessed, session.pinned)
        assert (session.session_id, state) == (session_id, self.chats[session_id].now)

    async def say(self, session_id: str, text: str) -> Session:
        channel, _, chat_id = session_id.partition("_")
        await self.runtime.manager.get_or_create_session(channel, chat_id)
        return await self.runtime.manager.add_message(session_id, Message("user", text, self.wall.now))

    def copy_before(self, call: int, *, loses_unsynced: bool) -> Path:
        copy = self.root / str(next(self.numbers))
        self.fs.copy_before(call, self.directory, copy, loses_unsynced=loses_unsynced)
        return copy

    def go_on_with(self, copy: Path) -> None:
        self.fs.copy_now()
        self.close()  # what it still saves is in the other directory
        shutil.rmtree(self.directory)
        self.directory = copy
        self.counts["crashes"] += 1
