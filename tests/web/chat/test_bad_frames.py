"""What is no frame, no message, or no chat: each is told, and nothing is lost by it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from miniclaw.agent.models import EchoModel
from miniclaw.web.chat.frames import MAX_TEXT_CHARS
from tests.fakes.clock import WallClock
from tests.fakes.live_chat import open_live_house

ANOTHER_KIND = 'the frame is JSON of another kind; a JSON object {"type": "message", "id": ID, "text": TEXT}'


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ("", "the frame is no JSON; a JSON object"),
        ("hello", "the frame is no JSON; a JSON object"),
        ("{" * 100_000, "the frame is no JSON"),
        ("[" * 100_000, ANOTHER_KIND),
        ('"\\ud800"', "a JSON object"),
        ("[]", ANOTHER_KIND),
        ("{}", ANOTHER_KIND),
        ('{"type": "shout"}', ANOTHER_KIND),
        ('{"type": ["message"]}', ANOTHER_KIND),
        ('{"type": "message", "id": "a1"}', ANOTHER_KIND),
        ('{"type": "message", "text": "hello"}', ANOTHER_KIND),
        ('{"type": "message", "id": "a1", "text": 5}', ANOTHER_KIND),
        ('{"type": "message", "id": "", "text": "hello"}', "ID being 1 to 64 of"),
        ('{"type": "message", "id": "a b", "text": "hello"}', "ID being 1 to 64 of"),
        ('{"type": "message", "id": "a1\\n", "text": "hello"}', "ID being 1 to 64 of"),
        ('{"type": "message", "id": "%s", "text": "hello"}' % ("a" * 65), "ID being 1 to 64 of"),
        ('{"type": "message", "id": "a1", "text": "\\ud800"}', "the frame is no JSON"),
        ('{"type": "history", "before": -1}', "INDEX a whole number from 0 on"),
        ('{"type": "history", "before": 1.5}', ANOTHER_KIND),
        ('{"type": "history", "before": 1e400}', "a JSON object"),
        (b"\x00\x01", "a text frame is expected"),
        (b'{"type": "message", "id": "a1", "text": "hello"}', "a text frame is expected"),
    ],
)
async def test_chat_bad_frame_is_told_and_the_connection_goes_on(
    sessions_dir: Path, clock: WallClock, frame: str | bytes, words: str
) -> None:
    """Whatever is no frame gets a sentence that says what would be one, and the next one is served."""
    async with open_live_house(sessions_dir, clock, EchoModel()) as house, house.chat() as (client, _):
        await client.connection.send_message(frame)
        answer = await client.receive()
        assert answer["type"] == "error"
        assert words in answer["detail"]
        assert "id" not in answer
        await client.say("a1", "hello")
        assert (await client.until("reply"))[-1]["text"] == "hello"


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "empty"), (" \n", "empty"), ("x" * (MAX_TEXT_CHARS + 1), "100,001 characters; 100,000 at the most")],
)
async def test_chat_message_that_cannot_be_taken_is_refused_by_its_id(
    sessions_dir: Path, clock: WallClock, text: str, words: str
) -> None:
    """A client learns which message it need not send again, and why."""
    async with open_live_house(sessions_dir, clock, EchoModel()) as house, house.chat() as (client, _):
        await client.say("bad", text)
        refusal = await client.receive()
        assert (refusal["type"], refusal["id"]) == ("error", "bad")
        assert words in refusal["detail"]
        await client.say("a1", "😀" * MAX_TEXT_CHARS)
        assert (await client.until("reply"))[-1]["text"] == "😀" * MAX_TEXT_CHARS


async def test_chat_frame_beyond_the_servers_limit_ends_the_connection_with_1009(
    sessions_dir: Path, clock: WallClock
) -> None:
    """Ten megabytes are not listened to; what was said before is not lost."""
    async with open_live_house(sessions_dir, clock, EchoModel()) as house:
        async with house.chat() as (client, _):
            await client.say("a1", "hello")
            await client.until("saved")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.say, "a2", "x" * 10_000_000)
                assert (await client.closed())[0] == 1009
                nursery.cancel_scope.cancel()
        async with house.chat() as (_, hello):
            assert [message["content"] for message in hello["messages"]] == ["hello", "hello"]


async def test_chat_text_that_is_no_utf8_ends_the_connection_with_1007(sessions_dir: Path, clock: WallClock) -> None:
    """A text frame of wrong bytes is against the websocket's own rules; the next connection finds all as it was."""
    async with open_live_house(sessions_dir, clock, EchoModel()) as house:
        async with house.chat() as (client, _):
            await client.say("a1", "hello")
            await client.until("saved")
            await client.stream.send_all(b"\x81\x82\0\0\0\0\xff\xfe")
            assert (await client.closed())[0] == 1007
        async with house.chat() as (_, hello):
            assert hello["messages"][0]["content"] == "hello"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?chat=", "not empty"),
        ("?chat=%20", "can be printed"),
        ("?chat=a%0Ab", "can be printed"),
        ("?chat=%1b%5b31m", "can be printed"),
        ("?chat=" + "x" * 201, "200 characters at the most"),
        ("?channel=console", "the channel is one of: web"),
        ("?channel=telegram", "the channel is one of: web"),
        ("?channel=../web", "the channel is one of: web"),
    ],
)
async def test_chat_that_cannot_be_had_is_refused_with_a_sentence(
    sessions_dir: Path, clock: WallClock, query: str, words: str
) -> None:
    """A client that asks for what there is not, or is not for it, learns why and is not to come again."""
    async with open_live_house(sessions_dir, clock, EchoModel()) as house, house.connect(query) as client:
        assert words in (await client.receive())["detail"]
        assert await client.closed() == (1008, "there is no such chat")


async def test_chat_odd_ids_and_a_trusted_clients_channel_are_sessions_of_their_own(
    sessions_dir: Path, clock: WallClock
) -> None:
    """Ids of many kinds are chats; whoever is trusted may use the console's, and ids that cannot be printed."""
    async with open_live_house(sessions_dir, clock, EchoModel(), trusts_all=True) as house:
        for query, session_id in (
            ("", "web_main"),
            ("?chat=../../etc", "web_../../etc"),
            ("?chat=%F0%9F%98%80+%26", "web_😀 &"),
            ("?chat=" + "x" * 200, "web_" + "x" * 200),
            ("?chat=me&channel=console", "console_me"),
            ("?chat=a%0Ab&channel=console", "console_a\nb"),
        ):
            async with house.connect(query) as client:
                await client.say("a1", session_id)
                await client.until("saved")
            assert ("user", session_id) in await house.said(session_id)
    assert len(list(sessions_dir.glob("*.json"))) == 6
    assert not (sessions_dir.parent.parent / "etc").exists()
