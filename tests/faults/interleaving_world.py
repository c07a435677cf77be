"""What the actors of the runtime's interleavings do, and what has to be true after each run."""

from __future__ import annotations

from collections.abc import Callable

import trio
import trio.testing

from miniclaw.errors import RuntimeClosedError, SessionNotFoundError
from miniclaw.session.cleanup import Cleanup
from miniclaw.session.format import codec
from miniclaw.session.live.entry import SaveState
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.removal.transaction import Removal
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.threads import PATIENCE_SECONDS
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.moments import ages_at
from tests.fakes.work_folder import left_in_work
from tests.faults.interleaving import Stage

ID = "telegram_1"
MOVED_ID = "slack_U9"
OLD = "hello from 1"


class World:
    """A store, its manager, and what the actors do; one session lies there that nobody used for 40 days."""

    def __init__(
        self, manager: SessionManager, store: FileSessionStore, cleanup: Callable[[], Cleanup], clock: WallClock
    ) -> None:
        self.manager = manager
        self.directory = store.directory
        self._trash = store.trash
        self.clock = clock
        self._cleanup = cleanup
        self.accepted: list[tuple[str, Callable[[], SaveState]]] = []  # messages, and what became of them
        self.late: list[Removal] = []  # outcomes of removals whose caller had left
        self.live = False  # somebody has been given the session, and nobody has asked to delete it

    async def chat(self, stage: Stage) -> list[str]:
        """Write a message, as a channel does; return all that is in the session then."""
        await self.manager.get_or_create_session("telegram", "1")
        self.live = True
        await stage.stop()
        session = await self.manager.add_message(ID, self.message("new"))
        return [message.content for message in session.messages]

    async def say(self, stage: Stage) -> list[str]:
        """Say two things, as a channel does that wants to hear what is saved; return what was accepted."""
        for content in ("one", "two"):
            try:
                await self.manager.add_message(ID, self.message(content))
            except (SessionNotFoundError, RuntimeClosedError):
                break
            self.accepted.append((content, self.manager.watch_save(ID)))
            await stage.stop()
        return [content for content, _ in self.accepted]

    async def end(self, stage: Stage) -> tuple[str, ...]:
        """End the manager as the runtime does; return what it says is not saved."""
        self.manager.close()
        await self.manager.drain()
        await self.manager.saver.flush()
        return self.manager.seal()

    async def wait_no_longer(self, stage: Stage) -> None:
        """Have nobody wait for a removal any more."""
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(PATIENCE_SECONDS)

    async def remove(self, stage: Stage) -> str:
        """Remove the expired session; return what became of it, by what its caller is told."""
        row = (await self._cleanup().plan()).removals[0].session
        removals = await self.manager.remover.remove(
            [row], lambda session: RetentionPolicy().is_expired(session, ages_at(self.clock.now)), late=self.late.extend
        )
        return removals[0].outcome

    async def save(self, stage: Stage) -> tuple[int, tuple[str, ...]]:
        report = await self.manager.save_all_sessions()
        return report.saved, report.failed

    async def cleanup(self, stage: Stage) -> int:
        result = await self._cleanup().run()  # each time another one: one alone refuses to run twice
        assert result.failed == result.corrupt == result.unreadable == 0
        return result.sessions_deleted

    async def delete(self, stage: Stage) -> int:
        self.live = False
        return (await self.manager.delete_session(ID)).bytes_freed

    async def move(self, stage: Stage) -> str:
        """Move the session to another chat."""
        self.live = False
        await self.manager.move_session(ID, MOVED_ID)
        return MOVED_ID

    async def restore(self, stage: Stage) -> str:
        return await self.manager.restore_session(ID)

    async def look(self, stage: Stage) -> bool:
        """Ask for the session again and again; return whether it was ever absent while it was live."""
        absent = False
        for _ in range(2):
            live = self.live
            absent |= live and await self.manager.get_session(ID) is None
            await stage.stop()
        return absent

    def message(self, content: str) -> Message:
        return Message("user", content, self.clock.now)

    async def be_idle(self) -> None:
        """Have the session in memory, saved, and not used for 40 days."""
        now, self.clock.now = self.clock.now, self.clock.ago(days=40)
        await self.manager.get_or_create_session("telegram", "1")
        await self.manager.save_all_sessions()
        self.clock.now = now

    async def be_unsaved(self) -> None:
        """Have the session in memory with a new message, over an old file."""
        await self.manager.add_message(ID, self.message("unsaved"))
        self.live = True

    async def be_unsaved_and_old(self) -> None:
        """The same, but the message is 40 days old: a disk that was full for so long."""
        now, self.clock.now = self.clock.now, self.clock.ago(days=40)
        await self.be_unsaved()
        self.clock.now = now

    async def be_trashed(self) -> None:
        """Have the session in the trash, and nothing in its place."""
        await self.manager.delete_session(ID)

    async def be_trashed_and_anew(self) -> None:
        """Have the session in the trash, and a new one in its place, saved."""
        await self.be_trashed()
        await self.manager.get_or_create_session("telegram", "1")
        await self.manager.add_message(ID, self.message("anew"))
        await self.manager.save_all_sessions()

    def trashed(self) -> list[list[str]]:
        """Return what the sessions in the trash say, the oldest entry first; each has to be whole."""
        sessions = [codec.decode_session(self._trash.read(entry.id)) for entry in self._trash.entries()]
        return [[message.content for message in session.messages] for session in sessions]

    async def contents(self, session_id: str = ID) -> list[str] | None:
        """Return what a session says, in memory and on disk; check that all is in order."""
        await self.manager.save_all_sessions()
        assert "held=[]" in repr(self.manager)
        assert self.manager.dirty_sessions() == []
        assert left_in_work(self.directory.path) == []
        in_memory = self.manager._memory.find(session_id)
        try:
            on_disk = self.directory.load(session_id)
        except SessionNotFoundError:
            assert in_memory is None
            return None
        assert in_memory is None or in_memory.session == on_disk
        return [message.content for message in on_disk.messages]
