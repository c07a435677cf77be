"""The bound on a session's growth: a person's message beyond it is refused, and nothing else changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from miniclaw import blocking
from miniclaw.errors import SessionFullError, StoreError
from miniclaw.session.calls.rules import RuntimeRules
from miniclaw.session.format import codec, growth
from miniclaw.session.format.growth import file_bytes
from miniclaw.session.journal.overlay import continued
from miniclaw.session.journal.records import Record, digest
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.runtime import open_runtime
from miniclaw.session.types import Message, Session, ToolCall
from tests.fakes.clock import WallClock
from tests.fakes.samples import read_contents, write_session

BOUND = 2_000
WHEN = datetime(2026, 11, 23, 12, tzinfo=UTC)
HEADER_BYTES = 30
"""By which the count may differ from the file: a time with or without microseconds, a pin, a comma."""


def said(text: str, clock: WallClock) -> Message:
    return Message("user", text, clock.now)


def write_large(sessions_dir: Path, clock: WallClock, *, size: int = 2 * BOUND) -> Path:
    """Write a session that is larger than the bound, as from before there was one."""
    time = clock.now.isoformat().replace("+00:00", "Z")
    messages = [{"role": "user", "content": "x" * size, "timestamp": time}]
    return write_session(sessions_dir, "web_1", clock.ago(days=1), messages=messages)


@pytest.fixture
async def full(store: FileSessionStore, clock: WallClock) -> SessionManager:
    """A manager with a session that has room for a hundred bytes of text, and for no byte more."""
    manager = SessionManager(store, clock=clock, max_session_bytes=BOUND)
    session = await manager.get_or_create_session("web", "1")
    empty = codec.measure_message(said("", clock))[1]
    room = BOUND - file_bytes(session) - 2 * empty - 100
    await manager.add_message("web_1", said("x" * room, clock))
    return manager


async def test_message_that_just_fits_is_taken_and_the_next_one_is_refused(
    full: SessionManager, clock: WallClock, sessions_dir: Path
) -> None:
    """The bound is inclusive, and true of the file: a full session takes no person's message of any size."""
    with pytest.raises(SessionFullError):
        await full.add_message("web_1", said("x" * 101, clock))
    await full.add_message("web_1", said("x" * 100, clock))
    with pytest.raises(SessionFullError):
        await full.add_message("web_1", said("", clock))
    await full.save_all_sessions()
    size = (sessions_dir / "web_1.json").stat().st_size
    assert BOUND - HEADER_BYTES <= size <= BOUND


async def test_refused_message_changes_nothing(full: SessionManager, clock: WallClock) -> None:
    """Neither the messages nor the time of the last use, and there is nothing to save."""
    await full.save_all_sessions()
    session = full._memory.peek("web_1")
    assert session is not None
    before = codec.encode_session(session.session)
    clock.now += timedelta(hours=1)
    with pytest.raises(SessionFullError):
        await full.add_message("web_1", said("x" * 200, clock))
    assert codec.encode_session(session.session) == before
    assert full.dirty_sessions() == []


async def test_refusal_names_session_sizes_and_remedy(full: SessionManager, clock: WallClock) -> None:
    """The sentence is enough for the person, and no caller takes it for a fault of the disk that will pass."""
    session = await full.get_session("web_1")
    assert session is not None
    with pytest.raises(SessionFullError) as caught:
        await full.add_message("web_1", said("x" * 200, clock))
    error = caught.value
    assert (error.session_id, error.size, error.bound) == ("web_1", file_bytes(session), BOUND)
    assert (
        str(error)
        == error.problem
        == (
            f"the session 'web_1' is full: it has {error.size:,} bytes, and with this message it would have more than the "
            "2,000 that max_session_bytes allows; begin a new chat, or move or delete this one, or raise that bound"
        )
    )
    assert not isinstance(error, StoreError)


@pytest.mark.parametrize("role", ["assistant", "system", "tool_result"])
async def test_rest_of_a_turn_is_added_beyond_the_bound(
    full: SessionManager, clock: WallClock, sessions_dir: Path, role: Any
) -> None:
    """A message that was accepted gets its answer; the next message is refused then."""
    call_id = "1" if role == "tool_result" else None
    await full.add_message("web_1", Message(role, "y" * BOUND, clock.now, tool_call_id=call_id))
    with pytest.raises(SessionFullError):
        await full.add_message("web_1", said("", clock))
    await full.save_all_sessions()
    assert read_contents(sessions_dir / "web_1.json")[1:] == ["y" * BOUND]


