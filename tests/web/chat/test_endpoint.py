"""The chat's websocket over a real server, with a real loop behind it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from miniclaw.agent.models import EchoModel
from miniclaw.channels.base import InboundMessage, OutboundDelta, OutboundMessage
from miniclaw.web.chat.frames import MAX_TEXT_CHARS, PAGE_CHARS, PAGE_MESSAGES
from tests.fakes.agent import StreamingModel
from tests.fakes.clock import WallClock
from tests.fakes.live_chat import open_live_house
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def said(role: str, content: str, inbound_id: str | None = None) -> dict[str, Any]:
    """Return a message of a session file."""
    message = {"role": role, "content": content, "timestamp": "2026-11-23T11:00:00Z"}
    return message if inbound_id is None else {**message, "inbound_id": inbound_id}


def write(sessions_dir: Path, *messages: dict[str, Any], session_id: str = "web_main") -> Path:
    return write_session(sessions_dir, session_id, NOW, messages=list(messages))


def contents(frame: dict[str, Any]) -> list[str]:
    return [message["content"] for message in frame["messages"]]


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


# What was said before ---------------------------------------------------------------------------------------------


async def test_chat_history_comes_in_pages_from_the_newest_on(sessions_dir: Path, clock: WallClock) -> None:
    """The newest fifty come at once, the others page by page, until there are none; each knows its place."""
    write(sessions_dir, *(said("user" if n % 2 == 0 else "assistant", f"m{n}") for n in range(120)))
    async with open_live_house(sessions_dir, clock, EchoModel()) as house, house.chat() as (client, hello):
        assert contents(hello) == [f"m{n}" for n in range(70, 120)]
        assert hello["messages"][0] == {
            "index": 70, "role": "user", "content": "m70", "at": "2026-11-23T11:00:00Z",
        }  # fmt: skip
        assert (hello["more"], hello["chat"], hello["channel"], hello["model"]) == (True, "main", "web", "echo")
        pages = []
        for before in (70, 20, 0, 1000):
            await client.send(type="history", before=before)
            pages.append(await client.receive())
        assert [(contents(page), page["more"]) for page in pages] == [
            ([f"m{n}" for n in range(20, 70)], True),
            ([f"m{n}" for n in range(20)], False),
            ([], False),
            ([f"m{n}" for n in range(70, 120)], True),
        ]


async def test_chat_history_of_long_messages_comes_in_shorter_pages(sessions_dir: Path, clock: WallClock) -> None:
    """A page has so many characters and no more, unless a single message has."""
    long = "x" * (PAGE_CHARS // 2)
    write(sessions_dir, said("user", "first"), said("assistant", long * 3), *[said("assistant", long)] * 3)
    async with open_live_house(sessions_dir, clock, EchoModel()) as house, house.chat() as (client, hello):
        assert [message["index"] for message in hello["messages"]] == [3, 4]
        shown = []
        for before in (3, 2, 1):
            await client.send(type="history", before=before)
            shown.append([message["index"] for message in (await client.receive())["messages"]])
        assert shown == [[2], [1], [0]]
    assert PAGE_MESSAGES > 2


async def test_chat_history_has_tools_and_marks(sessions_dir: Path, clock: WallClock) -> None:
    """What a session has besides talk is there as well."""
    call = {"id": "c1", "name": "look", "arguments": "{}"}
    result = {**said("tool_result", "a cat"), "tool_call_id": "c1"}
    mark = said("system", "[interrupted] stopped")
    write(sessions_dir, said("user", "hi", "a1"), {**said("assistant", ""), "tool_calls": [call]}, result, mark)
    async with open_live_house(sessions_dir, clock, EchoModel()) as house, house.chat() as (_, hello):
        assert [(m["role"], m.get("id"), m.get("tool_calls"), m.get("tool_call_id")) for m in hello["messages"]] == [
            ("user", "a1", None, None), ("assistant", None, [call], None), ("tool_result", None, None, "c1"),
            ("system", None, None, None),
        ]  # fmt: skip


async def test_chat_that_is_only_looked_at_makes_no_session(sessions_dir: Path, clock: WallClock) -> None:
    """Whoever opens a chat and says nothing leaves nothing."""
    async with open_live_house(sessions_dir, clock, EchoModel()) as house:
        async with house.chat("nobody") as (client, _):
            await client.send(type="history", before=5)
            assert (await client.receive())["messages"] == []
        assert house.manager.live_sessions() == 0
        assert repr(house.hubs["web"]) == "<LiveChannel web running chats=0 clients=0>"


async def test_chat_whose_file_is_damaged_says_so_and_begins_anew(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """What cannot be read is told, and the conversation is possible all the same."""
    logs.expect_error("Session could not be read; begun anew")
    write(sessions_dir).write_text("{")
    async with open_live_house(sessions_dir, clock, EchoModel()) as house, house.chat() as (client, hello):
        assert hello["messages"] == []
        assert "cannot be read" in (await client.receive())["detail"]
        await client.say("a1", "hello")
        assert (await client.until("reply"))[-1]["text"] == "hello"


# Messages that were cut off ---------------------------------------------------------------------------------------


async def test_chat_killed_before_the_answer_is_answered_once_somebody_looks(
    sessions_dir: Path, clock: WallClock
) -> None:
    """A message that the gateway had recorded before it was killed is answered once, to all who look by then."""
    write(sessions_dir, said("user", "hello", "a1"))
    go_on = trio.Event()
    model = StreamingModel("Hel", go_on, "lo")
    async with open_live_house(sessions_dir, clock, model) as house, house.chat() as (first, hello):
        assert contents(hello) == ["hello"]
        await first.until("delta")
        async with house.chat() as (second, _):
            await second.say("a1", "hello")  # a client that has not been told that it is saved
            go_on.set()
            for client in (first, second):
                assert (await client.until("reply"))[-1]["text"] == "Hello"
        assert await house.said() == [("user", "hello"), ("assistant", "Hello")]


@pytest.mark.parametrize(
    "messages",
    [
        [said("user", "hello")],
        [said("user", "hello", "a1"), said("assistant", "hi")],
        [said("user", "hello", "a1"), said("system", "[interrupted] stopped")],
    ],
    ids=["without an id", "answered", "interrupted"],
)
async def test_chat_that_wants_no_answer_gets_none(
    sessions_dir: Path, clock: WallClock, messages: list[dict[str, Any]]
) -> None:
    """Only what nobody has answered or given up is taken up again."""
    write(sessions_dir, *messages)
    async with open_live_house(sessions_dir, clock, EchoModel()) as house, house.chat() as (client, hello):
        await client.say("b1", "next")
        assert (await client.until("reply", to="b1"))[0] == {"type": "message", "id": "b1", "text": "next"}
        assert hello["waiting"] == []
        assert len(await house.said()) == len(messages) + 2


async def test_chat_answer_that_is_recorded_and_still_to_be_sent_is_shown_once(
    sessions_dir: Path, clock: WallClock
) -> None:
    """Between the recording of an answer and its sending it is in the history, and not in progress as well."""
    write(sessions_dir, said("user", "hello", "a1"), said("assistant", "Hello"))
    asked = InboundMessage("web", "main", "hello", inbound_id="a1")
    async with open_live_house(sessions_dir, clock, EchoModel(), runs=False) as house:
        hub = house.hubs["web"]
        await hub.send_delta(OutboundDelta("web", "main", "Hello", asked))
        async with house.chat() as (client, hello):
            assert contents(hello) == ["hello", "Hello"]
            assert hello["now"] is None
            await hub.send(OutboundMessage("web", "main", "Hello", asked))
            assert await client.receive() == {"type": "reply", "text": "Hello", "failed": False, "to": "a1"}


# Bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ("", "the frame is no JSON; a JSON object"),
        ("hello", "the frame is no JSON; a JSON object"),
        ("{" * 100_000, "the frame is no JSON"),
        ("[" * 100_000, "Expected `object`"),
        ('"\\ud800"', "a JSON object"),
        ("[]", "Expected `object`"),
        ("{}", "missing required field `type`"),
        ('{"type": "shout"}', "Invalid value 'shout'"),
        ('{"type": ["message"]}', "Expected `str`"),
        ('{"type": "message", "id": "a1"}', "missing required field `text`"),
        ('{"type": "message", "text": "hello"}', "missing required field `id`"),
        ('{"type": "message", "id": "a1", "text": 5}', "Expected `str`, got `int`"),
        ('{"type": "message", "id": "", "text": "hello"}', "ID being 1 to 64 of"),
        ('{"type": "message", "id": "a b", "text": "hello"}', "ID being 1 to 64 of"),
        ('{"type": "message", "id": "a1\\n", "text": "hello"}', "ID being 1 to 64 of"),
        ('{"type": "message", "id": "%s", "text": "hello"}' % ("a" * 65), "ID being 1 to 64 of"),
        ('{"type": "message", "id": "a1", "text": "\\ud800"}', "the frame is no JSON"),
        ('{"type": "history", "before": -1}', "INDEX a whole number from 0 on"),
        ('{"type": "history", "before": 1.5}', "Expected `int`, got `float`"),
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
            assert contents(hello) == ["hello", "hello"]


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


# Floods, and the end ----------------------------------------------------------------------------------------------


async def test_chat_flood_is_slowed_down_and_nothing_of_it_is_lost(sessions_dir: Path, clock: WallClock) -> None:
    """More messages than may come at once are all answered, in their order, at the pace of the house."""
    async with open_live_house(sessions_dir, clock, EchoModel()) as house:
        async with house.chat() as (client, _), house.chat("quiet") as (other, _):
            began = trio.current_time()
            for number in range(25):
                await client.say(f"a{number}", f"m{number}")
            await other.say("a1", "hello")
            await other.until("reply")
            await client.until("reply", to="a24")
            assert trio.current_time() - began > 0.9
        assert [text for role, text in await house.said() if role == "user"] == [f"m{number}" for number in range(25)]


async def test_chat_end_of_the_gateway_is_told_with_1001(sessions_dir: Path, clock: WallClock) -> None:
    """Whoever is connected when the gateway stops learns that it went away, after what was still to be told."""
    async with open_live_house(sessions_dir, clock, EchoModel()) as house:
        async with house.chat() as (client, _), house.chat("b") as (other, _):
            house.hubs["web"].confirm(InboundMessage("web", "main", "", inbound_id="x"), answered=True)
            house.drain.set()
            assert await client.receive() == {"type": "saved", "id": "x"}
            for each in (client, other):
                assert await each.closed() == (1001, "the gateway is stopping")
        async with house.connect() as late:
            assert (await late.closed())[0] == 1001


async def test_chat_before_the_agent_runs_asks_to_come_again(sessions_dir: Path, clock: WallClock) -> None:
    """A message that nobody takes yet is not taken: the connection ends with the reason, and the client has it still."""
    write(sessions_dir, said("user", "unanswered", "a1"), session_id="web_b")
    async with open_live_house(sessions_dir, clock, EchoModel(), runs=False) as house:
        async with house.chat() as (client, _):
            await client.say("a1", "hello")
            code, reason = await client.closed()
            assert code == 1013
            assert "starting" in reason
        async with house.connect("?chat=b") as client:
            assert (await client.closed())[0] == 1013
    assert not (sessions_dir / "web_main.json").exists()


async def test_chat_client_that_vanishes_leaves_nothing_behind(sessions_dir: Path, clock: WallClock) -> None:
    """A connection that breaks without a word is forgotten; the answer it waited for is in the history."""
    go_on = trio.Event()
    async with open_live_house(sessions_dir, clock, StreamingModel("Hel", go_on, "lo")) as house:
        async with house.chat() as (client, _):
            await client.say("a1", "hello")
            await client.until("delta")
            await client.stream.aclose()
        async with house.chat() as (client, hello):
            assert hello["now"] == {"to": "a1", "text": "Hel"}
            go_on.set()
            await client.until("reply")
        assert await house.said() == [("user", "hello"), ("assistant", "Hello")]
