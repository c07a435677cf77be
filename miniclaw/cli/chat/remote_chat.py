"""A conversation at the terminal with a running gateway's agent: ``miniclaw chat`` over the gateway's socket.

The console reads and prints as it does with an agent in its own process; this module takes the agent's place. After
each absence of the gateway, messages that are not known to be saved are sent again, with the same ids. An answer that
was cut off continues where it stopped, or, if its text differs this time, begins again on a line of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
import trio
from msgspec import Struct

from miniclaw.backoff import delay_seconds
from miniclaw.channels.base import InboundMessage, OutboundDelta, OutboundMessage
from miniclaw.channels.console import ConsoleChannel
from miniclaw.cli.chat.gateway_socket import GatewaySocket, SocketClosedError
from miniclaw.daemon import signals
from miniclaw.errors import ChannelError
from miniclaw.loggers import get_logger
from miniclaw.session.types import Message, Role, ToolCall

MAX_TEXT_CHARS: Final = 100_000
MAX_FRAME_CHARS: Final = 256 * 1024

AWAY_SECONDS: Final = 30
"""Longest absence of the gateway while something is awaited of it."""

SETTLING_SECONDS: Final = 5
"""Longest wait at the end until the messages are saved."""

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2
_REFUSED: Final = 1008

log: Final = get_logger("miniclaw.cli.chat")


class _Said(Struct):
    role: Role
    content: str
    at: datetime
    id: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None


class _Now(Struct):
    to: str | None
    text: str


class _Frame(Struct, kw_only=True):
    """Any frame from the gateway, with the fields that are used here."""

    type: str
    messages: list[_Said] = []
    now: _Now | None = None
    id: str | None = None
    to: str | None = None
    text: str = ""
    failed: bool = False
    detail: str = ""


_decode: Final = msgspec.json.Decoder(_Frame | list[_Frame]).decode


class _Awaited:
    """An answer that the console waits for."""

    def __init__(self, message: InboundMessage) -> None:
        self.message = message
        self.arrived = ""  # its text over this connection
        self.shown = ""  # its text that the console has printed


class RemoteChat:
    """Sends the console's messages to the gateway, and its answers to the console; implements `InboundSender`.

    The latest `history` messages of the conversation are shown first.
    """

    def __init__(self, socket: GatewaySocket, console: ConsoleChannel, *, history: int) -> None:
        self._socket = socket
        self._console = console
        self._history = history
        self._ids = f"{secrets.token_hex(8)}-"
        self._count = 0
        self._unsaved: dict[str, str] = {}  # texts by id, in the order of sending
        self._lost: set[str] = set()  # ids of those whose answer says that they could not be recorded
        self._awaited: _Awaited | None = None  # the answer that the console waits for
        self._connected = trio.Event()  # set by the first connection
        self._settled = trio.Event()  # replaced when there is something to settle
        socket.is_awaited = self._waits

    async def run(self) -> None:
        """Converse until the console's input ends.

        Raises:
            ChannelError: The gateway is gone, refuses the chat, or has not saved the last message; or the terminal is
                gone.
            GatewayStalledError: The gateway is silent while something is awaited of it.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stay_connected)
            await self._connected.wait()
            await self._console.run(self)
            with trio.move_on_after(SETTLING_SECONDS):
                while self._unsaved.keys() - self._lost:
                    self._settled = trio.Event()
                    await self._settled.wait()
            nursery.cancel_scope.cancel()
        if self._unsaved.keys() - self._lost:
            raise ChannelError("the gateway has not said that the last message is saved")

    # For the console ------------------------------------------------------------------------------------------

    async def send(self, message: InboundMessage, /) -> None:
        """Send a message to the gateway, as `InboundSender.send`; a message that is too long is answered here."""
        self._count += 1
        inbound_id = f"{self._ids}{self._count}"
        awaited = self._awaited = _Awaited(msgspec.structs.replace(message, inbound_id=inbound_id))
        frame = _encode(inbound_id, message.content)
        if len(message.content) > MAX_TEXT_CHARS or len(frame) > MAX_FRAME_CHARS:
            sorry = f"The message was not sent: {MAX_TEXT_CHARS:,} characters can be sent at once."
            await self._finish(awaited, sorry, failed=True)
            return
        self._unsaved[inbound_id] = message.content
        await self._socket.send(frame)

    def send_nowait(self, _message: InboundMessage, /) -> None:
        """Raise `trio.WouldBlock`; the console does not use `InboundSender.send_nowait`."""
        raise trio.WouldBlock

    # For the gateway ------------------------------------------------------------------------------------------

    def _waits(self) -> bool:
        """Return whether something is awaited of the gateway: its hello, an answer, or the save of a message."""
        return not self._connected.is_set() or self._awaited is not None or bool(self._unsaved)

    async def _stay_connected(self) -> None:
        failures, give_up_at = 0, trio.current_time() + AWAY_SECONDS
        while True:
            try:
                async with self._socket.open():
                    while True:
                        frames = _decode(await self._socket.receive())
                        for frame in frames if isinstance(frames, list) else [frames]:
                            await self._handle(frame)
                        failures, give_up_at = 0, trio.current_time() + AWAY_SECONDS
            except SocketClosedError as closed:
                if closed.code == _REFUSED:
                    raise ChannelError(f"the gateway refuses this chat: {closed.reason}") from None
                reason = closed.reason
            if not self._waits():
                give_up_at = trio.current_time() + AWAY_SECONDS  # nothing is awaited of it
            if trio.current_time() >= give_up_at:
                unsaved = "; what it had not confirmed may be lost" if self._unsaved else ""
                raise ChannelError(f"the gateway has been away for {AWAY_SECONDS} seconds: {reason}{unsaved}")
            if failures:  # the first time at once
                await trio.sleep(delay_seconds(failures, first=_FIRST_PAUSE_SECONDS, longest=_LONGEST_PAUSE_SECONDS))
            failures += 1

    async def _handle(self, frame: _Frame) -> None:
        awaited = self._awaited
        asked = awaited.message.inbound_id if awaited else None
        match frame.type:
            case "hello" if not self._connected.is_set():
                await self._begin(frame)
            case "hello":
                await self._take_up(frame, awaited)
            case "delta" if awaited and frame.to == asked:
                await self._arrive(awaited, frame.text)
            case "reply" if awaited and asked and frame.to == asked:
                if frame.failed:
                    self._lost.add(asked)  # unless `saved` still comes
                await self._finish(awaited, frame.text, failed=frame.failed)
            case "saved" if frame.id:
                self._settle(frame.id)
            case "error" if awaited and frame.id and frame.id == asked:
                self._settle(frame.id)
                await self._finish(awaited, f"The message was not sent: {frame.detail}", failed=True)
            case "error":
                self._report(frame)

    async def _begin(self, hello: _Frame) -> None:
        if self._history:
            shown = hello.messages[-self._history :]
            await self._console.show([Message(said.role, said.content, said.at) for said in shown])
        self._connected.set()

    async def _take_up(self, hello: _Frame, awaited: _Awaited | None) -> None:
        """Continue after an absence of the gateway."""
        for inbound_id, text in self._unsaved.items():
            await self._socket.send(_encode(inbound_id, text))
        if awaited is None:
            return
        awaited.arrived = ""
        asked = awaited.message.inbound_id
        if answer := _answer(hello.messages, asked):
            text = "\n\n".join(said.content for said in answer if said.content)
            await self._finish(awaited, text, failed=answer[-1].role == "system")
        elif hello.now and hello.now.to == asked:
            await self._arrive(awaited, hello.now.text)

    async def _arrive(self, awaited: _Awaited, text: str) -> None:
        """Show the new part of an answer; after a restart, parts that are shown already arrive again."""
        awaited.arrived += text
        if awaited.shown.startswith(awaited.arrived):
            return
        if not awaited.arrived.startswith(awaited.shown):
            await self._console.begin_anew()
            awaited.shown = ""
        rest, awaited.shown = awaited.arrived[len(awaited.shown) :], awaited.arrived
        message = awaited.message
        await self._console.send_delta(OutboundDelta(message.channel, message.chat_id, rest, message))

    async def _finish(self, awaited: _Awaited, text: str, *, failed: bool) -> None:
        self._awaited = None
        if not text.startswith(awaited.shown):
            await self._console.begin_anew()
        message = awaited.message
        await self._console.send(OutboundMessage(message.channel, message.chat_id, text, message, failed))

    def _report(self, error: _Frame) -> None:
        """Report an error frame, unless its message has an answer with the reason."""
        if error.id not in self._lost:
            log.warning("The gateway reports", detail=error.detail)
        if error.id:
            self._settle(error.id)  # it is refused for good

    def _settle(self, inbound_id: str) -> None:
        self._unsaved.pop(inbound_id, None)
        self._lost.discard(inbound_id)
        self._settled.set()


