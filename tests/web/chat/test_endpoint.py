"""The chat's websocket over a real server, with a real loop behind it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from miniclaw.agent.models import EchoModel
from miniclaw.channels.base import InboundMessage, OutboundDelta, OutboundMessage
from miniclaw.web.chat.frames import PAGE_CHARS, PAGE_MESSAGES
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
