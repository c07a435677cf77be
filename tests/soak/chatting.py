"""People at the chat page: several tabs on a chat, which talk, flood, send nonsense, leave, and come back.

A tab keeps what is not confirmed as saved, and sends it again after each reconnect, with the same ids, as the page
does.
"""

from __future__ import annotations

import itertools
import json
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final
from urllib.parse import quote

import trio
import trio_websocket
from wsproto.utilities import LocalProtocolError

from tests.fakes.live_chat import Client, connect
from tests.soak.account import Account

PATIENCE_SECONDS: Final = 120
"""How long a message may take, at the most, until it is saved."""

_ODD_FRAMES: Final = (
    "{",
    "[]",
    '"text"',
    "\ud7ff" * 100,
    json.dumps({"type": "message"}),
    json.dumps({"type": "message", "id": "a b", "text": "x"}),
    json.dumps({"type": "message", "id": "empty", "text": "  "}),
    json.dumps({"type": "message", "id": "long", "text": "x" * 100_001}),
    json.dumps({"type": "history", "before": -1}),
    json.dumps({"type": "nonsense", "id": 1}),
    "[" * 50_000,
)
_FRAME_TOO_LARGE: Final = "x" * 300_000
_GONE: Final = (
    OSError,
    trio.BrokenResourceError,
    trio_websocket.ConnectionClosed,
    trio_websocket.HandshakeError,
    LocalProtocolError,  # trio-websocket answers a ping that comes after it has begun to close
)


class _LeaveError(Exception):
    """The tab leaves."""


def token_of(text: str) -> str:
    """Return what tells one message from all others."""
    return text.split(" ", 1)[0]