async def test_any_message_for_which_no_file_has_room_is_refused(
    full: SessionManager, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that could not be loaded again is not made, whoever writes; the sentence promises no way by the bound."""
    monkeypatch.setattr(codec, "MAX_SESSION_BYTES", 2 * BOUND + growth._HEADER_BYTES + growth._MARKS_BYTES)
    with pytest.raises(SessionFullError, match=r"4,000 that a session may have; begin .* or move or delete this one$"):
        await full.add_message("web_1", Message("assistant", "y" * 2 * BOUND, clock.now))
    await full.add_message("web_1", Message("assistant", "y" * BOUND, clock.now))


async def test_new_session_takes_messages_again(full: SessionManager, clock: WallClock) -> None:
    """The remedies of the sentence work: another chat, and the same chat once its session is elsewhere."""
    await full.get_or_create_session("web", "2")
    await full.add_message("web_2", said("x" * 200, clock))
    await full.move_session("web_1", "web_old")
    await full.get_or_create_session("web", "1")
    await full.add_message("web_1", said("x" * 200, clock))
    with pytest.raises(SessionFullError):
        await full.add_message("web_old", said("x" * 200, clock))


# Sessions from before ---------------------------------------------------------------------------------------------


async def test_larger_session_from_before_is_loaded_pinned_saved_and_deleted(
    store: FileSessionStore, clock: WallClock, sessions_dir: Path
) -> None:
    """The bound is on growth alone: the session keeps all it has, and takes an answer that was under way."""
    path = write_large(sessions_dir, clock)
    manager = SessionManager(store, clock=clock, max_session_bytes=BOUND)
    session = await manager.get_or_create_session("web", "1")
    assert len(session.messages[0].content) == 2 * BOUND
    with pytest.raises(SessionFullError, match="has 4,"):
        await manager.add_message("web_1", said("hi", clock))
    await manager.add_message("web_1", Message("assistant", "an answer", clock.now))
    await manager.set_pinned("web_1", True)
    assert (await manager.save_all_sessions()).saved == 1
    assert read_contents(path)[1:] == ["an answer"]
    assert (await manager.delete_session("web_1")).bytes_freed > 2 * BOUND


async def test_restart_with_a_lower_bound_loses_nothing(sessions_dir: Path, clock: WallClock) -> None:
    """Each start has a bound of its own, and so has each reload; the session is the same."""
    await _talk(sessions_dir, clock, 10_000, "x" * 5_000, fits=True)
    path = sessions_dir / "web_1.json"
    before = read_contents(path)
    await _talk(sessions_dir, clock, BOUND, "more", fits=False)
    assert read_contents(path) == before
    await _talk(sessions_dir, clock, 10_000, "more", fits=True)
    assert read_contents(path) == [*before, "more"]


async def _talk(sessions_dir: Path, clock: WallClock, bound: int, text: str, *, fits: bool) -> None:
    async with open_runtime(sessions_dir, clock=clock, max_session_bytes=bound) as runtime:
        await runtime.manager.get_or_create_session("web", "1")
        assert runtime.rules.max_session_bytes == runtime.manager.max_session_bytes == bound
        try:
            await runtime.manager.add_message("web_1", said(text, clock))
        except SessionFullError:
            assert not fits
        else:
            assert fits


async def test_set_rules_of_another_bound_hold_for_the_next_message(sessions_dir: Path, clock: WallClock) -> None:
    """Lower or higher, in the same step, without a restart."""
    async with open_runtime(sessions_dir, clock=clock) as runtime:
        await runtime.manager.get_or_create_session("web", "1")
        await runtime.manager.add_message("web_1", said("x" * BOUND, clock))
        runtime.set_rules(replace(runtime.rules, max_session_bytes=BOUND))
        with pytest.raises(SessionFullError):
            await runtime.manager.add_message("web_1", said("hi", clock))
        runtime.set_rules(replace(runtime.rules, max_session_bytes=2 * BOUND))
        await runtime.manager.add_message("web_1", said("hi", clock))


async def test_expired_larger_session_is_swept(sessions_dir: Path, clock: WallClock) -> None:
    """A cleanup asks for the age of a session, and never for its size."""
    write_large(sessions_dir, clock)
    clock.now += timedelta(days=60)
    async with open_runtime(
        sessions_dir, clock=clock, max_session_bytes=BOUND, notice=False, cleanup_interval_seconds=None
    ) as runtime:
        assert len((await runtime.cleanup.plan()).removals) == 1
        assert (await runtime.cleanup.run()).sessions_deleted == 1


def test_blocking_runtime_refuses_likewise(sessions_dir: Path, clock: WallClock) -> None:
    """A program without trio gives the bound in the same way and gets the same error."""
    with blocking.open_runtime(sessions_dir, clock=clock, max_session_bytes=BOUND) as runtime:
        runtime.get_or_create_session("web", "1")
        with pytest.raises(SessionFullError, match="'web_1' is full"):
            runtime.add_message("web_1", said("x" * BOUND, clock))
        runtime.add_message("web_1", said("hi", clock))
    assert read_contents(sessions_dir / "web_1.json") == ["hi"]


# The count --------------------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(["\x00\x1f" * 9, '"\\', "é🙂"])
CALLS = st.none() | st.lists(st.builds(ToolCall, TEXTS, TEXTS, TEXTS), min_size=1, max_size=2).map(tuple)


@given(st.lists(st.tuples(TEXTS, CALLS), max_size=6), st.integers(0, 6))
def test_count_is_the_size_of_the_file(messages: list[tuple[str, Any]], loaded: int) -> None:
    """Whatever is said, in a session that was begun here or loaded in between."""
    session = Session("web_ä", "web", "ä", WHEN, WHEN)
    for index, (text, calls) in enumerate(messages):
        if index == loaded:
            data = codec.encode_session(session)
            session = codec.decode_session(bytes(data))
            growth.set_file_bytes(session, len(data))
        message, size = codec.measure_message(Message("assistant", text, WHEN, calls))
        growth.set_file_bytes(session, file_bytes(session) + size)
        session.messages.append(message)
    assert 0 <= file_bytes(session) - len(codec.encode_session(session)) <= 1


async def test_count_of_a_message_with_unknown_fields_is_that_of_its_source(
    manager: SessionManager, clock: WallClock, sessions_dir: Path
) -> None:
    """A message that a program copies from one session to another is written as it was read, spaces and all."""
    odd = {"role": "user", "content": "hi", "timestamp": "2026-11-23T12:00:00Z", "mood": " " * 500}
    write_session(sessions_dir, "web_1", clock.now, messages=[odd])
    source = await manager.get_session("web_1")
    assert source is not None
    session = await manager.get_or_create_session("web", "2")
    await manager.add_message("web_2", source.messages[0])
    assert 0 <= file_bytes(session) - len(codec.encode_session(session)) <= 1


async def test_count_follows_a_file_that_another_program_has_changed(
    manager: SessionManager, clock: WallClock, sessions_dir: Path
) -> None:
    """The content of the file counts, with what was said since."""
    path = write_large(sessions_dir, clock)
    session = await manager.get_or_create_session("web", "1")
    await manager.save_all_sessions()
    document = json.loads(path.read_bytes())
    document["messages"][0]["content"] = "short"
    path.write_text(json.dumps(document, separators=(",", ":")))
    await manager.add_message("web_1", said("more", clock))
    assert len(codec.encode_session(session)) < 500
    assert abs(file_bytes(session) - len(codec.encode_session(session))) <= HEADER_BYTES


def test_count_of_a_session_with_messages_of_the_journal_has_them() -> None:
    """After a crash the journal's messages are added to the content of the file, and so are their sizes."""
    whole = Session("web_1", "web", "1", WHEN, WHEN, [Message("user", "hi", WHEN), Message("user", "hi, é", WHEN)])
    text = Raw(codec.encode_message(whole.messages[1]))
    record = Record(1, 1, "add", "web_1", 1, digest(whole.messages[0]), text, life=WHEN, la=WHEN)
    data = codec.encode_session(Session("web_1", "web", "1", WHEN, WHEN, whole.messages[:1]))
    session = codec.decode_session(bytes(data))
    growth.set_file_bytes(session, len(data))
    assert continued(session, [record]).session is session
    assert session.messages == whole.messages
    assert file_bytes(session) == len(codec.encode_session(whole))


async def test_count_of_what_is_left_of_a_deleted_file_is_that_of_the_rest(
    manager: SessionManager, clock: WallClock, sessions_dir: Path
) -> None:
    """Messages that were in a file that another program has deleted count no more."""
    path = write_large(sessions_dir, clock)
    session = await manager.get_or_create_session("web", "1")
    await manager.add_message("web_1", said("more", clock))
    path.unlink()
    await manager.save_all_sessions()
    assert read_contents(path) == ["more"]
    assert abs(file_bytes(session) - path.stat().st_size) <= HEADER_BYTES


async def test_message_to_a_large_session_encodes_none_but_itself(
    manager: SessionManager, clock: WallClock, sessions_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound costs the same at every size."""
    write_large(sessions_dir, clock)
    await manager.get_or_create_session("web", "1")

    def encode(_: Session) -> Any:
        pytest.fail("the session was encoded")

    monkeypatch.setattr(codec, "encode_in_pieces", encode)
    await manager.add_message("web_1", said("hi", clock))


# Bounds that are none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "64MB", None, growth.MOST_GROWTH_BYTES + 1])
def test_bound_that_is_none_is_refused(value: Any) -> None:
    """By name, wherever it is given."""
    for take in (lambda: SessionManager(None, max_session_bytes=value), lambda: RuntimeRules(max_session_bytes=value)):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="max_session_bytes is a whole number from 1 to 201326592"):
            take()


async def test_bound_beside_rules_is_refused(sessions_dir: Path) -> None:
    """The bound is one of the rules; a second one would be ignored in silence."""
    with pytest.raises(ValueError, match="beside `rules`"):
        async with open_runtime(sessions_dir, rules=RuntimeRules(), max_session_bytes=BOUND):
            pass
    assert not sessions_dir.exists()
