"""A running runtime whose journal has live records of its sessions, and its crash at any moment."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from miniclaw.session.entries import StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.journal.records import JOURNAL_NAME, live_records, read_segment
from miniclaw.session.manager import SessionManager
from miniclaw.session.names import file_name
from miniclaw.session.operations.operations import SessionOperations
from miniclaw.session.removal.transaction import Removal
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.runtime import SessionRuntime, open_runtime
from miniclaw.session.types import Message
from tests.fakes.os_calls import FaultyOs


class LiveJournal:
    """The sessions of a runtime, and what the next process would make of them after a crash.

    Args:
        runtime: The runtime; its autosave does not come within a test.
        fs: Its system calls.
    """

    def __init__(self, runtime: SessionRuntime, fs: FaultyOs) -> None:
        self.fs = fs
        self.path = runtime.sessions_dir
        self.manager: SessionManager = runtime.manager
        self.operations: SessionOperations = runtime.operations(by="command")
        self._crashes = 0

    def file(self, session_id: str) -> Path:
        """Return the path of a session's file."""
        return self.path / file_name(session_id)

    async def say(self, session_id: str, *texts: str) -> None:
        """Add messages, which the journal has and the file may lack when this returns."""
        channel, _, chat_id = session_id.partition("_")
        await self.manager.get_or_create_session(channel, chat_id)
        for text in texts:
            await self.manager.add_message(session_id, Message("user", text, datetime.now(UTC)), durable=True)

    async def save(self, session_id: str, *texts: str) -> None:
        """Add messages and save them: the file and live records of the journal have them all.

        The journal does not know yet that the file is written: that comes with the next commit.
        """
        await self.say(session_id, *texts)
        await self.manager.save_sessions(self.manager.dirty_sessions())
        assert self.records(session_id) >= len(texts)

    async def evict(self, *session_ids: str) -> None:
        """Load others, so that the clean sessions leave memory; at most one stays there."""
        await self.manager.get_or_create_session("web", "other")
        await self.manager.save_sessions(self.manager.dirty_sessions())
        await self.manager.get_or_create_session("web", "last")
        await self.manager.save_sessions(self.manager.dirty_sessions())
        assert not any(self.manager.live(each) for each in session_ids)

    def records(self, session_id: str, at: Path | None = None) -> int:
        """Return the number of live records of a session."""
        segments = sorted(((at or self.path) / JOURNAL_NAME).iterdir())
        records = [record for segment in segments for record in read_segment(segment.read_bytes())[0]]
        return len(live_records(records).get(session_id, ()))

    def row(self, session_id: str) -> StoredSession:
        """Return a session as a scan lists it."""
        with SessionDirectory.open(self.path) as directory:
            return directory.find(session_id)

    async def clean_up(self, session_id: str) -> Removal:
        """Remove a session as the daily cleanup does."""
        rows = [self.row(session_id)]
        (removal,) = await self.manager.remover.remove(rows, lambda _: True, late=lambda _: None)
        return removal

    def crash(self) -> Path:
        """Return a copy of the directory as the disk has it now."""
        self._crashes += 1
        copy = self.path.parent / f"crash-{self._crashes}"
        shutil.copytree(self.path, copy, ignore=shutil.ignore_patterns(".lock"))
        copy.chmod(0o700)
        return copy


@asynccontextmanager
async def open_live(tmp_path: Path) -> AsyncIterator[LiveJournal]:
    """Run a runtime with at most one clean session in memory, and with a trash."""
    fs, policy = FaultyOs(), RetentionPolicy(trash_for=timedelta(days=7))
    async with open_runtime(
        tmp_path / "sessions", policy=policy, cleanup_interval_seconds=None, max_live_sessions=1, fs=fs
    ) as runtime:
        runtime.manager.on_overfull = lambda: None  # memory is too full at once, and a save for it would come any time
        yield LiveJournal(runtime, fs)


async def texts_after(crash: Path, session_id: str) -> list[str] | None:
    """Start anew after a crash; return what the messages of a session say, None if there is no such session."""
    async with open_runtime(crash, cleanup_interval_seconds=None) as runtime:
        session = await runtime.manager.get_session(session_id)
        return None if session is None else [message.content for message in session.messages]


def quarantined(path: Path) -> list[str]:
    """Return the names of the files in quarantine."""
    folder = path / ".quarantine"
    return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


def watched_voids(directory: SessionDirectory) -> list[str]:
    """Return a list that gets the names of the files whose records are made to count no more."""
    voided: list[str] = []
    directory.void = voided.extend
    return voided
