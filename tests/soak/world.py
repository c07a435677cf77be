"""What surrounds the gateway of a soak: a model that is slow and fails, a Bot API likewise, and who writes to the bot."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

import trio

from tests.fakes.bot_api import (
    BAD_GATEWAY,
    BLOCKED,
    CONFLICT,
    SERVER_ERROR,
    FakeBotApi,
    Trouble,
    reset,
    slow_down,
    truncated,
)
from tests.fakes.model_server import Exchange
from tests.soak.account import Account
from tests.soak.chatting import PATIENCE_SECONDS, Texts, token_of

_BETWEEN_TROUBLES_SECONDS: Final = (15, 45)
_POLL_TROUBLES: Final[Sequence[Trouble]] = (CONFLICT, SERVER_ERROR, BAD_GATEWAY, slow_down(2), reset, truncated)
_SEND_TROUBLES: Final[Sequence[Trouble]] = (SERVER_ERROR, slow_down(1), reset, truncated, BLOCKED)


class MoodyModel:
    """Answers, mostly; the rest of the time it does what servers do."""

    def __init__(self, account: Account, chance: random.Random) -> None:
        self._account = account
        self._chance = chance
        self.requests: list[Exchange] = []  # of the server, which keeps them

    async def answer(self, exchange: Exchange) -> None:
        """Answer one question."""
        self.requests.clear()
        question = exchange.body["messages"][-1]["content"]
        mood = self._chance.random()
        self._account.counts["questions to the model"] += 1
        if mood < 0.80:
            await self._say(exchange, question, pause=0.01)
        elif mood < 0.90:
            await self._say(exchange, question, pause=self._chance.uniform(0.1, 0.5))
        else:
            self._account.counts["failures of the model"] += 1
            await self._fail(exchange, question)

    async def _say(self, exchange: Exchange, question: str, *, pause: float) -> None:
        await exchange.head()
        await exchange.say(f"To {token_of(question)}:")
        for _ in range(self._chance.randint(1, 12)):
            await trio.sleep(pause)
            await exchange.say(" word" * self._chance.choice((1, 10, 100)))
        await exchange.end()

    async def _fail(self, exchange: Exchange, question: str) -> None:
        match self._chance.randrange(9):
            case 0:
                await exchange.fail(500)
            case 1:
                await exchange.fail(429, headers={"retry-after": "1"})
            case 2:
                await exchange.reset()
            case 3:
                await exchange.head(200, "text/html")
                await exchange.chunk(b"<html><body>Welcome</body></html>")
                await exchange.close_chunks()
            case 4:
                await exchange.head()
                await exchange.say("Half")
                await exchange.chunk(b'data: {"choices": [{"ind')
            case 5:
                await exchange.head()
                await exchange.say("Half")
                await exchange.reset()
            case 6:
                await exchange.head()
                await exchange.end()
            case 7:
                await trio.sleep_forever()
            case _:
                await exchange.head()
                while True:
                    await exchange.say(" and so on")
                    await trio.sleep(0.05)


class BotCrowd:
    """Who writes to the bot."""

    def __init__(self, api: FakeBotApi, account: Account, chance: random.Random, texts: Texts) -> None:
        self._confirmed: set[int] = set()  # updates
        self._pending: dict[int, dict[int, str]] = {}  # by user: updates that are not confirmed, and what they say
        self._api = api
        self._account = account
        self._chance = chance
        self._texts = texts

    async def trouble(self) -> None:
        """Have the Bot API fail now and then."""
        while True:
            await trio.sleep(self._chance.uniform(*_BETWEEN_TROUBLES_SECONDS))
            if self._chance.random() < 0.5:
                self._api.fail("getUpdates", self._chance.choice(_POLL_TROUBLES))
            else:
                troubles = self._chance.choices(_SEND_TROUBLES, k=self._chance.randint(1, 3))
                self._api.fail("sendMessage", *troubles)
            self._account.counts["failures of Telegram"] += 1

    async def collect(self) -> None:
        """Take note of what is confirmed, as it comes."""
        while True:
            self.gather()
            await self._api.changed.wait()

    def gather(self) -> None:
        """Take note of what is confirmed to Telegram, and forget what the fake remembers for tests."""
        self._confirmed |= set(self._api.confirmed)
        for remembered in (self._api.confirmed, self._api.calls, self._api.sent, self._api.offsets):
            remembered.clear()
        self._api.server.requests.clear()
        for user, updates in self._pending.items():
            for update_id in updates.keys() & self._confirmed:
                self._confirmed.discard(update_id)
                self._account.confirm(f"telegram_{user}", updates.pop(update_id))

    async def converse(self, user: int, count: int) -> None:
        """Have a user say so much, each message once the one before is confirmed; now and then several at once."""
        chat = {"id": user, "type": "private", "first_name": "Ann"}
        while count > 0:
            await trio.sleep(self._chance.expovariate(0.5))
            if self._chance.random() < 0.1:
                self._write_odd(user)
            texts = [self._texts.draw() for _ in range(self._chance.choice((1, 1, 1, 4)))]
            count -= len(texts)
            updates = self._pending[user] = {self._api.write(text, user=user, chat=chat): text for text in texts}
            self._account.counts["Telegram messages"] += len(texts)
            with trio.move_on_after(2 * PATIENCE_SECONDS) as scope:
                while updates:
                    await self._api.changed.wait()
            if scope.cancelled_caught:
                self._account.trouble(f"telegram_{user}: not confirmed: {sorted(updates)}", also_at_end=False)
                return

    def _write_odd(self, user: int) -> None:
        kinds: tuple[dict[str, Any], ...] = (
            {"edited_message": self._api.message("edited", user=user)},
            {"message": self._api.message(user=user, sticker={"file_id": "x"})},
            {"message": self._api.message("hello", user=999)},
            {"poll_answer": {"poll_id": "1"}},
            {"message": {"message_id": "no number"}},
            {"something_new": {}},
        )
        self._api.add(**self._chance.choice(kinds))
        self._account.counts["odd Telegram updates"] += 1
