"""`python -m tests.soak.gateway`: a gateway with everything on, and everybody at it at the same time, for long.

A real process is talked to over websockets, Telegram and the console, administered over the API and with commands,
scraped, flooded and sent rubbish, while its model and Telegram fail now and then, and while sessions expire. At the end
it is told to stop, in the middle of all that. Then every message that it had confirmed has to be in its session's
file, once; and memory, descriptors and threads may not have grown since the beginning.
"""

from __future__ import annotations

import argparse
import random
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import httpx2
import trio

from tests.fakes.bot_api import FakeBotApi, open_bot_api
from tests.fakes.gateway_process import GatewayProcess, telegram_config
from tests.fakes.model_server import open_model_server
from tests.fakes.samples import write_session
from tests.soak.account import Account, look_at_log
from tests.soak.administrators import ApiUser, Commander, Nuisance
from tests.soak.chatting import Tab, Texts
from tests.soak.gauges import MB, Sample, Scraped, Trend, take_sample, trends
from tests.soak.world import BotCrowd, MoodyModel

CHATS: Final = 14
BOT_USERS: Final = tuple(range(101, 113))
SESSIONS: Final = 2000
STALLED: Final = 4

_SAMPLE_SECONDS: Final = 3
_SAMPLES_BETWEEN_LINES: Final = 20
_STOP_SECONDS: Final = 12  # 5 for turns, 3.5 for connections that stall, 1 for Telegram, and saving, on a busy machine
_WINDING_UP_SECONDS: Final = 60

_EXPECTED_ERRORS: Final = frozenset({"Model did not answer", "Reply could not be delivered"})

_MODEL_TIMES: Final = 'first_token_timeout = "5s"\nturn_timeout = "15s"\n\n'
_SESSION_CONFIG: Final = """[session]
ttl = "1h"
trash_for = "1h"
persistence_interval = "5s"
cleanup_interval = "1m"
notice = "off"

"""


