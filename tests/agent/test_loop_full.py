"""A session that is full: the person gets the reason and the remedy, once, and what was accepted is answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from miniclaw.agent.inbox import Inbox
from miniclaw.agent.models import EchoModel
from miniclaw.agent.turn import NOT_RECORDED
from miniclaw.channels.base import InboundMessage
from miniclaw.session.format import codec, growth
from miniclaw.session.format.growth import file_bytes
from miniclaw.session.types import Message
from tests.fakes.agent import ConfirmingMailbox, House, ScriptedModel, StreamingModel, inbound, open_house, serve
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session
from tests.fakes.threads import until

REFUSED = "Session is full; a message was refused"
NOW = datetime(2026, 2, 14, 12, tzinfo=UTC)


def delivered(inbound_id: str, content: str = "hello") -> InboundMessage:
    return InboundMessage("web", "a", content, inbound_id=inbound_id)


async def fill(house: House, *, room: int = 0) -> int:
    """Say something, and lower the bound to the size of the session, and this much room; return that size."""
    session = await house.manager.get_or_create_session("web", "a")
    await house.manager.add_message("web_a", Message("user", "x" * 500, NOW))
    house.manager.max_session_bytes = file_bytes(session) + room
    return file_bytes(session)


async def is_asked(_: Sequence[Message]) -> str:
    pytest.fail("the model was asked")


async def test_loop_message_to_a_full_session_is_refused_with_the_reason_and_the_remedy(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """The person reads which session, its size, its bound and a way out; the model is not asked, and nothing is added."""
    async with open_house(sessions_dir, clock) as house:
        size = await fill(house)
        sent = await house.loop(ScriptedModel(is_asked)).handle(inbound("more"))
        assert sent is not None
        assert sent.failed
        assert sent.content == (
            f"Your message was not recorded, so it was not answered: the session 'web_a' is full: it has {size:,} bytes, "
            f"and with this message it would have more than the {size:,} that max_session_bytes allows; "
            "begin a new chat, or move or delete this one, or raise that bound."
        )
        assert house.channel.sent == [sent]
        assert await house.said("web_a") == [("user", "x" * 500)]
    event = logs.one(REFUSED)
    assert (event["level"], event["session_id"], event["bytes"], event["bound"]) == ("warning", "web_a", size, size)


async def test_loop_message_to_a_full_session_is_never_delivered_again(sessions_dir: Path, clock: WallClock) -> None:
    """A channel that waits for a confirmation is told that the message is refused, and that its turn is over."""
    async with open_house(sessions_dir, clock) as house:
        await fill(house)
        house.channel = channel = ConfirmingMailbox()
        await serve(house.loop(ScriptedModel(is_asked)), delivered("1"), delivered("2"))
        assert [(id_, answered) for id_, answered, _ in channel.confirmed] == [("1", True), ("2", True)]
        assert [id_ for id_, _ in channel.refused] == ["1", "2"]
        assert all(reason.startswith("the session 'web_a' is full") for _, reason in channel.refused)


async def test_loop_answer_beyond_the_bound_is_shown_and_recorded_and_the_next_message_refused(
    sessions_dir: Path, clock: WallClock
) -> None:
    """A message that was accepted has its whole answer, now and after a restart."""

    async def script(_: Sequence[Message]) -> str:
        return "y" * 5_000

    async with open_house(sessions_dir, clock) as house:
        await fill(house, room=200)
        await serve(house.loop(ScriptedModel(script)), inbound("hello"), inbound("more"))
        assert [(sent.failed, sent.content[:4]) for sent in house.channel.sent] == [(False, "yyyy"), (True, "Your")]
        assert (await house.said("web_a"))[1:] == [("user", "hello"), ("assistant", "y" * 5_000)]
        await house.manager.save_all_sessions()
    assert "y" * 5_000 in (sessions_dir / "web_a.json").read_text()


async def test_loop_answer_for_which_no_file_has_room_is_shown_and_marked(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The person reads the answer and that it is not recorded; the mark ends the turn, and no later delivery asks again."""

    async def script(_: Sequence[Message]) -> str:
        return "y" * 5_000

    async with open_house(sessions_dir, clock) as house:
        size = await fill(house, room=200)
        monkeypatch.setattr(codec, "MAX_SESSION_BYTES", size + 200 + growth._HEADER_BYTES + growth._MARKS_BYTES)
        house.channel = channel = ConfirmingMailbox()
        await serve(house.loop(ScriptedModel(script)), delivered("1"), delivered("1"))
        (sent,) = channel.sent
        assert sent.failed
        assert sent.content.startswith("y" * 5_000 + "\n\nYour message is recorded, but its answer is not: the session")
        *_, question, mark = await house.said("web_a")
        assert question == ("user", "hello")
        assert mark[0] == "system"
        assert "a session may have; begin a new chat, or move or delete this one" in mark[1]
        assert {(id_, answered) for id_, answered, _ in channel.confirmed} == {("1", False), ("1", True)}
        assert channel.refused == []


async def test_loop_message_that_was_recorded_before_the_bound_was_lowered_is_answered(
    sessions_dir: Path, clock: WallClock
) -> None:
    """A message of a turn that was killed is no new one: a full session takes the answer that it waits for."""
    said = [{"role": "user", "content": "hello", "timestamp": "2026-02-14T12:00:00Z", "inbound_id": "1"}]
    write_session(sessions_dir, "web_a", clock.now, messages=said)
    async with open_house(sessions_dir, clock) as house:
        house.manager.max_session_bytes = 1
        house.channel = channel = ConfirmingMailbox()
        await serve(house.loop(EchoModel()), delivered("1"))
        assert [sent.content for sent in channel.sent] == ["hello"]
        assert await house.said("web_a") == [("user", "hello"), ("assistant", "hello")]
        assert channel.refused == []


async def test_loop_cancelled_before_a_full_session_refuses_is_no_error_of_the_program(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """At the end a message that finds no room is a WARNING, and is not confirmed: the channel delivers it again."""
    async with open_house(sessions_dir, clock) as house:
        house.channel = channel = ConfirmingMailbox()
        model = StreamingModel("The ans", trio.Event())
        inbox = Inbox()
        async with trio.open_nursery() as nursery:
            await nursery.start(house.loop(model).run, inbox)
            inbox.send_nowait(delivered("1"))
            await model.waiting.wait()
            await until(lambda: bool(channel.confirmed))  # a save that is cancelled before it begins is an ERROR
            inbox.send_nowait(delivered("2"))
            house.manager.max_session_bytes = 1
            nursery.cancel_scope.cancel()
        assert "2" not in {id_ for id_, _, _ in channel.confirmed}
        assert channel.refused == []
        said = await house.said("web_a")
        assert said[:2] == [("user", "hello"), ("assistant", "The ans")]
        assert [role for role, _ in said[2:]] == ["system"]
    assert logs.one(REFUSED)["level"] == "warning"
    assert logs.named(NOT_RECORDED) == []


async def test_loop_cancelled_in_the_turn_of_a_message_to_a_full_session_is_no_error_of_the_program(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """Likewise of the message whose turn has just begun."""
    async with open_house(sessions_dir, clock) as house:
        await fill(house)
        house.channel = channel = ConfirmingMailbox()
        with trio.CancelScope() as scope:
            scope.cancel()
            await house.loop(ScriptedModel(is_asked)).handle(delivered("1"))
        assert not channel.confirmed
        assert not channel.refused
    assert logs.one(REFUSED)["level"] == "warning"
    assert logs.named(NOT_RECORDED) == []
