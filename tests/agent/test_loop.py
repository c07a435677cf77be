"""The agent loop over a real manager and a real store: turns, their order, and models that fail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from miniclaw.agent.inbox import Inbox
from miniclaw.agent.models import EchoModel
from miniclaw.channels.base import OutboundMessage
from miniclaw.errors import ModelError
from miniclaw.session.types import Message
from tests.fakes.agent import ScriptedModel, inbound, open_house, serve
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder


async def test_loop_message_is_recorded_before_the_model_is_asked(sessions_dir: Path, clock: WallClock) -> None:
    """What the person wrote is in the session when the model is asked, and the answer after it."""
    async with open_house(sessions_dir, clock) as house:
        before: list[list[tuple[str, str]]] = []

        async def script(messages: Sequence[Message]) -> str:
            assert [message.content for message in messages] == ["hello"]
            before.append(await house.said("web_a"))
            return "hi"

        sent = await house.loop(ScriptedModel(script)).handle(inbound("hello"))
        assert before == [[("user", "hello")]]
        assert await house.said("web_a") == [("user", "hello"), ("assistant", "hi")]
        assert sent == OutboundMessage("web", "a", "hi", inbound("hello"), failed=False)
        assert house.channel.sent == [sent]


async def test_loop_messages_carry_the_time_of_the_clock(sessions_dir: Path, clock: WallClock) -> None:
    """Both sides of a turn have the time at which they were said."""
    async with open_house(sessions_dir, clock) as house:

        async def script(_: Sequence[Message]) -> str:
            clock.move(seconds=7)
            return "hi"

        began = clock.now
        await house.loop(ScriptedModel(script)).handle(inbound("hello"))
        session = await house.manager.get_session("web_a")
        assert session is not None
        assert [message.timestamp for message in session.messages] == [began, clock.now]


async def test_loop_failing_model_keeps_the_message_and_says_why(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A model without an answer costs the person nothing but the answer."""
    logs.expect_error("Model did not answer")
    async with open_house(sessions_dir, clock) as house:

        async def script(_: Sequence[Message]) -> str:
            raise ModelError("the quota is used up")

        sent = await house.loop(ScriptedModel(script)).handle(inbound("hello"))
        assert sent is not None
        assert sent.failed
        assert "the quota is used up" in sent.content
        assert "recorded" in sent.content
        assert await house.said("web_a") == [("user", "hello"), ("system", "[interrupted] the quota is used up")]
        assert house.manager.dirty_sessions() == ["web_a"]


async def test_loop_after_a_failing_model_the_next_message_is_answered(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """One failure ends neither the loop nor the chat."""
    logs.expect_error("Model did not answer")
    async with open_house(sessions_dir, clock) as house:

        async def script(messages: Sequence[Message]) -> str:
            if messages[-1].content == "bad":
                raise ModelError("no")
            return "fine"

        await serve(house.loop(ScriptedModel(script)), inbound("bad"), inbound("good"))
        assert [(sent.failed, sent.reply_to) for sent in house.channel.sent] == [
            (True, inbound("bad")),
            (False, inbound("good")),
        ]


async def test_loop_one_chat_is_answered_in_order_and_one_at_a_time(sessions_dir: Path, clock: WallClock) -> None:
    """Within a chat no turn begins before the one before it has ended."""
    async with open_house(sessions_dir, clock) as house:
        running = 0
        highest = 0

        async def script(messages: Sequence[Message]) -> str:
            nonlocal running, highest
            running += 1
            highest = max(highest, running)
            await wait_all_tasks_blocked()  # whoever could begin has begun
            running -= 1
            return f"re {messages[-1].content}"

        await serve(house.loop(ScriptedModel(script)), *(inbound(str(number)) for number in range(4)))
        assert highest == 1
        expected = [pair for n in range(4) for pair in (("user", str(n)), ("assistant", f"re {n}"))]
        assert await house.said("web_a") == expected
        assert [sent.content for sent in house.channel.sent] == ["re 0", "re 1", "re 2", "re 3"]


async def test_loop_different_chats_are_answered_at_the_same_time(sessions_dir: Path, clock: WallClock) -> None:
    """A slow answer in one chat holds up no other chat."""
    async with open_house(sessions_dir, clock) as house:
        asked = {chat: trio.Event() for chat in "abc"}

        async def script(messages: Sequence[Message]) -> str:
            asked[messages[-1].content].set()
            for event in asked.values():
                await event.wait()  # each waits until all others are asked, too
            return "done"

        await serve(house.loop(ScriptedModel(script)), *(inbound(chat, chat) for chat in asked))
        assert {sent.chat_id for sent in house.channel.sent} == set(asked)


async def test_loop_a_chat_that_went_quiet_is_taken_up_again(sessions_dir: Path, clock: WallClock) -> None:
    """A chat whose messages are all answered is ready for the next one."""
    async with open_house(sessions_dir, clock) as house, trio.open_nursery() as nursery:
        inbox = Inbox()
        await nursery.start(house.loop(EchoModel()).run, inbox)
        for text in ("one", "two"):
            await inbox.send(inbound(text))
            await house.channel.delivered.wait()
            house.channel.delivered = trio.Event()
            await wait_all_tasks_blocked()  # the chat's task has ended
        inbox.close()
    assert [sent.content for sent in house.channel.sent] == ["one", "two"]
