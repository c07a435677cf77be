"""What ``chat`` shows of what a gateway sends, in any order in which connections may break."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from miniclaw.channels.console import ConsoleChannel
from miniclaw.cli.chat.gateway_socket import GatewaySocket, SocketClosedError
from miniclaw.cli.chat.remote_chat import AWAY_SECONDS, RemoteChat
from miniclaw.errors import ChannelError

HELLO: dict[str, Any] = {"type": "hello", "messages": [], "now": None}
GONE = SocketClosedError(1001, "the gateway is stopping")
ID = "ID"  # stands for the id of the message

Script = list[dict[str, Any] | SocketClosedError]


def said(role: str, content: str, inbound_id: str | None = None) -> dict[str, Any]:
    return {"role": role, "content": content, "at": "2026-02-14T10:30:00Z", "id": inbound_id}


def hello(*messages: dict[str, Any], now: str | None = None) -> dict[str, Any]:
    return {**HELLO, "messages": messages, "now": None if now is None else {"to": ID, "text": now}}


def delta(text: str) -> dict[str, Any]:
    return {"type": "delta", "text": text, "to": ID}


def reply(text: str, *, failed: bool = False) -> dict[str, Any]:
    return {"type": "reply", "text": text, "failed": failed, "to": ID}


SAVED = {"type": "saved", "id": ID}


class ScriptedSocket(GatewaySocket):
    """A gateway that sends what its script says: nothing but a hello before it has a message."""

    def __init__(self, *script: dict[str, Any] | SocketClosedError) -> None:
        super().__init__(Path("/nowhere"), "console", "me")
        self._script = iter(script)
        self._asked = trio.Event()
        self._greeted = False
        self.sent: list[dict[str, Any]] = []
        self.opened = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        self.opened += 1
        yield

    async def send(self, frame: str) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(json.loads(frame))
        self._asked.set()

    async def receive(self) -> str:
        await trio.lowlevel.checkpoint()
        if self._greeted:
            await self._asked.wait()
        self._greeted = True
        frame = next(self._script, None)
        if frame is None:
            await trio.sleep_forever()
        if isinstance(frame, SocketClosedError):
            raise frame
        return json.dumps(frame).replace(f'"{ID}"', json.dumps(self.sent[-1]["id"]) if self.sent else "null")


class _Console(ConsoleChannel):
    """Prints without a thread, which the clock of these tests would not wait for."""

    def __init__(self) -> None:
        super().__init__("me", messages=["hi"])
        self.shown = ""

    async def _print(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        self.shown += text


async def show(*script: dict[str, Any] | SocketClosedError, history: int = 0) -> tuple[str, int, ScriptedSocket]:
    """Say one thing; return what is printed, how many answers failed, and the socket."""
    console = _Console()
    gateway = ScriptedSocket(*script)
    await RemoteChat(gateway, console, history=history).run()
    return console.shown, console.failures, gateway


@pytest.mark.parametrize(
    ("script", "expected", "failures"),
    [
        ([HELLO, delta("Hel"), delta("lo"), reply("Hello"), SAVED], "Hello\n", 0),
        ([HELLO, SAVED, reply("Hello")], "Hello\n", 0),
        ([HELLO, SAVED, delta("Hel"), reply("Hel\n\nSorry", failed=True)], "Hel\n\nSorry\n", 1),
        ([HELLO, reply("Sorry, not recorded", failed=True)], "Sorry, not recorded\n", 1),
        ([HELLO, {"type": "error", "detail": "too long", "id": ID}], "The message was not sent: too long\n", 1),
        # cut off, and said again
        ([HELLO, delta("Hel"), GONE, hello(), delta("Hello"), reply("Hello"), SAVED], "Hello\n", 0),
        ([HELLO, delta("Hel"), GONE, hello(now="He"), delta("ll"), reply("Hello"), SAVED], "Hello\n", 0),
        ([HELLO, delta("Hel"), GONE, hello(), delta("H"), GONE, hello(), reply("Hello"), SAVED], "Hello\n", 0),
        # cut off, and said differently
        ([HELLO, delta("Hel"), GONE, hello(), delta("Good"), reply("Good day"), SAVED], "Hel\nGood day\n", 0),
        ([HELLO, delta("Hello you"), GONE, hello(), reply("Hello"), SAVED], "Hello you\nHello\n", 0),
        # answered while the connection was away
        (
            [HELLO, delta("Hel"), GONE, hello(said("user", "hi", ID), said("assistant", "Hello")), SAVED, reply("Hello")],
            "Hello\n",
            0,
        ),
        (
            [HELLO, GONE, hello(said("user", "hi", ID), said("system", "[interrupted] stopped")), SAVED],
            "[interrupted] stopped\n",
            1,
        ),
        # of no interest here
        ([HELLO, {"type": "message", "id": "x", "text": "another's"}, reply("Hello"), SAVED], "Hello\n", 0),
        ([HELLO, {"type": "news", "odd": True}, {**reply("to another"), "to": "x"}, reply("Hello"), SAVED], "Hello\n", 0),
    ],
)  # fmt: skip
async def test_remote_chat_answer_is_shown_once_however_it_comes(
    autojump_clock: MockClock, script: Script, expected: str, failures: int
) -> None:
    """What stands there is the answer; what was shown of it before a break is not said again, if it stays the same."""
    shown, failed, _ = await show(*script)
    assert (shown, failed) == (expected, failures)


async def test_remote_chat_sends_again_what_is_not_saved_with_the_same_id(autojump_clock: MockClock) -> None:
    """After each break the message goes out again as it was, until the gateway says that it is safe."""
    _, _, gateway = await show(HELLO, GONE, HELLO, GONE, HELLO, SAVED, GONE, HELLO, reply("Hello"))
    assert len(gateway.sent) == 3
    assert all(frame == gateway.sent[0] for frame in gateway.sent)
    assert gateway.sent[0]["text"] == "hi"
    assert gateway.opened == 4


async def test_remote_chat_history_is_shown_first(autojump_clock: MockClock) -> None:
    """The newest of what was said before, and not again after a break."""
    before = hello(*(said("user", str(number)) for number in range(5)))
    shown, _, _ = await show(before, GONE, before, reply("Hello"), SAVED, history=3)
    assert shown == "> 2\n> 3\n> 4\nHello\n"


async def test_remote_chat_gateway_that_stays_away_is_given_up_with_a_sentence(autojump_clock: MockClock) -> None:
    """A gateway that does not come back ends the conversation after half a minute, and not before."""
    away = [GONE] * 100
    with pytest.RaisesGroup(
        pytest.RaisesExc(
            ChannelError,
            match=f"away for {AWAY_SECONDS} seconds: the gateway is stopping; what it had not confirmed may be lost",
        )
    ):
        await show(HELLO, delta("Hel"), *away)
    assert AWAY_SECONDS <= trio.current_time() < AWAY_SECONDS + 3


async def test_remote_chat_refused_chat_is_not_asked_for_again(autojump_clock: MockClock) -> None:
    """What the gateway refuses for good is told at once."""
    with pytest.RaisesGroup(pytest.RaisesExc(ChannelError, match="refuses this chat: there is no such chat")):
        await show(SocketClosedError(1008, "there is no such chat"))


async def test_remote_chat_answer_without_its_message_saved_is_no_success(autojump_clock: MockClock) -> None:
    """Where the gateway does not say that the message is safe, neither does the command."""
    with pytest.raises(ChannelError, match="has not said that the last message is saved"):
        await show(HELLO, reply("Hello"))
