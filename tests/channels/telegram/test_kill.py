"""kill -9 of a real gateway with the Telegram channel, at forty points, and what its sessions hold in the end."""

from __future__ import annotations

import json
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.fakes.bot_api import TOKEN, FakeBotApi, open_bot_api
from tests.fakes.telegram import VARIABLE
from tests.fakes.telegram_gateway import answer_to

SEED = 20261125
KILLS = 40 * int(os.environ.get("MINICLAW_SOAK", "1"))
EVENTS = 10
"""A gateway is killed after its first call of the Bot API, after its second, and so on up to so many."""

WAITING = 4
"""Updates that are there, at the least, when a gateway starts."""

USERS = (11, 12, 13)
ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def open_gateway(api: FakeBotApi, home: Path) -> AsyncIterator[trio.Process]:
    """Run a gateway in a process of its own for a block, and kill it at the end."""
    arguments: dict[str, Any] = {"home": str(home), "api_base": api.api_base, "users": USERS, "pause": 0.05}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.fakes.telegram_gateway", json.dumps(arguments)],
        cwd=ROOT,
        env=environment | {VARIABLE: TOKEN},
    )
    try:
        yield process
        assert process.returncode is None, "the gateway ended by itself"
    finally:
        process.kill()
        with trio.CancelScope(shield=True) as scope:
            scope.deadline = trio.current_time() + 10
            await process.wait()


def said_in(home: Path, user: int) -> list[tuple[str, str]]:
    session = json.loads((home / "workspace" / "sessions" / f"telegram_{user}.json").read_text())
    return [(message["role"], message["content"]) for message in session["messages"]]


async def test_gateway_killed_anywhere_has_every_message_once_in_order_and_answered(tmp_path: Path) -> None:
    """Whenever it is killed, the next one gets from Telegram what was not safe, and neither loses nor doubles any."""
    chance = random.Random(SEED)  # noqa: S311 - replayable on purpose
    written: dict[int, list[str]] = {user: [] for user in USERS}
    last = 0

    async with open_bot_api() as api:

        def write(count: int) -> None:
            nonlocal last
            for _ in range(count):
                user = chance.choice(USERS)
                written[user].append(f"message {len(written[user])} of {user}")
                last = api.write(written[user][-1], user=user)

        for kill in range(KILLS):
            write(max(1, WAITING - len(api.updates)))
            async with open_gateway(api, tmp_path):
                calls = len(api.calls) + 1 + kill % EVENTS
                with trio.move_on_after(5) as scope:  # there may be nothing more to do
                    await api.until(lambda calls=calls: len(api.calls) >= calls)  # type: ignore[misc]
                if not scope.cancelled_caught:
                    await trio.sleep(chance.choice((0, 0, chance.uniform(0, 0.1))))
        write(WAITING)
        async with open_gateway(api, tmp_path):
            with trio.fail_after(30):
                await api.until_confirmed(last)
        assert api.updates == []

    for user, texts in written.items():
        said = said_in(tmp_path, user)
        assert said == [line for text in texts for line in (("user", text), ("assistant", answer_to(text)))]
    answers = Counter(message["text"] for message in api.sent)
    every = sum(len(texts) for texts in written.values())
    print(
        f"{KILLS} kills, {every} messages, {sum(answers.values())} answers sent, {every - len(answers)} of them never"
    )
    assert set(answers) <= {answer_to(text) for texts in written.values() for text in texts}
