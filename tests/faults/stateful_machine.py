"""What can happen to the runtime of the stateful tests: its steps, each of which a model carries out as well."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
import trio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from miniclaw.errors import (
    CorruptSessionError,
    SessionExistsError,
    SessionFileError,
    SessionNotFoundError,
    StoreError,
    TrashEntryNotFoundError,
)
from miniclaw.session.names import file_name
from miniclaw.session.retention.policy import RetentionPolicy
from tests.fakes.chat_model import TTL, Chat, File, Odd, State, make_odd, write_file
from tests.fakes.logs import LogRecorder
from tests.fakes.modelled_runtime import CHATS, ModelledRuntime
from tests.fakes.poor_os import PoorFileSystem
from tests.fakes.snapshots import SnapshotOs

TICK = timedelta(seconds=30)
DURING = ("nothing", "tick", "cleanup", "delete", "message", "confirm", "restore", "time_passes", "restart")
"""What a crash comes in the middle of."""

chats = st.sampled_from([f"{channel}_{chat_id}" for channel, chat_id in CHATS])


class Runtimes(ModelledRuntime, RuleBasedStateMachine):
    """What can happen to it."""

    def __init__(self) -> None:
        RuleBasedStateMachine.__init__(self)
        ModelledRuntime.__init__(self)
        self.steps_since_crash = 0

    def teardown(self) -> None:
        self.end()

    @invariant()
    def disk_and_memory_are_as_the_model_says(self) -> None:
        self.counts["steps"] += 1
        self.steps_since_crash += 1
        self.check()

    # Use --------------------------------------------------------------------------------------------------------

    @rule(session_id=chats)
    def message(self, session_id: str) -> None:
        chat, text = self.chats[session_id], f"m{next(self.numbers)}"
        if isinstance(chat.file, Odd):
            if chat.file.kind != "corrupt":
                self.evidence.discard(chat.file.data)  # it has a time of its own in quarantine, or leads elsewhere
            chat.file = None  # the evidence is in quarantine from now on
            self.counts["quarantined"] += 1
        chat.use(self.wall.now, self.true)
        chat.use(self.wall.now, self.true, text)
        self.same(self.trio.run(lambda: self.say(session_id, text)), session_id)

    @rule(session_id=chats)
    def access(self, session_id: str) -> None:
        chat = self.chats[session_id]
        if isinstance(chat.file, Odd):
            kind = CorruptSessionError if chat.file.kind == "corrupt" else SessionFileError
            with pytest.raises(kind):
                self.trio.run(lambda: self.runtime.manager.get_session(session_id))
            return
        session = self.trio.run(lambda: self.runtime.manager.get_session(session_id))
        assert (session is None) == (chat.now is None)
        if session is not None:
            chat.use(self.wall.now, self.true)
            self.same(session, session_id)

    @rule(session_id=chats)
    def confirm(self, session_id: str) -> None:
        """What is confirmed survives a crash, though the file lacks it."""
        chat = self.chats[session_id]
        if chat.now is None:
            with pytest.raises(StoreError):
                self.trio.run(lambda: self.runtime.manager.durable(session_id))
        else:
            self.trio.run(lambda: self.runtime.manager.durable(session_id))
            chat.confirm()
            self.counts["confirmed"] += bool(chat.unsaved)

    @rule(session_id=chats)
    def ask_whether_expired(self, session_id: str) -> None:
        async def ask() -> bool:
            return await self.runtime.manager.is_session_expired(session_id)

        chat = self.chats[session_id]
        if chat.now is None:
            with pytest.raises(StoreError):
                self.trio.run(ask)
        else:
            is_expired = self.trio.run(ask)
            assert chat.is_expired(chat.now, self.true) or not is_expired
            assert is_expired == chat.is_expired(chat.now, self.true) or not self.exact

    @rule(session_id=chats)
    def delete(self, session_id: str) -> None:
        async def delete() -> int:
            return (await self.runtime.manager.delete_session(session_id)).bytes_freed

        chat = self.chats[session_id]
        if isinstance(chat.file, Odd):
            with pytest.raises(SessionFileError):
                self.trio.run(delete)
        elif chat.now is None:
            with pytest.raises(SessionNotFoundError):
                self.trio.run(delete)
        else:
            is_saved_first = chat.unsaved and self.runtime.manager.store.journal.holds(file_name(session_id))
            size = self.path(session_id).stat().st_size if chat.file else 0
            freed = self.trio.run(delete)
            assert freed == size or is_saved_first or self.policy.trash_for is not None
            self.gone(chat)

    @rule(session_id=chats, pinned=st.booleans())
    def pin(self, session_id: str, pinned: bool) -> None:
        async def pin() -> bool:
            return await self.runtime.manager.set_pinned(session_id, pinned)

        chat = self.chats[session_id]
        if chat.now is None:
            with pytest.raises(StoreError):
                self.trio.run(pin)
        else:
            assert self.trio.run(pin) == chat.pin(pinned, self.true)

    @rule(session_id=chats)
    def restore(self, session_id: str) -> None:
        """What comes back is the one removed last; it counts as used now, and nothing that is there gives way."""

        async def restore() -> str:
            return await self.runtime.manager.restore_session(session_id)

        chat, entries = self.chats[session_id], self.look_into_trash(session_id)
        if not entries or chat.now or chat.file:
            with pytest.raises(SessionExistsError if entries else TrashEntryNotFoundError):
                self.trio.run(restore)
            return
        assert self.trio.run(restore) == session_id
        (came,) = entries.keys() - self.look_into_trash(session_id).keys()
        removed_at, state = entries[came]
        assert removed_at == max(when for when, _ in entries.values())
        chat.trashed[state] -= 1
        chat.found(chat.came(state._replace(last_used=self.wall.now), self.true, self.true))
        self.counts["restored"] += 1

    # Time -------------------------------------------------------------------------------------------------------

    @rule()
    def tick(self) -> None:
        self.trio.advance(TICK)
        self.saved()

    @rule(by=st.sampled_from([timedelta(hours=5), timedelta(days=1), timedelta(days=16), TTL, timedelta(days=31)]))
    def time_passes(self, by: timedelta) -> None:
        self.trio.advance(by)
        self.saved()

    @rule(days=st.sampled_from([-400, -31, -1, 1, 29, 30, 31]))
    def wall_clock_jumps(self, days: int) -> None:
        self.wall.jump(days=days)
        self.exact = False

    @rule()
    def cleanup(self) -> None:
        """One that is ordered: it waits for no notice."""
        may_go = self.may_be_ordered_to_go()
        result = self.trio.run(self.runtime.cleanup.run)
        gone = [chat for session_id, chat in may_go.items() if not self.path(session_id).exists()]
        assert result.sessions_deleted == len(gone)
        assert len(gone) == len(may_go) or not self.exact
        for chat in gone:
            self.gone(chat)
        self.counts["removed"] += len(gone)

    def may_be_ordered_to_go(self) -> dict[str, Chat]:
        """Return the chats whose sessions a cleanup removes that is ordered now."""
        return {
            session_id: chat
            for session_id, chat in self.chats.items()
            if chat.now and not chat.unsaved and chat.is_expired(chat.now, self.true)
        }

    @rule(session_id=chats)
    def message_during_a_cleanup(self, session_id: str) -> None:
        """Whichever comes first, the message is kept, and so is what was there unless it was expired."""
        chat, text = self.chats[session_id], f"m{next(self.numbers)}"
        if isinstance(chat.file, Odd):
            return
        before, sessions, may_go = chat.now, [], self.may_be_ordered_to_go()

        async def both() -> None:
            async def say() -> None:
                sessions.append(await self.say(session_id, text))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.runtime.cleanup.run)
                nursery.start_soon(say)

        self.trio.run(both)
        if self.policy.trash_for is not None and self.states_in_trash(session_id) != +chat.trashed:
            assert before is not None
            assert chat.is_expired(before, self.true)
            chat.trashed[before] += 1
        if before and len(sessions[0].messages) == 1 and before.said:
            assert chat.is_expired(before, self.true)
            chat.now = None
        if chat.file and not self.path(session_id).exists():
            chat.file = None
        chat.use(self.wall.now, self.true)
        chat.use(self.wall.now, self.true, text)
        self.same(sessions[0], session_id)
        sessions.clear()
        for other in may_go.keys() - {session_id}:  # one that is ordered waits for no notice
            if not self.path(other).exists():
                self.gone(self.chats[other])
        self.note_removals()

    # Ends -------------------------------------------------------------------------------------------------------

    @rule()
    def restart(self) -> None:
        self.close()
        for session_id, chat in self.chats.items():
            assert self.look(session_id) == chat.file, f"{session_id} was not saved at the end"
        self.open()
        self.note_removals()

    @rule(off=st.sampled_from([timedelta(hours=5), timedelta(days=3)]))
    def reboot(self, off: timedelta) -> None:
        self.close()
        self.wall.reboot(off=off)
        self.off += off + timedelta(hours=1)
        self.exact = self.exact and off < timedelta(days=1)
        self.open()
        self.note_removals()

    @precondition(lambda self: self.steps_since_crash > 4)  # so that there is something to lose, and for speed
    @rule(
        during=st.sampled_from(DURING),
        session_id=chats,
        call=st.integers(1, 40),
        again=st.integers(0, 20),
        loses_unsynced=st.booleans(),
    )
    def crash(self, during: str, session_id: str, call: int, again: int, *, loses_unsynced: bool) -> None:
        """At one system call of an operation, and maybe again at one of the start that follows."""
        before = {name: chat.may_be_on_disk() for name, chat in self.chats.items()}
        trash_before = {name: +chat.trashed for name, chat in self.chats.items()}
        self.steps_since_crash = 0
        copy = self.copy_before(call, loses_unsynced=loses_unsynced)
        match during:
            case "delete" | "message" | "confirm" | "restore":
                getattr(self, during)(session_id)
            case "time_passes":
                self.time_passes(timedelta(days=31))
            case "tick" | "cleanup" | "restart":
                getattr(self, during)()
        after = {name: chat.may_be_on_disk() for name, chat in self.chats.items()}
        trash_after = {name: +chat.trashed for name, chat in self.chats.items()}
        self.go_on_with(copy)
        if again:
            copy = self.copy_before(again, loses_unsynced=loses_unsynced)
            self.open()
            self.go_on_with(copy)
        self.open()
        for name, chat in self.chats.items():
            found = self.look(name)
            possible = before[name] | after[name]
            gone = found is None and any(
                isinstance(file, State) and chat.is_expired(file, self.true) for file in possible
            )
            assert gone or found in possible, f"{name} was {possible}, and is {found}"
            chat.found(found)
            self.note_trash(name, possible, trash_before[name], trash_after[name])

    def note_trash(self, name: str, possible: set[File], before: Counter[State], after: Counter[State]) -> None:
        """What the trash had, it has; and whatever a session that was somewhere is not there any more, is in it."""
        chat = self.chats[name]
        chat.trashed = self.states_in_trash(name)
        if self.policy.trash_for is None:
            return
        assert chat.trashed >= before & after
        new = chat.trashed - (before | after)
        assert all(state in possible for state in new), f"{new} is new in the trash, of {possible}"
        if chat.file is None and None not in possible:
            assert any(state in chat.trashed for state in possible), f"{name} was {possible}, and is nowhere"

    @rule(
        session_id=chats,
        edit=st.sampled_from(["deleted", "corrupt", "corrupt", "mismatched", "link", "older", "newer"]),
    )
    def foreign_edit(self, session_id: str, edit: str) -> None:
        """Another program changes a file, while the session is not in memory."""
        absent = [name for name in self.chats if name not in self.runtime.manager._memory]
        if session_id not in absent:
            if not absent:
                return
            session_id = absent[0]
        chat, number, now = self.chats[session_id], next(self.numbers), self.wall.now
        old = chat.now or State((), now)
        file: File = None
        match edit:
            case "older":
                file = State(old.said[:-1], old.last_used - timedelta(days=20))
                # Where the clock was set, nobody can say when such a stamp was made.
                before = chat.used.get(old, self.true)
                used = before - timedelta(days=20) if self.exact else -timedelta(days=9999)
                chat.came(file, self.true, used)
            case "newer":
                file = State((*old.said, f"f{number}"), now - timedelta(hours=1))
                chat.came(file, self.true, self.true - timedelta(hours=1))
            case "corrupt" | "mismatched" | "link":
                file = make_odd(edit, number, now)
        if isinstance(chat.file, Odd):
            self.evidence.discard(chat.file.data)  # that was not the runtime
        if isinstance(file, Odd):
            self.evidence.add(file.data)
        write_file(self.path(session_id), session_id, file)
        chat.found(file)
        self.counts["edits"] += 1


class PoorSnapshotOs(PoorFileSystem, SnapshotOs):
    """A file system that can little more than rename, of which copies are made."""


def machine_over(root: Path, logs: LogRecorder, *, trash_for: timedelta | None, is_poor: bool) -> type[Runtimes]:
    """Return the machine, with its workspaces below a directory.

    Args:
        root: The directory.
        logs: What is logged.
        trash_for: How long what is removed is kept.
        is_poor: Whether the file system lacks all that one can lack.
    """
    # What lies in quarantine stays: the machine looks whether anything that cannot be read is ever deleted.
    policy = RetentionPolicy(trash_for=trash_for, quarantine_for=None)
    fields: dict[str, object] = {
        "policy": policy, "root": root, "logs": logs, "counts": Counter(), "numbers": itertools.count(),
        "make_fs": staticmethod(PoorSnapshotOs if is_poor else SnapshotOs),
    }  # fmt: skip
    return type("Machine", (Runtimes,), fields)
