"""A full session on the page: the sentence comes as the reply, the message is refused for good, and nothing is closed."""

from __future__ import annotations

from pathlib import Path

from miniclaw.agent.models import EchoModel
from tests.fakes.clock import WallClock
from tests.fakes.live_chat import open_live_house


async def test_chat_message_to_a_full_session_is_refused_and_the_chat_goes_on(
    sessions_dir: Path, clock: WallClock
) -> None:
    """A client gets the sentence twice, as a failed reply and as the error of its message, and no notice of a save."""
    async with open_live_house(sessions_dir, clock, EchoModel()) as house:
        async with house.chat() as (client, _):
            await client.say("1", "hello")
            await client.until("saved", id="1")
            house.manager.max_session_bytes = 1
            await client.say("2", "more")
            frames = await client.until("error", id="2")
        assert {frame["type"] for frame in frames} == {"message", "reply", "error"} | (
            {"reply"} if len(frames) > 3 else set()  # that of the first message may still have been on its way
        )
        reply = next(frame for frame in frames if frame["type"] == "reply" and frame["to"] == "2")
        error = frames[-1]
        assert reply["failed"]
        assert error["detail"].startswith("the session 'web_main' is full: it has ")
        assert error["detail"].endswith("begin a new chat, or move or delete this one, or raise that bound")
        assert reply["text"].endswith(f"{error['detail']}.")
        assert await house.said() == [("user", "hello"), ("assistant", "hello")]


async def test_chat_refused_message_that_is_sent_again_is_refused_again(sessions_dir: Path, clock: WallClock) -> None:
    """A client that missed the refusal gets it at its next connection, and the message once there is room."""
    async with open_live_house(sessions_dir, clock, EchoModel()) as house:
        async with house.chat() as (client, _):
            await client.say("1", "hello")
            await client.until("saved", id="1")
        bound, house.manager.max_session_bytes = house.manager.max_session_bytes, 1
        for _ in range(2):
            async with house.chat() as (client, hello):
                assert [message["content"] for message in hello["messages"]] == ["hello", "hello"]
                await client.say("2", "more")
                await client.until("error", id="2")
        house.manager.max_session_bytes = bound
        async with house.chat() as (client, _):
            await client.say("2", "more")
            await client.until("saved", id="2")
        assert [text for _, text in await house.said()] == ["hello", "hello", "more", "more"]


async def test_chat_beside_a_full_one_is_answered(sessions_dir: Path, clock: WallClock) -> None:
    """The remedy: a new chat."""
    async with open_live_house(sessions_dir, clock, EchoModel()) as house, house.chat() as (client, _):
        house.manager.max_session_bytes = 400
        await client.say("1", "x" * 400)
        await client.until("error", id="1")
        async with house.chat("other") as (other, _):
            await other.say("1", "hello")
            await other.until("saved", id="1")
        assert [text for _, text in await house.said("web_other")] == ["hello", "hello"]