def _answer(messages: list[_Said], inbound_id: str | None) -> list[_Said]:
    """Return the messages of the agent that follow a message, up to the person's next message."""
    for index, said in enumerate(messages):
        if said.id == inbound_id:
            following = messages[index + 1 :]
            end = next((place for place, after in enumerate(following) if after.role == "user"), len(following))
            return [after for after in following[:end] if after.role in {"assistant", "system"}]
    return []


def _encode(inbound_id: str, text: str) -> str:
    return msgspec.json.encode({"type": "message", "id": inbound_id, "text": text}).decode()


async def converse(socket: GatewaySocket, console: ConsoleChannel, *, history: int) -> None:
    """Converse through the gateway until the input ends, or until a signal.

    Raises:
        ChannelError: As for `RemoteChat.run`.
    """
    with signals.receiving() as received:
        async with trio.open_nursery() as nursery:
            ended = nursery.cancel_scope

            async def watch() -> None:
                async for _ in received:
                    ended.cancel()

            nursery.start_soon(watch)
            await RemoteChat(socket, console, history=history).run()
            ended.cancel()


async def chat_somewhere(
    path: Path, chat_id: str, console: ConsoleChannel, alone: Callable[[], Awaitable[None]], *, history: int
) -> None:
    """Converse through the gateway if one answers at the socket, else by `alone`.

    Raises:
        MiniclawError: The conversation failed.
    """
    socket = GatewaySocket(path, console.name, chat_id)
    if await socket.answers():
        await converse(socket, console, history=history)
    else:
        await alone()