class Texts:
    """Texts, each of them once."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._numbers: Iterator[int] = itertools.count(1)

    def draw(self) -> str:
        words = "x" * self._chance.choice((10, 80, 300, 3000))
        return f"#{next(self._numbers)} {words}"


class Tab:
    """One tab, for one generation of its chat.

    Args:
        url: Of the gateway; may change while it is away.
        token: Of the gateway.
        chat_id: The chat.
        count: How many messages it is to say.
        account: Where it notes what it hears.
        chance: Its whims.
        texts: What it says.
    """

    def __init__(
        self,
        url: str,
        token: str,
        chat_id: str,
        count: int,
        account: Account,
        chance: random.Random,
        texts: Texts,
    ) -> None:
        self._url = url
        self._token = token
        self._chat_id = chat_id
        self._left = count
        self._account = account
        self._chance = chance
        self._texts = texts
        self._outbox: dict[str, str] = {}
        self._pieces: dict[str, str] = {}  # of answers that began while this was connected
        self._heard = trio.Event()  # replaced whenever something came
        self._ids = f"{chance.getrandbits(48):x}-"
        self._count = 0

    async def run(self) -> None:
        """Talk until everything is said and saved."""
        with trio.move_on_after(PATIENCE_SECONDS * 5) as scope:
            while self._left or self._outbox:
                try:
                    await self._connected()
                except* _LeaveError:
                    self._account.counts["tabs that left"] += 1
                except* _GONE as errors:
                    if not self._account.stopping:
                        self._account.counts["websockets that broke"] += 1
                    await trio.sleep(0.2)
                    if any(isinstance(error, OSError) for error in errors.exceptions):
                        self._account.trouble(f"{self._chat_id}: {errors.exceptions!r}", also_at_end=False)
                await trio.sleep(self._chance.uniform(0, 0.5))
        if scope.cancelled_caught:
            unsaved = list(self._outbox)
            self._account.trouble(f"{self._chat_id}: never done; not saved: {unsaved}", also_at_end=False)

    async def _connected(self) -> None:
        query = f"?chat={quote(self._chat_id)}"
        async with connect(self._url, query, token=self._token) as client, trio.open_nursery() as nursery:
            self._account.counts["websockets"] += 1
            self._pieces.clear()
            nursery.start_soon(self._listen, client)
            for inbound_id, text in list(self._outbox.items()):  # some are confirmed meanwhile
                await client.say(inbound_id, text)
            while self._left or self._outbox:
                await self._act(client)
            nursery.cancel_scope.cancel()

    async def _act(self, client: Client) -> None:
        if not self._left:
            await self._until_saved()
            return
        acts: tuple[tuple[int, Callable[[Client], Awaitable[None]]], ...] = (
            (60, self._say), (12, self._say_and_go_on), (6, self._flood), (8, self._send_nonsense),
            (5, self._look_back), (4, self._break_off), (3, self._leave), (1, self._send_too_much),
        )  # fmt: skip
        (act,) = self._chance.choices([act for _, act in acts], [weight for weight, _ in acts])
        await act(client)

    async def _say(self, client: Client) -> None:
        await self._say_one(client)
        await self._until_saved()
        await trio.sleep(self._chance.expovariate(1))

    async def _say_and_go_on(self, client: Client) -> None:
        await self._say_one(client)

    async def _flood(self, client: Client) -> None:
        for _ in range(min(self._left, 25)):
            await self._say_one(client)
        self._account.counts["floods"] += 1
        await self._until_saved()

    async def _send_nonsense(self, client: Client) -> None:
        for _ in range(self._chance.randint(1, 5)):
            if self._chance.random() < 0.2:
                await client.connection.send_message(self._chance.randbytes(200))
            else:
                await client.connection.send_message(self._chance.choice(_ODD_FRAMES))
            self._account.counts["frames of nonsense"] += 1

    async def _look_back(self, client: Client) -> None:
        await client.send(type="history", before=self._chance.randint(0, 200))

    async def _break_off(self, client: Client) -> None:
        client.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.stream.socket.close()
        self._account.counts["connections reset"] += 1
        raise _LeaveError

    async def _leave(self, client: Client) -> None:
        await client.connection.aclose()
        raise _LeaveError

    async def _send_too_much(self, client: Client) -> None:
        self._account.counts["frames too large"] += 1
        await client.connection.send_message(_FRAME_TOO_LARGE)
        with trio.move_on_after(PATIENCE_SECONDS):
            while not client.connection.closed:
                await self._next_event()
            return
        self._account.trouble(f"{self._chat_id}: not cut for a frame that is too large", also_at_end=False)

    async def _say_one(self, client: Client) -> None:
        self._count += 1
        self._left -= 1
        inbound_id, text = f"{self._ids}{self._count}", self._texts.draw()
        self._outbox[inbound_id] = text
        self._account.counts["messages said"] += 1
        await client.say(inbound_id, text)

    async def _until_saved(self) -> None:
        waiting = set(self._outbox)
        with trio.move_on_after(PATIENCE_SECONDS) as scope:
            while waiting & self._outbox.keys():
                await self._next_event()
        if scope.cancelled_caught:
            unsaved = waiting & self._outbox.keys()
            self._account.trouble(f"{self._chat_id}: not saved after {PATIENCE_SECONDS} s: {unsaved}")
            raise _LeaveError

    async def _next_event(self) -> None:
        self._heard = trio.Event()
        await self._heard.wait()

    async def _listen(self, client: Client) -> None:
        try:
            while True:
                self._hear(await client.receive())
                self._heard.set()
        finally:
            self._heard.set()  # it is over

    def _hear(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "saved" if frame["id"] in self._outbox:
                self._account.confirm(f"web_{self._chat_id}", self._outbox.pop(frame["id"]))
            case "delta" if frame["to"] in self._pieces:
                self._pieces[frame["to"]] += frame["text"]
            case "message":
                self._pieces[frame["id"]] = ""
            case "reply":
                self._hear_reply(frame)
            case "error" if frame.get("id") not in {None, "empty", "long"}:
                self._account.trouble(f"{self._chat_id}: refused: {frame}")

    def _hear_reply(self, frame: dict[str, Any]) -> None:
        self._account.counts["replies that failed" if frame["failed"] else "replies"] += 1
        if not frame["text"].startswith(self._pieces.pop(frame["to"], "")):
            self._account.trouble(f"{self._chat_id}: the pieces of an answer are not its text: {frame['text'][:80]!r}")
        if "could not be recorded" in frame["text"]:
            self._account.trouble(f"{self._chat_id}: {frame['text']}")
