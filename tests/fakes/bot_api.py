"""Telegram's Bot API on loopback, with its wire format and its rules, and all the ways in which it fails.

Updates are delivered from the lowest that is not confirmed; an offset confirms, and forgets, all below it; a second
poll ends the first one. Messages are refused as Telegram refuses them. See https://core.telegram.org/bots/api.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import trio

from tests.fakes.model_server import Exchange, ModelServer, open_model_server

TOKEN = "123456789:AAtest-token_0123456789abcdefghijk"  # noqa: S105 - of nobody
ME = 42
BOT = {"id": 123456789, "is_bot": True, "first_name": "Claw", "username": "claw_bot"}

Trouble: TypeAlias = Callable[[Exchange], Awaitable[None]]


class FakeBotApi:
    """The Bot API of one bot.

    Attributes:
        calls: What came, as (method, parameters).
        sent: The messages that were sent, as parameters of `sendMessage`.
        updates: Those that are not confirmed.
        confirmed: Ids of those that are, in the order in which they were.
        offsets: The offsets of all polls.
        trouble: What is done to the next calls of a method, instead of answering them; the last ``*`` goes for all.
        delivers: Whether updates are delivered.
        changed: Set, and replaced, whenever something happens.
    """

    def __init__(self, *, token: str = TOKEN) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.sent: list[dict[str, Any]] = []
        self.updates: list[dict[str, Any]] = []
        self.confirmed: list[int] = []
        self.offsets: list[int | None] = []
        self.trouble: dict[str, deque[Trouble]] = {}
        self.always: dict[str, Trouble] = {}
        self.changed = trio.Event()
        self.api_base = ""
        self.server: ModelServer
        self.on_call: Callable[[str, dict[str, Any]], None] = lambda method, values: None
        self._token = token
        self._next_update = 1000
        self._next_message = 1
        self._poll = 0

    # For tests ------------------------------------------------------------------------------------------------

    def add(self, **kinds: Any) -> int:
        """Add an update; return its id."""
        self._next_update += 1
        self.updates.append({"update_id": self._next_update, **kinds})
        self._notify()
        return self._next_update

    def write(
        self, text: str | None = None, *, user: int = ME, chat: dict[str, Any] | None = None, **fields: Any
    ) -> int:
        """Have a user write a message; return the id of the update."""
        return self.add(message=self.message(text, user=user, chat=chat, **fields))

    def message(
        self, text: str | None = None, *, user: int = ME, chat: dict[str, Any] | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Return a message."""
        self._next_message += 1
        message = {
            "message_id": self._next_message,
            "from": {
                "id": user,
                "is_bot": False,
                "first_name": "Ann",
                "username": f"user_{user}",
                "language_code": "de",
            },
            "chat": chat or {"id": user, "type": "private", "first_name": "Ann"},
            "date": 1_770_000_000,
            **fields,
        }
        return message if text is None else message | {"text": text}

    def fail(self, method: str, *troubles: Trouble) -> None:
        """Have the next calls of a method fail."""
        self.trouble.setdefault(method, deque()).extend(troubles)
        self._poll += 1  # a poll that waits comes back, and the next one fails
        self._notify()

    def texts(self, chat_id: int = ME) -> list[str]:
        """Return what was sent to a chat."""
        return [message["text"] for message in self.sent if message["chat_id"] == chat_id]

    def count(self, method: str) -> int:
        """Return how many calls of a method came."""
        return sum(name == method for name, _ in self.calls)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something to be so."""
        while not condition():
            await self.changed.wait()

    async def until_confirmed(self, update_id: int) -> None:
        """Wait until an update is confirmed."""
        await self.until(lambda: update_id in self.confirmed)

    # The server -----------------------------------------------------------------------------------------------

    async def handle(self, exchange: Exchange) -> None:
        exchange.keeps_open = True
        prefix = f"/bot{self._token}/"
        if not exchange.target.startswith(prefix):
            await refuse(404 if ":" not in exchange.target else 401, "Unauthorized")(exchange)
            return
        method, values = exchange.target.removeprefix(prefix), exchange.body
        self.calls.append((method, values))
        self.on_call(method, values)
        self._notify()
        troubles = self.trouble.get(method)
        if troubles:
            await troubles.popleft()(exchange)
        elif method in self.always:
            await self.always[method](exchange)
        else:
            handler = getattr(self, f"_{method}", None)
            await (handler or refuse(404, "Not Found"))(exchange)
        self._notify()

    async def _getMe(self, exchange: Exchange) -> None:  # noqa: N802 - the method's name
        await answer(exchange, BOT | {"can_join_groups": True, "supports_inline_queries": False})

    async def _getUpdates(self, exchange: Exchange) -> None:  # noqa: N802 - the method's name
        self._poll += 1
        poll = self._poll
        self._notify()
        offset, limit = exchange.body.get("offset"), exchange.body.get("limit", 100)
        self.offsets.append(offset)
        if offset is not None:
            self.confirmed += [update["update_id"] for update in self.updates if update["update_id"] < offset]
            self.updates = [update for update in self.updates if update["update_id"] >= offset]
            self._notify()
        with trio.move_on_after(exchange.body.get("timeout", 0)):
            while not self.updates and poll == self._poll:
                await self.changed.wait()
        if poll != self._poll and not self.updates:
            await refuse(409, "Conflict: terminated by other getUpdates request; make sure that only one runs")(
                exchange
            )
            return
        await answer(exchange, self.updates[:limit])

    async def _sendMessage(self, exchange: Exchange) -> None:  # noqa: N802 - the method's name
        values = exchange.body
        text = values["text"]
        if not text.strip():
            await refuse(400, "Bad Request: message text is empty")(exchange)
        elif len(text.encode("utf-16-le")) > 2 * 4096:
            await refuse(400, "Bad Request: message is too long")(exchange)
        else:
            self.sent.append(values)
            self._next_message += 1
            await answer(exchange, {"message_id": self._next_message, "text": text})

    async def _sendChatAction(self, exchange: Exchange) -> None:  # noqa: N802 - the method's name
        await answer(exchange, True)

    def _notify(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


async def answer(exchange: Exchange, result: Any) -> None:
    """Answer a call with its result."""
    await _respond(exchange, 200, json.dumps({"ok": True, "result": result}).encode())


async def _respond(exchange: Exchange, status: int, body: bytes, content_type: str = "application/json") -> None:
    head = f"HTTP/1.1 {status} Whatever\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    await exchange.raw(head.encode() + body)


# Troubles -------------------------------------------------------------------------------------------------------


def refuse(code: int, description: str, **parameters: Any) -> Trouble:
    """Return an error as Telegram says it."""

    async def trouble(exchange: Exchange) -> None:
        answered: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
        if parameters:
            answered["parameters"] = parameters
        await _respond(exchange, code, json.dumps(answered).encode())

    return trouble


CONFLICT = refuse(
    409, "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
)
WEBHOOK = refuse(
    409, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
)
UNAUTHORIZED = refuse(401, "Unauthorized")
NOT_FOUND = refuse(404, "Not Found")
SERVER_ERROR = refuse(500, "Internal Server Error")
BLOCKED = refuse(403, "Forbidden: bot was blocked by the user")


def slow_down(seconds: float) -> Trouble:
    """Return the error that asks to wait."""
    return refuse(429, f"Too Many Requests: retry after {seconds:g}", retry_after=seconds)


def whole(status: int, body: bytes, content_type: str = "application/json") -> Trouble:
    """Return an answer of any kind."""

    async def trouble(exchange: Exchange) -> None:
        await _respond(exchange, status, body, content_type)

    return trouble


BAD_GATEWAY = whole(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", "text/html")


async def truncated(exchange: Exchange) -> None:
    """Break off in the middle of the JSON."""
    exchange.keeps_open = False
    await exchange.raw(b'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"ok": true, "result": [')


async def reset(exchange: Exchange) -> None:
    """Reset the connection."""
    exchange.keeps_open = False
    await exchange.reset()


async def hang(exchange: Exchange) -> None:
    """Never answer."""
    await trio.sleep_forever()


async def endless(exchange: Exchange) -> None:
    """Never stop answering."""
    exchange.keeps_open = False
    await exchange.head(200, "application/json")
    while True:
        await exchange.chunk(b" " * 65_536)


@asynccontextmanager
async def open_bot_api(**options: Any) -> AsyncIterator[FakeBotApi]:
    """Serve on a free port for a block."""
    api = FakeBotApi(**options)
    async with open_model_server(api.handle) as server:
        api.server = server
        api.api_base = server.base_url.removesuffix("/v1")
        yield api