class Soak:
    """The gateway, and everybody."""

    def __init__(self, gateway: GatewayProcess, api: FakeBotApi, account: Account, seed: str) -> None:
        self.gateway = gateway
        self.account = account
        self.samples: list[Sample] = []
        self.scraped = Scraped()
        self.delays: list[float] = []
        self.exit_code: int | None = None
        self.stop_seconds = 0.0
        self._chance = random.Random(seed)  # noqa: S311 - replayable, as far as that goes
        self._texts = Texts(self._chance)
        self._crowd = BotCrowd(api, account, self._chance, self._texts)
        self._pid = gateway.pid

    async def run(self, seconds: float) -> None:
        """Have everybody at it for so long, and then stop the gateway under them."""
        async with trio.open_nursery() as people:
            self._start_people(people)
            async with self._open_http() as http:
                user = ApiUser(http, desk("api"), self.account, self._chance)
                async with trio.open_nursery() as administrators:
                    administrators.start_soon(self._sample, user)
                    administrators.start_soon(user.work)
                    administrators.start_soon(user.watch)
                    commander = Commander(self.gateway.environment, desk("command"), self.account, self._chance)
                    administrators.start_soon(commander.work)
                    administrators.start_soon(commander.chat)
                    await trio.sleep(seconds)
                    self.account.stopping = True
                    administrators.cancel_scope.deadline = trio.current_time() + _WINDING_UP_SECONDS
                self.delays = user.delays
            await trio.to_thread.run_sync(self._stop)
            await trio.sleep(1)  # what is on its way to the tabs arrives
            people.cancel_scope.cancel()
        self._crowd.gather()

    def _open_http(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.gateway.url, headers=self.gateway.authorization, timeout=30)

    def _start_people(self, people: trio.Nursery) -> None:
        for number in range(CHATS):
            people.start_soon(self._chat, number)
        for number in range(3):
            people.start_soon(self._chat_and_lose, number)
        for user in BOT_USERS:
            people.start_soon(self._write_to_bot, user)
        people.start_soon(self._crowd.collect)
        people.start_soon(self._crowd.trouble)
        nuisance = Nuisance(self.gateway.url, self.gateway.token, self.account, self._chance)
        people.start_soon(nuisance.send_rubbish)
        for number in range(STALLED):
            people.start_soon(nuisance.stall, f"chat{number}-stalled")

    async def _chat(self, number: int) -> None:
        """Have a chat with some tabs; when it has become long, look whether it is whole, and begin another."""
        generation = 0
        while True:
            generation += 1
            # Where somebody stalls it is one chat for ever, which is deleted now and then.
            chat_id = f"chat{number}-stalled" if number < STALLED else f"chat{number}-{generation}"
            await self._talk(chat_id, tabs=1 + number % 3)
            await self._retire(f"web_{chat_id}")

    async def _chat_and_lose(self, number: int) -> None:
        """Have a chat that is deleted while it is going on: one of them also for good, the others to the trash."""
        chat_id, erases = f"lost{number}", number == 0
        if erases:
            self.account.excuse(f"web_{chat_id}")
        else:
            self.account.expect_in_trash(f"web_{chat_id}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(self._delete_now_and_then, f"web_{chat_id}", erases=erases))
            while True:
                await self._talk(chat_id, tabs=2)

    async def _talk(self, chat_id: str, *, tabs: int) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(tabs):
                count = self._chance.randint(10, 40)
                tab = Tab(self.gateway.url, self.gateway.token, chat_id, count, self.account, self._chance, self._texts)
                nursery.start_soon(tab.run)

    async def _write_to_bot(self, user: int) -> None:
        while True:
            await self._crowd.converse(user, self._chance.randint(10, 40))
            await self._retire(f"telegram_{user}")

    async def _retire(self, session_id: str) -> None:
        self.account.check_session(session_id)
        self.account.confirmed.pop(session_id, None)
        await self._delete(session_id)

    async def _delete_now_and_then(self, session_id: str, *, erases: bool) -> None:
        while True:
            await trio.sleep(self._chance.uniform(2, 20) if erases else self._chance.uniform(0.1, 3))
            await self._delete(session_id, erases=erases)

    async def _delete(self, session_id: str, *, erases: bool = True) -> None:
        if self.account.stopping:
            return
        async with self._open_http() as http:
            user = ApiUser(http, (), self.account, self._chance)
            if self._chance.random() < 0.5:
                erase = self._chance.choice(("true", "false")) if erases else "false"
                await user.call("DELETE", f"/api/v1/sessions/{session_id}", (200, 404), params={"erase": erase})
            else:
                await user.call("POST", "/api/v1/sessions/delete", json={"session_ids": [session_id]})
        self.account.counts["sessions deleted"] += 1

    async def _sample(self, user: ApiUser) -> None:
        started = trio.current_time()
        while not self.account.stopping:
            sample = take_sample(self._pid, trio.current_time() - started)
            if len(self.samples) % _SAMPLES_BETWEEN_LINES == 0:
                told = f"RSS {sample.rss / MB:.1f} MB, {sample.descriptors} descriptors, {sample.threads} threads"
                confirmed = self.account.counts["messages confirmed"]
                print(f"{sample.at / 60:5.1f} min  {told}, {confirmed:,} messages confirmed", flush=True)
            self.samples.append(sample)
            if response := await user.call("GET", "/metrics"):
                self.scraped.take(response.text)
            await trio.sleep(_SAMPLE_SECONDS)

    def _stop(self) -> None:
        began = time.monotonic()
        self.exit_code = self.gateway.end(signal.SIGTERM)
        self.stop_seconds = time.monotonic() - began


def desk(name: str) -> list[str]:
    """Return the ids of sessions that one administrator has for itself."""
    return [f"desk_{name}-{number}" for number in range(25)]


def furnish(sessions_dir: Path, minutes: float) -> tuple[set[str], set[str]]:
    """Write the sessions that there are at the start.

    Returns:
        The names of the files that are to be there at the end, and of those that are not.
    """
    now = datetime.now(UTC)
    chance = random.Random(SESSIONS)  # noqa: S311 - the same every time
    staying: set[str] = set()
    going: set[str] = set()
    for number in range(SESSIONS - 50):
        if number % 2:
            age, group = timedelta(minutes=chance.uniform(0, 50 - min(minutes, 45))), staying
        else:  # some have expired, the others do in the meantime, but for the last minutes
            age, group = timedelta(minutes=chance.uniform(62 - max(minutes - 3, 0), 120)), going
        group.add(write_session(sessions_dir, f"old_{number}", now - age, note="x" * chance.randint(0, 3000)).name)
    for session_id in (*desk("api"), *desk("command")):
        staying.add(write_session(sessions_dir, session_id, now).name)
    return staying, going


def judge(soak: Soak, staying: set[str], going: set[str]) -> list[Trend]:
    """Look at everything that is left; note what is wrong."""
    account = soak.account
    account.check_all()
    if soak.exit_code != 0 or soak.stop_seconds > _STOP_SECONDS:
        account.trouble(f"it ended with {soak.exit_code} after {soak.stop_seconds:.1f} s")
    files = {path.name for path in soak.gateway.sessions_dir.iterdir()}
    if missing := staying - files:
        account.trouble(f"{len(missing)} sessions are gone that had not expired: {sorted(missing)[:3]}")
    if left := going & files:
        account.trouble(f"{len(left)} sessions have expired and are still there: {sorted(left)[:3]}")
    found = list(trends(soak.samples))
    for trend in found:
        if not trend.is_flat:
            account.trouble(f"{trend.name} grew from {trend.second:.1f} to {trend.last:.1f}")
    return found


def show(soak: Soak, found: Sequence[Trend], logged: Counter[str]) -> None:
    """Print the table."""
    rows = [(name, f"{count:,}") for name, count in sorted(soak.account.counts.items())]
    rows += [(event, f"{count:,}") for event, count in sorted(logged.items())]
    scraped = soak.scraped
    lag = "miniclaw_event_loop_lag_seconds"
    turn = "miniclaw_turn_duration_seconds"
    rows += [
        ("scrapes", f"{scraped.scrapes:,}"),
        ("event-loop lag, median, 99 %, worst", f"≤ {scraped.quantile(lag, 0.5) * 1000:g} ms, "
         f"≤ {scraped.quantile(lag, 0.99) * 1000:g} ms, {scraped.worst_lag * 1000:.0f} ms"),
        ("turns, median, 99 %", f"≤ {scraped.quantile(turn, 0.5):g} s, ≤ {scraped.quantile(turn, 0.99):g} s"),
        ("stopped after SIGTERM", f"code {soak.exit_code}, {soak.stop_seconds:.1f} s"),
    ]  # fmt: skip
    if delays := sorted(soak.delays):
        text = f"{delays[len(delays) // 2] * 1000:.0f} ms, {delays[len(delays) * 99 // 100] * 1000:.0f} ms"
        rows.append(("/healthz, /readyz, median, 99 %", text))
    for trend in found:
        verdict = "flat" if trend.is_flat else "GROWS"
        text = f"{trend.second:.1f} → {trend.last:.1f} {trend.unit} ({verdict})"
        rows.append((f"{trend.name}, second quarter → last", text))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:{width}}  {value}")
    for trouble in soak.account.troubles:
        print(f"    {trouble}")


