"""The lists of sessions, of the trash and of the history, over a directory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import miniclaw
from miniclaw import Message, SessionRuntime
from miniclaw.session.calls.listing import BATCH
from tests.fakes.clock import WallClock
from tests.fakes.samples import session_dict, write_session


@pytest.fixture
async def sessions(sessions_dir: Path, clock: WallClock) -> AsyncIterator[SessionRuntime]:
    policy = miniclaw.RetentionPolicy(trash_for=timedelta(days=7))
    async with miniclaw.open_runtime(
        sessions_dir, clock=clock, policy=policy, cleanup_interval_seconds=None
    ) as sessions:
        yield sessions


def lay(sessions_dir: Path, session_id: str, used: datetime, **fields: Any) -> Path:
    """Write a session's file as miniclaw does: with all fields before the messages."""
    header = session_dict(session_id, used)
    messages = header.pop("messages")
    path = sessions_dir / f"{session_id}.json"
    path.write_text(json.dumps({**header, **fields, "messages": messages}))
    return path


async def test_list_has_every_session_once_as_it_is_now(
    sessions: SessionRuntime, sessions_dir: Path, clock: WallClock
) -> None:
    """Sessions on disk, changed in memory, and without a file are listed, each with its present state."""
    lay(sessions_dir, "web_old", clock.ago(days=20), metadata={"title": "Old"}, pinned=True)
    lay(sessions_dir, "web_changed", clock.ago(days=20), metadata={"title": "Before"})
    (sessions_dir / "web_broken.json").write_text("no session")
    await sessions.set_metadata("web_changed", title="After")
    await sessions.get_or_create("tcp", "new")
    found = {entry.session_id: entry async for entry in sessions.list()}
    assert sorted(found) == ["tcp_new", "web_changed", "web_old"]
    old, changed, new = found["web_old"], found["web_changed"], found["tcp_new"]
    assert (old.pinned, old.metadata, old.last_accessed) == (True, {"title": "Old"}, clock.ago(days=20))
    assert old.bytes == (sessions_dir / "web_old.json").stat().st_size
    assert changed.metadata == {"title": "After"}
    assert (new.channel, new.chat_id, new.created_at, new.last_accessed) == ("tcp", "new", clock.now, clock.now)
    assert new.bytes > 100
    assert sessions.manager.live_sessions() == 2  # a list loads nothing
    assert len([entry async for entry in sessions.list()]) == 3


async def test_list_selects_by_channel_age_and_pin(
    sessions: SessionRuntime, sessions_dir: Path, clock: WallClock
) -> None:
    """The conditions are those of the present: a session that was just used is young whatever its file says."""
    for days in (1, 5, 9):
        write_session(sessions_dir, f"web_{days}", clock.ago(days=days), pinned=days == 9)
    write_session(sessions_dir, "tcp_5", clock.ago(days=5))
    write_session(sessions_dir, "tcp_ahead", clock.ago(days=-5))
    await sessions.get("tcp_5")

    async def ids(**conditions: object) -> list[str]:
        return sorted([entry.session_id async for entry in sessions.list(**conditions)])  # type: ignore[arg-type]

    assert await ids(channel="web") == ["web_1", "web_5", "web_9"]
    assert await ids(older_than=timedelta(days=5)) == ["web_9"]
    assert await ids(younger_than=timedelta(days=5)) == ["tcp_5", "web_1"]
    assert await ids(older_than=timedelta(days=1), younger_than=timedelta(days=9)) == ["web_5"]
    assert await ids(pinned=True) == ["web_9"]
    assert await ids(channel="web", pinned=False) == ["web_1", "web_5"]
    assert await ids(channel="none") == []


async def test_list_goes_on_while_sessions_come_and_go(
    sessions: SessionRuntime, sessions_dir: Path, clock: WallClock
) -> None:
    """Of the sessions that are there from the beginning to the end, each is listed exactly once."""
    stays = {f"web_{n}" for n in range(3 * BATCH)}
    for session_id in stays:
        write_session(sessions_dir, session_id, clock.ago(days=1))
    await sessions.get_or_create("tcp", "unsaved")
    found: list[str] = []
    async for entry in sessions.list():
        found.append(entry.session_id)
        if len(found) % BATCH == 1:
            await sessions.get_or_create("new", str(len(found)))
            await sessions.manager.save_all_sessions()  # also the one without a file when the list began
    kept = [session_id for session_id in found if not session_id.startswith("new_")]
    assert sorted(kept) == sorted([*stays, "tcp_unsaved"])


async def test_list_that_is_left_early_holds_nothing(
    sessions: SessionRuntime, sessions_dir: Path, clock: WallClock
) -> None:
    """A loop may end before the list does, and no warning of an unfinished generator follows."""
    for n in range(20):
        write_session(sessions_dir, f"web_{n}", clock.ago(days=1))
    for _ in range(3):
        async for _entry in sessions.list():
            break
    assert len([entry async for entry in sessions.list()]) == 20


@pytest.mark.parametrize("size", [3_000, 5_000, 15_000, 40_000])
async def test_list_reads_metadata_of_any_size(
    sessions: SessionRuntime, sessions_dir: Path, clock: WallClock, size: int
) -> None:
    """Metadata is read from the beginning of a file or, if it is larger than ours ever are, from all of it."""
    lay(sessions_dir, "web_1", clock.ago(days=1), metadata={"note": "x" * size})
    (found,) = [entry async for entry in sessions.list()]
    assert found.metadata == {"note": "x" * size}


async def test_list_reads_a_file_in_an_unusual_form(
    sessions: SessionRuntime, sessions_dir: Path, clock: WallClock
) -> None:
    """A file with its header behind the messages is listed with its creation."""
    fields = session_dict("web_1", clock.ago(days=1))
    (sessions_dir / "web_1.json").write_text(json.dumps(dict(sorted(fields.items(), reverse=True))))
    (found,) = [entry async for entry in sessions.list()]
    loaded = await sessions.read("web_1")
    assert loaded is not None
    assert (found.created_at, found.last_accessed) == (loaded.created_at, clock.ago(days=1))


async def test_trash_and_history_are_listed_newest_first_in_batches(sessions: SessionRuntime, clock: WallClock) -> None:
    """More entries than a batch has are listed, each once, and nothing is listed before anything was removed."""
    assert [entry async for entry in sessions.trash()] == []
    assert [event async for event in sessions.history()] == []
    names = [f"web_{n}" for n in range(BATCH + 3)]
    for name in names:
        await sessions.get_or_create("web", name[4:])
        clock.move(minutes=1)
        await sessions.add_message(name, Message("user", "hello", sessions.now()))
        await sessions.delete(name)
    assert [entry.session_id async for entry in sessions.trash()] == names[::-1]
    assert [event.sessions[0].session_id async for event in sessions.history()] == names[::-1]
