"""Messages that a channel delivers again, and channels that want to know what is safe."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from miniclaw.agent.inbox import Inbox
from miniclaw.agent.models import EchoModel
from miniclaw.agent.transcript import INTERRUPTED, MAX_LOOKBACK, STOPPED, find_delivery
from miniclaw.channels.base import InboundMessage
from miniclaw.errors import ModelError
from miniclaw.session.live.save_job import SaveReport
from miniclaw.session.types import Message
from tests.fakes.agent import ConfirmingMailbox, House, ScriptedModel, StreamingModel, open_house
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session
from tests.fakes.threads import until

NOW = datetime(2026, 2, 14, 12, tzinfo=UTC)


def delivered(inbound_id: str, content: str = "hello") -> InboundMessage:
    return InboundMessage("web", "a", content, inbound_id=inbound_id)


def user(inbound_id: str | None = None) -> Message:
    return Message("user", "hello", NOW, inbound_id=inbound_id)


ANSWER = Message("assistant", "hi", NOW)
MARK = Message("system", f"{INTERRUPTED} {STOPPED}", NOW)
FAILED = Message("system", f"{INTERRUPTED} the model is busy", NOW)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], "new"),
        ([user("2"), ANSWER], "new"),
        ([user("1")], "unanswered"),
        ([user("2"), ANSWER, user("1")], "unanswered"),
        ([user("1"), ANSWER], "answered"),
        ([user("1"), MARK], "interrupted"),
        ([user("1"), ANSWER, MARK], "interrupted"),
        ([user("1"), FAILED], "answered"),
        ([user("1"), ANSWER, FAILED], "answered"),
        ([user("1"), user("2"), MARK], "answered"),
        ([user("1"), ANSWER, user("2"), MARK], "answered"),
    ],
)
def test_find_delivery_tells_what_became_of_a_message(messages: Sequence[Message], expected: str) -> None:
    """What follows a message, up to the person's next one, says how its turn ended."""
    assert find_delivery(messages, "1") == expected


def test_find_delivery_without_an_id_every_message_is_new() -> None:
    """Who says the same twice means it twice."""
    assert find_delivery([user(None)], None) == "new"


def test_find_delivery_looks_at_the_newest_messages_only() -> None:
    """A long conversation does not make each message cost more."""
    assert find_delivery([user("1"), *[ANSWER] * MAX_LOOKBACK], "1") == "new"
    assert find_delivery([user("1"), *[ANSWER] * (MAX_LOOKBACK - 1)], "1") == "answered"


async def run_over(house: House, loop_model: object, channel: ConfirmingMailbox, *messages: InboundMessage) -> None:
    house.channel = channel
    inbox = Inbox()
    for message in messages:
        inbox.send_nowait(message)
    inbox.close()
    await house.loop(loop_model).run(inbox)  # type: ignore[arg-type]


async def test_loop_confirms_the_message_and_then_its_answer(sessions_dir: Path, clock: WallClock) -> None:
    """Both are on disk when the channel hears of it."""
    async with open_house(sessions_dir, clock) as house:
        channel = ConfirmingMailbox((sessions_dir / "web_a.json").read_text)
        await run_over(house, EchoModel(), channel, delivered("1"))
        assert [(id_, answered) for id_, answered, _ in channel.confirmed] == [("1", False), ("1", True)]
        assert all('"inbound_id":"1"' in text for _, _, text in channel.confirmed)
        assert '"role":"assistant"' in channel.confirmed[-1][2]
        assert house.manager.dirty_sessions() == []


async def test_loop_confirms_before_a_slow_model_answers(sessions_dir: Path, clock: WallClock) -> None:
    """A message is safe long before its answer is there."""
    async with open_house(sessions_dir, clock) as house:
        channel = ConfirmingMailbox()
        house.channel = channel
        gate = trio.Event()
        inbox = Inbox()
        inbox.send_nowait(delivered("1"))
        async with trio.open_nursery() as nursery:
            await nursery.start(house.loop(StreamingModel(gate, "hi")).run, inbox)
            await channel.until(1)
            assert [(id_, answered) for id_, answered, _ in channel.confirmed] == [("1", False)]
            assert channel.sent == []
            gate.set()
            await channel.until(2)
            inbox.close()


async def test_loop_repeated_message_is_recorded_and_answered_once(sessions_dir: Path, clock: WallClock) -> None:
    """What is delivered twice was said once."""
    async with open_house(sessions_dir, clock) as house:
        channel = ConfirmingMailbox()
        await run_over(house, EchoModel(), channel, delivered("1"), delivered("1"), delivered("2"), delivered("1"))
        assert [sent.content for sent in channel.sent] == ["hello", "hello"]
        assert [role for role, _ in await house.said("web_a")] == ["user", "assistant"] * 2
        assert {id_ for id_, answered, _ in channel.confirmed if answered} == {"1", "2"}


async def test_loop_message_whose_turn_was_killed_is_answered_when_it_is_delivered_again(
    sessions_dir: Path, clock: WallClock
) -> None:
    """The answer that was never given is given now, to the message as it was recorded."""
    async with open_house(sessions_dir, clock) as house:
        session = await house.manager.get_or_create_session("web", "a")
        await house.manager.add_message(session.session_id, user("1"))
        channel = ConfirmingMailbox()
        await run_over(house, EchoModel(), channel, delivered("1"))
        assert [sent.content for sent in channel.sent] == ["hello"]
        assert await house.said("web_a") == [("user", "hello"), ("assistant", "hello")]


