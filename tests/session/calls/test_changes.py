"""The public calls that change sessions, over a directory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

import miniclaw
from miniclaw import Message, SessionRuntime
from miniclaw.errors import (
    InvalidMessageError,
    InvalidMetadataError,
    RuntimeClosedError,
    SessionFullError,
    SessionNotFoundError,
)
from tests.fakes.clock import WallClock
from tests.fakes.samples import session_dict, write_session

ODD_METADATA = [
    b'{"title":"important","x":NaN}', b'{"title":"\\ud800"}', b'{"title":"\xff"}', b'{"n":%b}' % (b"9" * 4400),
    b'{"deep":%b}' % (b"[" * 1500 + b"]" * 1500), b"[1]", b"5", b'"x"', b"false", b'""', b"[]",
]  # fmt: skip


@pytest.fixture
async def sessions(sessions_dir: Path, clock: WallClock) -> AsyncIterator[SessionRuntime]:
    policy = miniclaw.RetentionPolicy(trash_for=timedelta(days=7))
    async with miniclaw.open_runtime(
        sessions_dir, clock=clock, policy=policy, cleanup_interval_seconds=None
    ) as sessions:
        yield sessions


def said(clock: WallClock, *texts: str) -> list[Message]:
    return [Message("user", text, clock.now) for text in texts]


def in_file(path: Path) -> list[str]:
    return [message["content"] for message in json.loads(path.read_bytes())["messages"]]


async def test_added_messages_are_there_in_order_and_durable(
    sessions: SessionRuntime, sessions_dir: Path, clock: WallClock
) -> None:
    """Several messages are one access, and one commit of the journal makes them durable."""
    session = await sessions.get_or_create("web", "1")
    assert await sessions.add_messages(session.session_id, said(clock, "a", "b"), durable=True) is session
    assert [each.content for each in session.messages] == ["a", "b"]
    await sessions.manager.save_all_sessions()
    assert in_file(sessions_dir / "web_1.json") == ["a", "b"]
    assert await sessions.add_messages("web_1", iter(())) is session
    assert len(session.messages) == 2


async def test_messages_are_added_all_or_none(sessions: SessionRuntime, clock: WallClock) -> None:
    """One message that cannot be saved, or for which there is no room, refuses those before it as well."""
    session = await sessions.get_or_create("web", "1")
    broken = Message("tool_result", "x", clock.now)
    with pytest.raises(InvalidMessageError, match=r"messages\[1\]: a tool_result"):
        await sessions.add_messages("web_1", [*said(clock, "a"), broken])
    sessions.manager.max_session_bytes = 2000
    with pytest.raises(SessionFullError):
        await sessions.add_messages("web_1", said(clock, "a" * 1000, "b" * 1000))
    assert session.messages == []
    assert await sessions.add_messages("web_1", said(clock, "a" * 1000)) is session


async def test_read_is_a_copy_and_no_access(sessions: SessionRuntime, sessions_dir: Path, clock: WallClock) -> None:
    """A copy has unsaved changes, no later ones, and reading loads nothing and stamps nothing."""
    used = clock.ago(days=20)
    write_session(sessions_dir, "web_old", used)
    found = await sessions.read("web_old")
    assert found is not None
    assert (found.last_accessed, sessions.manager.live_sessions()) == (used, 0)
    assert await sessions.read("web_none") is None
    session = await sessions.get_or_create("web", "1")
    await sessions.set_metadata("web_1", tags=["a"])
    clock.move(minutes=1)
    copy = await sessions.read("web_1")
    assert copy is not session
    assert copy == session
    session.metadata["tags"].append("b")
    await sessions.add_message("web_1", *said(clock, "later"))
    assert (copy.messages, copy.metadata) == ([], {"tags": ["a"]})


async def test_read_of_a_clean_session_is_what_its_file_has(
    sessions: SessionRuntime, sessions_dir: Path, clock: WallClock
) -> None:
    """The disk wins over a copy in memory without changes, also for a reader."""
    await sessions.get_or_create("web", "1")
    await sessions.manager.save_all_sessions()
    (sessions_dir / "web_1.json").write_text(json.dumps(session_dict("web_1", clock.ago(days=1))))
    found = await sessions.read("web_1")
    assert found is not None
    assert found.last_accessed == clock.ago(days=1)
    (sessions_dir / "web_1.json").unlink()
    assert await sessions.read("web_1") is None


async def test_popped_messages_are_the_newest_and_are_gone(
    sessions: SessionRuntime, sessions_dir: Path, clock: WallClock
) -> None:
    """`pop_messages` returns what it removes, oldest first; a session with fewer loses all it has."""
    await sessions.get_or_create("web", "1")
    await sessions.add_messages("web_1", said(clock, "a", "b", "c"), durable=True)
    assert [each.content for each in await sessions.pop_messages("web_1", 2)] == ["b", "c"]
    await sessions.durable("web_1")
    assert in_file(sessions_dir / "web_1.json") == ["a"]
    await sessions.add_messages("web_1", said(clock, "d"), durable=True)
    assert in_file(sessions_dir / "web_1.json") in (["a"], ["a", "d"])  # or in the journal
    assert [each.content for each in await sessions.pop_messages("web_1", 9)] == ["a", "d"]
    assert await sessions.pop_messages("web_1", 1) == []
    await sessions.manager.save_all_sessions()
    assert in_file(sessions_dir / "web_1.json") == []


async def test_clear_keeps_metadata_and_pin(sessions: SessionRuntime, sessions_dir: Path, clock: WallClock) -> None:
    """A cleared session is the same session, without messages."""
    session = await sessions.get_or_create("web", "1")
    await sessions.add_messages("web_1", said(clock, "a", "b"))
    await sessions.set_metadata("web_1", title="Holiday", note=None)
    await sessions.set_pinned("web_1", True)
    assert await sessions.clear("web_1") == 2
    assert await sessions.clear("web_1") == 0
    await sessions.durable("web_1")
    saved = json.loads((sessions_dir / "web_1.json").read_bytes())
    assert (saved["messages"], saved["metadata"], saved["pinned"]) == ([], {"title": "Holiday"}, True)
    assert await sessions.get("web_1") is session


async def test_metadata_is_no_access_and_is_refused_as_a_whole(sessions: SessionRuntime, clock: WallClock) -> None:
    """A title does not make a session younger, and a value that is refused changes nothing."""
    session = await sessions.get_or_create("web", "1")
    await sessions.manager.save_all_sessions()
    used = session.last_accessed
    clock.move(days=3)
    assert await sessions.set_metadata("web_1", title="x") is session
    assert (session.last_accessed, sessions.manager.dirty_sessions()) == (used, ["web_1"])
    await sessions.manager.save_all_sessions()
    await sessions.set_metadata("web_1", title="x")
    assert sessions.manager.dirty_sessions() == []
    with pytest.raises(InvalidMetadataError, match="'at'"):
        await sessions.set_metadata("web_1", title="y", at=clock.now)
    assert session.metadata == {"title": "x"}


async def test_size_in_memory_and_bound_follow_what_is_removed(sessions: SessionRuntime, clock: WallClock) -> None:
    """After a pop or a clear there is room again, and memory is what it was."""
    await sessions.get_or_create("web", "1")
    empty = sessions.manager.live_bytes()
    sessions.manager.max_session_bytes = 2500
    await sessions.add_messages("web_1", said(clock, "a" * 900, "b" * 900))
    with pytest.raises(SessionFullError):
        await sessions.add_messages("web_1", said(clock, "c" * 900))
    await sessions.pop_messages("web_1", 1)
    await sessions.add_messages("web_1", said(clock, "c" * 900))
    assert await sessions.clear("web_1") == 2
    assert sessions.manager.live_bytes() == empty
    await sessions.set_metadata("web_1", long="x" * 2000)
    assert sessions.manager.live_bytes() > empty + 2000
    await sessions.set_metadata("web_1", long=None)
    assert sessions.manager.live_bytes() == empty


async def test_change_of_a_missing_session_is_an_error(sessions: SessionRuntime, clock: WallClock) -> None:
    """No call but `get_or_create` and `using` makes a session."""
    for change in (
        sessions.add_messages("web_1", said(clock, "a")),
        sessions.pop_messages("web_1", 1),
        sessions.clear("web_1"),
        sessions.set_metadata("web_1", a=1),
        sessions.set_pinned("web_1", True),
        sessions.durable("web_1"),
        sessions.delete("web_1"),
    ):
        with pytest.raises(SessionNotFoundError):
            await change
    assert await sessions.get("web_1") is None
    async with sessions.using("web_1", create=True) as session:
        assert session.session_id == "web_1"


async def test_every_call_after_the_end_is_refused(sessions_dir: Path, clock: WallClock) -> None:
    """From the end of the block on there is one error, for iterators that were made before as well."""
    async with miniclaw.open_runtime(sessions_dir, clock=clock) as sessions:
        await sessions.get_or_create("web", "1")
        await sessions.get_or_create("web", "2")
        lists = [sessions.list(), sessions.trash(), sessions.history()]
        begun = sessions.list()
        await anext(begun)
    for items in (*lists, begun):
        with pytest.raises(RuntimeClosedError):
            await anext(items)
    for make in (sessions.list, sessions.trash, sessions.history):
        with pytest.raises(RuntimeClosedError):
            make()
    for call in (
        sessions.get_or_create("web", "1"),
        sessions.get("web_1"),
        sessions.read("web_1"),
        sessions.add_message("web_1", *said(clock, "x")),
        sessions.pop_messages("web_1", 1),
        sessions.clear("web_1"),
        sessions.set_metadata("web_1", a=1),
        sessions.set_pinned("web_1", True),
        sessions.durable("web_1"),
        sessions.delete("web_1"),
        sessions.restore("web_1"),
        sessions.plan(),
        sessions.clean_up(),
        sessions.using("web_1").__aenter__(),
    ):
        with pytest.raises(RuntimeClosedError):
            await call


async def test_deleted_session_is_in_trash_and_history_and_is_restored(
    sessions: SessionRuntime, clock: WallClock
) -> None:
    """A deletion is told, and can be undone by the id of the session or of its entry."""
    await sessions.get_or_create("web", "1")
    await sessions.add_messages("web_1", said(clock, "a"))
    deleted = await sessions.delete("web_1")
    assert deleted.entry_id
    (entry,) = [entry async for entry in sessions.trash()]
    assert (entry.entry_id, entry.session_id, entry.by) == (deleted.entry_id, "web_1", "program")
    assert entry.expires_at == entry.removed_at + timedelta(days=7)
    assert await sessions.restore(entry.entry_id) == "web_1"
    assert [event.event async for event in sessions.history()] == ["restored", "deleted"]
    erased = await sessions.delete("web_1", erase=True)
    assert (erased.entry_id, erased.remaining) == ("", ())
    assert [entry async for entry in sessions.trash()] == []


async def test_clean_up_does_what_the_plan_says(sessions: SessionRuntime, sessions_dir: Path, clock: WallClock) -> None:
    """A cleanup that is asked for removes what is expired at once."""
    write_session(sessions_dir, "web_old", clock.ago(days=40))
    plan = await sessions.plan()
    assert [row.session.header.session_id for row in plan.removals] == ["web_old"]
    assert (await sessions.clean_up()).sessions_deleted == 1


@pytest.mark.parametrize("odd", ODD_METADATA, ids=lambda odd: repr(odd[:24]))
async def test_metadata_that_cannot_be_used_is_not_replaced(sessions_dir: Path, clock: WallClock, odd: bytes) -> None:
    """What somebody wrote by hand stays byte for byte, through every other change, until it is mended in the file."""
    path = write_session(sessions_dir, "web_1", clock.now)
    path.write_bytes(path.read_bytes().replace(b"{", b'{"metadata":' + odd + b",", 1))
    async with miniclaw.open_runtime(sessions_dir, clock=clock, cleanup=None) as sessions:
        read = await sessions.read("web_1")
        assert read is not None
        assert read.metadata == {}
        for changes in ({"tag": 1}, {"title": None}):
            with pytest.raises(InvalidMetadataError, match=r"file of session web_1 has a metadata.*mend it"):
                await sessions.set_metadata("web_1", **changes)
        await sessions.add_messages("web_1", said(clock, "a", "b"), durable=True)
        await sessions.set_pinned("web_1", True)
        await sessions.pop_messages("web_1", 1)
        await sessions.durable("web_1")
        assert b'"metadata":' + odd in path.read_bytes()
        assert path.read_bytes().count(b'"metadata"') == 1
    path.write_bytes(path.read_bytes().replace(odd, b'{"title":"important"}'))
    async with miniclaw.open_runtime(sessions_dir, clock=clock, cleanup=None) as sessions:
        session = await sessions.set_metadata("web_1", tag=1)
        assert (session.metadata, session.pinned) == ({"title": "important", "tag": 1}, True)