async def soak_gateway(minutes: float, seed: str, home: Path) -> Account:
    """Run it; print what it shows."""
    account = Account(home / "workspace" / "sessions")
    model = MoodyModel(account, random.Random(f"{seed} model"))  # noqa: S311 - as above
    async with open_model_server(model.answer) as server, open_bot_api() as api:
        model.requests = server.requests
        more = _MODEL_TIMES + telegram_config(api.api_base, *BOT_USERS) + _SESSION_CONFIG
        gateway = GatewayProcess(home, server.base_url, more, forked=False)
        staying, going = furnish(gateway.sessions_dir, minutes)
        await trio.to_thread.run_sync(gateway.start)
        soak = Soak(gateway, api, account, seed)
        try:
            await soak.run(minutes * 60)
        finally:
            gateway.kill()
    logged = look_at_log(home / "log", account, _EXPECTED_ERRORS)
    show(soak, judge(soak, staying, going), logged)
    return account


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.gateway", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--keep", type=Path, help="leave the gateway's home there, which must not exist yet")
    args = parser.parse_args()
    print(f"seed {args.seed}, {args.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="miniclaw-soak-") as directory:
        home = args.keep or Path(directory) / "home"
        account = trio.run(soak_gateway, args.minutes, str(args.seed), home)
    return int(bool(account.troubles))


if __name__ == "__main__":
    sys.exit(main())
