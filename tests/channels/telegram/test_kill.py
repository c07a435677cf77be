"""kill -9 of a real gateway with the Telegram channel, at forty points, and what its sessions hold in the end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from miniclaw.session.files.directory import SessionDirectory
from tests.fakes.bot_api import TOKEN, FakeBotApi, open_bot_api
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.telegram import VARIABLE
from tests.fakes.telegram_gateway import answer_to

SEED = 20261125
KILLS = 40 * int(os.environ.get("MINICLAW_SOAK", "1"))
EVENTS = 10
"""A gateway is killed after its first call of the Bot API, after its second, and so on up to so many."""

WAITING = 4
"""Updates that are there, at the least, when a gateway starts."""

USERS = (11, 12, 13)


class Gateways:
    """Runs one gateway after the other, each in a process of its own, and kills it."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        self._received = b""

    @asynccontextmanager
    async def open(self, api: FakeBotApi, home: Path, seed: int) -> AsyncIterator[None]:
        """Run a gateway for a block, at the end of which it is killed."""
        arguments: dict[str, Any] = {
            "home": str(home), "api_base": api.api_base, "users": USERS, "pause": 0.05, "seed": seed,
        }  # fmt: skip
        await self._stdin.send_all(json.dumps(arguments).encode() + b"\n")
        try:
            yield
        finally:
            with trio.fail_after(PATIENCE_SECONDS, shield=True):
                await self._stdin.send_all(b"\n")
                code = await self._number()
        assert code == -signal.SIGKILL, "the gateway ended by itself"

    async def _number(self) -> int:
        while b"\n" not in self._received:
            received = await self._stdout.receive_some()
            assert received, "the parent of the gateways ended"
            self._received += received
        line, _, self._received = self._received.partition(b"\n")
        return int(line)


@asynccontextmanager
async def open_gateways() -> AsyncIterator[Gateways]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.fakes.telegram_gateway"],
        cwd=Path(__file__).parents[3],
        env=environment | {VARIABLE: TOKEN},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Gateways(process)
    finally:
        process.kill()
        with trio.move_on_after(10, shield=True):
            await process.wait()


def said_in(home: Path, user: int) -> list[tuple[str, str]]:
    """Return what a session has, in its file and in the journal."""
    with SessionDirectory.open(home / "workspace" / "sessions") as directory:
        session = directory.load(f"telegram_{user}")
    return [(message.role, message.content) for message in session.messages]


async def test_gateway_killed_anywhere_has_every_message_once_in_order_and_answered(tmp_path: Path) -> None:
    """Whenever it is killed, the next one gets from Telegram what was not safe, and neither loses nor doubles any."""
    chance = random.Random(SEED)  # noqa: S311 - replayable on purpose
    written: dict[int, list[str]] = {user: [] for user in USERS}
    last = idle = 0

    async with open_bot_api() as api, open_gateways() as gateways:

        def write(count: int) -> None:
            nonlocal last
            for _ in range(count):
                user = chance.choice(USERS)
                written[user].append(f"message {len(written[user])} of {user}")
                last = api.write(written[user][-1], user=user)

        for kill in range(KILLS):
            write(max(1, WAITING - len(api.updates)))
            async with gateways.open(api, tmp_path, kill):
                calls = len(api.calls) + 1 + kill % EVENTS
                with trio.move_on_after(2) as scope:  # there may be nothing more to do
                    await api.until(lambda calls=calls: len(api.calls) >= calls)  # type: ignore[misc]
                idle += scope.cancelled_caught
                if not scope.cancelled_caught:
                    await trio.sleep(chance.choice((0, 0, chance.uniform(0, 0.1))))
        write(WAITING)
        async with gateways.open(api, tmp_path, KILLS):
            with trio.fail_after(PATIENCE_SECONDS):
                await api.until_confirmed(last)
        assert api.updates == []

    for user, texts in written.items():
        said = said_in(tmp_path, user)
        assert said == [line for text in texts for line in (("user", text), ("assistant", answer_to(text)))]
    answers = Counter(message["text"] for message in api.sent)
    every = sum(len(texts) for texts in written.values())
    print(
        f"{KILLS} kills, {idle} when nothing more happened, {every} messages, {sum(answers.values())} answers sent, {every - len(answers)} of them never"
    )
    assert set(answers) <= {answer_to(text) for texts in written.values() for text in texts}
