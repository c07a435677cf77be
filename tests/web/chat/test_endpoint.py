"""The chat's websocket over a real server, with a real loop behind it."""

from __future__ import annotations

from pathlib import Path

import trio

from miniclaw.agent.models import EchoModel
from tests.fakes.agent import StreamingModel
from tests.fakes.clock import WallClock
from tests.fakes.live_chat import open_live_house


async def test_chat_message_is_shown_answered_and_saved(sessions_dir: Path, clock: WallClock) -> None:
    """A message comes back to who sent it, is answered once, and is confirmed once it is on disk."""
    async with open_live_house(sessions_dir, clock, EchoModel()) as house:
        async with house.chat() as (client, hello):
            assert hello["messages"] == []
            await client.say("a1", "hello")
            frames = [await client.receive() for _ in range(3)]
            assert frames[0] == {"type": "message", "id": "a1", "text": "hello"}
            assert {frame["type"]: frame for frame in frames[1:]} == {
                "reply": {"type": "reply", "text": "hello", "failed": False, "to": "a1"},
                "saved": {"type": "saved", "id": "a1"},
            }
            assert (sessions_dir / "web_main.json").exists()
        assert await house.said() == [("user", "hello"), ("assistant", "hello")]


async def test_chat_answer_is_shown_while_it_is_produced(sessions_dir: Path, clock: WallClock) -> None:
    """Pieces come as they are said, the whole at the end, and a tab that opens in the middle sees how far it is."""
    go_on = trio.Event()
    async with (
        open_live_house(sessions_dir, clock, StreamingModel("Hel", "lo", go_on, " you")) as house,
        house.chat() as (
            first,
            _,
        ),
    ):
        await first.say("a1", "hi")
        seen = ""
        while seen != "Hello":
            frame = (await first.until("delta"))[-1]
            assert frame["to"] == "a1"
            seen += frame["text"]
        async with house.chat() as (second, hello):
            assert [message["content"] for message in hello["messages"]] == ["hi"]
            assert hello["now"] == {"to": "a1", "text": "Hello"}
            assert hello["waiting"] == [{"type": "message", "id": "a1", "text": "hi"}]
            go_on.set()
            for client in (first, second):
                frames = await client.until("reply")
                assert frames[-1]["text"] == "Hello you"
