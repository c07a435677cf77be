"""A backup of the sessions directory while a program writes there, copied as the documentation says."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from miniclaw.session.journal.records import JOURNAL_NAME
from miniclaw.session.manager import SessionManager
from miniclaw.session.runtime import open_runtime
from miniclaw.session.types import Message
from tests.fakes.logs import LogRecorder

QUIET, BUSY = "web_quiet", "web_busy"
MISFIT = "Messages in the journal do not fit their session file, which was changed or deleted; they are in quarantine, "

Step = Callable[[SessionManager], Awaitable[None]]


async def say(manager: SessionManager, session_id: str, text: str) -> None:
    await manager.add_message(session_id, Message("user", text, datetime.now(UTC)), durable=True)


def copy_journal(source: Path, target: Path) -> None:
    shutil.copytree(source / JOURNAL_NAME, target / JOURNAL_NAME)


def copy_files(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(JOURNAL_NAME, ".lock"))


async def busy_moment(manager: SessionManager) -> None:
    """Say more, write all files, and say more again: all that a gateway may do between two steps of a copy."""
    await say(manager, BUSY, "between")
    await manager.save_all_sessions()
    await say(manager, BUSY, "after the files")


async def texts_in(directory: Path, session_id: str) -> list[str]:
    async with open_runtime(directory) as runtime:
        session = await runtime.manager.get_session(session_id)
        assert session is not None
        return [message.content for message in session.messages]


async def back_up(tmp_path: Path, first: Callable[[Path, Path], None], then: Callable[[Path, Path], None]) -> Path:
    """Copy a sessions directory in two steps, with much going on between them; return the copy."""
    source, target = tmp_path / "sessions", tmp_path / "copy"
    target.mkdir(mode=0o700)
    async with open_runtime(source) as runtime:
        manager = runtime.manager
        for chat in ("quiet", "busy"):
            await manager.get_or_create_session("web", chat)
            await say(manager, f"web_{chat}", "one")
            await say(manager, f"web_{chat}", "two")
        first(source, target)
        await busy_moment(manager)
        then(source, target)
    return target


async def test_copy_of_the_journal_and_then_of_the_files_has_all_that_was_confirmed(tmp_path: Path) -> None:
    """What is saved meanwhile is in the files, and the records of the earlier copy are passed over."""
    copy = await back_up(tmp_path, copy_journal, copy_files)
    assert await texts_in(copy, QUIET) == ["one", "two"]
    assert (await texts_in(copy, BUSY))[:3] == ["one", "two", "between"]
    assert not (copy / ".quarantine").exists()


async def test_copy_at_one_moment_has_all_that_was_confirmed(tmp_path: Path) -> None:
    """As a snapshot of the file system: the files lack what the journal has."""

    def all_at_once(source: Path, target: Path) -> None:
        copy_journal(source, target)
        copy_files(source, target)

    copy = await back_up(tmp_path, lambda *_: None, all_at_once)
    assert await texts_in(copy, BUSY) == ["one", "two", "between", "after the files"]


@pytest.mark.parametrize("saved_before", [True, False])
async def test_copy_of_the_files_first_loses_nothing_silently(
    tmp_path: Path, logs: LogRecorder, saved_before: bool
) -> None:
    """The wrong order: what does not fit a file is in quarantine, with an ERROR, and the file is as it was copied."""
    source, target = tmp_path / "sessions", tmp_path / "copy"
    target.mkdir(mode=0o700)
    async with open_runtime(source) as runtime:
        manager = runtime.manager
        await manager.get_or_create_session("web", "busy")
        await say(manager, BUSY, "one")
        await manager.save_all_sessions()
        copy_files(source, target)
        await say(manager, BUSY, "between")
        if saved_before:
            await manager.save_all_sessions()
            await manager.saver.committer.tidy()  # records which file is written
        await say(manager, BUSY, "after the files")
        copy_journal(source, target)
    if saved_before:
        logs.expect_error(MISFIT + "as a session")
    found = await texts_in(target, BUSY)
    assert found == (["one"] if saved_before else ["one", "between", "after the files"])
    assert saved_before == (target / ".quarantine").exists()