async def test_loop_message_that_was_interrupted_is_told_so_once_it_is_delivered_again(
    sessions_dir: Path, clock: WallClock
) -> None:
    """A person who could not be told at the shutdown is told afterwards, and the model is not asked."""
    async with open_house(sessions_dir, clock) as house:
        session = await house.manager.get_or_create_session("web", "a")
        await house.manager.add_message(session.session_id, user("1"))
        await house.manager.add_message(session.session_id, MARK)
        channel = ConfirmingMailbox()

        async def script(_: Sequence[Message]) -> str:
            pytest.fail("the model was asked")

        await run_over(house, ScriptedModel(script), channel, delivered("1"))
        assert [sent.failed for sent in channel.sent] == [True]
        assert "stopped before" in channel.sent[0].content
        assert len(await house.said("web_a")) == 2
        assert channel.confirmed[-1][:2] == ("1", True)


async def test_loop_failed_turn_is_confirmed_for_the_person_was_told(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A model that fails once does not fail again for the same delivery."""
    logs.expect_error("Model did not answer")
    async with open_house(sessions_dir, clock) as house:
        channel = ConfirmingMailbox()
        await run_over(house, StreamingModel(ModelError("no")), channel, delivered("1"), delivered("1"))
        assert [sent.failed for sent in channel.sent] == [True]
        assert [role for role, _ in await house.said("web_a")] == ["user", "system"]
        assert channel.confirmed[-1][:2] == ("1", True)


async def test_loop_message_that_never_can_be_recorded_is_confirmed(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A message that is no Unicode would else be delivered for ever."""
    logs.expect_error("Message could not be recorded")
    async with open_house(sessions_dir, clock) as house:
        channel = ConfirmingMailbox()
        await run_over(house, EchoModel(), channel, delivered("1", "\udcff"))
        assert [(id_, answered) for id_, answered, _ in channel.confirmed] == [("1", True)]
        assert channel.sent[0].failed


async def test_loop_message_that_the_disk_refuses_is_not_confirmed(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """What is not safe is to be delivered again."""
    logs.expect_error("Message could not be recorded")
    os.rename(write_session(sessions_dir, "web_other", clock.now), sessions_dir / "web_a.json")
    (sessions_dir / ".quarantine").touch()  # nothing can be moved there
    async with open_house(sessions_dir, clock) as house:
        channel = ConfirmingMailbox()
        await run_over(house, EchoModel(), channel, delivered("1"))
        assert channel.confirmed == []
        assert channel.sent[0].failed


async def test_loop_cancelled_with_a_repeated_message_waiting_records_it_once(
    sessions_dir: Path, clock: WallClock
) -> None:
    """Shutdown and redelivery together double nothing."""
    async with open_house(sessions_dir, clock) as house:
        channel = ConfirmingMailbox()
        house.channel = channel
        gate = trio.Event()
        inbox = Inbox()
        for message in (delivered("1"), delivered("1"), delivered("2"), delivered("2")):
            inbox.send_nowait(message)
        model = StreamingModel(gate, "hi")
        async with trio.open_nursery() as nursery:
            await nursery.start(house.loop(model).run, inbox)
            await model.waiting.wait()
            await until(lambda: not house.manager.dirty_sessions())  # no save is under way
            nursery.cancel_scope.cancel()
        said = await house.said("web_a")
        assert [role for role, _ in said] == ["user", "system", "user", "system"]
        assert channel.sent == []


async def test_loop_session_deleted_for_good_before_it_was_saved_refuses_the_message_and_ends_the_turn(
    sessions_dir: Path, clock: WallClock
) -> None:
    """A message that is in no file any more never counts as saved; the channel hears that, and need not send it again."""
    async with open_house(sessions_dir, clock) as house:
        channel = ConfirmingMailbox()
        house.channel = channel
        gate = trio.Event()
        inbox = Inbox()
        inbox.send_nowait(delivered("1"))
        write_sessions, saves = house.manager.save_sessions, trio.Event()

        async def save_later(session_ids: Iterable[str]) -> SaveReport:
            await saves.wait()
            return await write_sessions(session_ids)

        house.manager.save_sessions = save_later  # type: ignore[method-assign]  # the deletion comes first
        async with trio.open_nursery() as nursery:
            await nursery.start(house.loop(StreamingModel(gate, "hi")).run, inbox)
            await until(lambda: bool((session := house.manager.peek("web_a")) and session.messages))
            await house.manager.delete_session("web_a")
            saves.set()
            gate.set()
            await channel.until(1)
            inbox.close()
        assert [id_ for id_, _ in channel.refused] == ["1"]
        assert [(id_, answered) for id_, answered, _ in channel.confirmed] == [("1", True)]


async def test_loop_message_that_could_never_be_recorded_is_refused_and_not_told_as_saved(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """What is in no session is not confirmed as saved, and need not be delivered again."""
    logs.expect_error("Message could not be recorded")
    async with open_house(sessions_dir, clock) as house:
        channel = ConfirmingMailbox()
        bad = InboundMessage("web", "a", "half an emoji: \ud83d", inbound_id="1")
        await run_over(house, EchoModel(), channel, bad)
        assert [id_ for id_, _ in channel.refused] == ["1"]
        assert [(id_, answered) for id_, answered, _ in channel.confirmed] == [("1", True)]
