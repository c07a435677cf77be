"""Who looks after the gateway of a soak: over the API, with commands, with a monitor; and who only wants it to fall."""

from __future__ import annotations

import random
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import httpx2
import trio

from tests.soak.account import Account

_ANSWERS_SECONDS: Final = 30
_HANDSHAKE: Final = (
    b"GET /api/v1/chat?chat=%b HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer %b\r\nupgrade: websocket\r\n"
    b"connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
_RUBBISH: Final = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
    b"GET / HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n",
    b"POST /api/v1/save HTTP/1.1\r\nhost: localhost\r\norigin: http://evil.example\r\ncontent-length: 0\r\n\r\n",
    b"POST /api/v1/cleanup/run HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999\r\n\r\n{",
    b"BREW /pot HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    b"\xff" * 100_000,
)
_RUBBISH_FRAMES: Final = (b"\xff\xff\xff" * 50, b"\x81\xfe\xff\xff")


class ApiUser:
    """Calls the API; what it expects of the sessions of its desk has to be so.

    Args:
        http: Asks the gateway.
        desk: Ids of sessions that nobody else touches.
        account: Where it notes what happens.
        chance: Its whims.
    """

    def __init__(self, http: httpx2.AsyncClient, desk: Sequence[str], account: Account, chance: random.Random) -> None:
        self.delays: list[float] = []  # seconds until the answer, of what looks at nothing but memory
        self._http = http
        self._desk = list(desk)
        self._account = account
        self._chance = chance

    async def call(
        self, method: str, path: str, allowed: Sequence[int] = (200,), **arguments: Any
    ) -> httpx2.Response | None:
        """Make one call; note it, and whether its answer is none of those that there may be."""
        began = trio.current_time()
        try:
            response = await self._http.request(method, path, **arguments)
        except httpx2.HTTPError as error:
            self._account.trouble(f"{method} {path}: {error!r}", also_at_end=False)
            return None
        self._account.counts["API calls"] += 1
        if path in {"/healthz", "/readyz"}:
            self.delays.append(trio.current_time() - began)
        if response.status_code not in allowed:
            self._account.trouble(f"{method} {path}: {response.status_code} {response.text[:300]}", also_at_end=False)
            return None
        return response

    async def work(self) -> None:
        """Do one thing after the other until the gateway is about to stop."""
        simple: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("GET", "/api/v1/sessions", {"params": {"limit": 100, "state": "kept"}}),
            ("GET", "/api/v1/sessions", {"params": {"sort": "size", "channel": "web"}}),
            ("GET", "/api/v1/cleanup/plan", {"params": {"limit": 20}}),
            ("GET", "/api/v1/cleanup/forecast", {"params": {"days": 3}}),
            ("GET", "/api/v1/history", {}),
            ("GET", "/api/v1/status", {}),
            ("GET", "/api/v1/config", {}),
            ("GET", "/api/v1/openapi.json", {}),
            ("GET", "/api/v1/trash", {"params": {"limit": 50}}),
            ("POST", "/api/v1/save", {}),
            ("POST", "/api/v1/cleanup/stop", {}),
            ("GET", "/", {}),
        )
        while not self._account.stopping:
            await trio.sleep(self._chance.expovariate(2))
            match self._chance.randrange(16):
                case 0:
                    await self._delete_and_restore()
                case 1:
                    await self._pin()
                case 2:
                    await self.call("POST", "/api/v1/cleanup/run", (200, 409), json={})
                case 3:
                    await self._ask_wrongly()
                case 4:
                    await self._empty_trash()
                case 5:
                    await self.call("GET", f"/api/v1/sessions/{self._chance.choice(self._desk)}")
                case _:
                    method, path, arguments = self._chance.choice(simple)
                    await self.call(method, path, **arguments)

    async def watch(self) -> None:
        """Ask for health, as a monitor does."""
        while not self._account.stopping:
            await self.call("GET", "/healthz")
            await self.call("GET", "/readyz")
            await trio.sleep(1)

    async def _delete_and_restore(self) -> None:
        session_id = self._chance.choice(self._desk)
        path = f"/api/v1/sessions/{session_id}"
        before = await self.call("GET", path)
        await self.call("DELETE", path)
        await self.call("GET", path, (404,))
        await self.call("POST", f"/api/v1/trash/{session_id}/restore")
        after = await self.call("GET", path)
        if before and after and before.json()["messages"] != after.json()["messages"]:
            self._account.trouble(f"{session_id}: restored as something else")
        self._account.counts["sessions deleted and restored"] += 1

    async def _pin(self) -> None:
        session_id = self._chance.choice(self._desk)
        pinned = self._chance.random() < 0.5
        await self.call("PUT" if pinned else "DELETE", f"/api/v1/sessions/{session_id}/pin")
        found = await self.call("GET", f"/api/v1/sessions/{session_id}")
        if found and found.json().get("pinned", False) != pinned:
            self._account.trouble(f"{session_id}: pinned should be {pinned}")

    async def _ask_wrongly(self) -> None:
        await self.call("GET", "/api/v1/sessions?limit=0", (400,))
        await self.call("GET", "/nowhere", (404,))
        await self.call("DELETE", "/api/v1/status", (405,))
        await self.call("POST", "/api/v1/cleanup/run", (400, 415), content=b"{")
        await self.call("GET", "/api/v1/sessions/none", (400, 404))

    async def _empty_trash(self) -> None:
        found = await self.call("GET", "/api/v1/trash", params={"limit": 300})
        entries = (
            [
                entry["id"]
                for entry in found.json()["entries"]
                if not (entry["session_id"] or "").startswith(("desk_", "web_lost"))
            ]
            if found
            else []
        )
        if len(entries) > 200:
            await self.call("POST", "/api/v1/trash/empty", json={"entries": entries[100:]})


class Commander:
    """Types commands."""

    def __init__(self, environment: Mapping[str, str], desk: Sequence[str], account: Account, chance: random.Random):
        self._environment = dict(environment)
        self._desk = list(desk)
        self._account = account
        self._chance = chance
        self._number = 0

    async def run(self, *args: str, allowed: Sequence[int] = (0,)) -> int:
        """Run one command; its exit code has to be one of those."""
        command = [sys.executable, "-m", "miniclaw", *args]
        done = await trio.run_process(
            command, env=self._environment, capture_stdout=True, capture_stderr=True, check=False
        )
        self._account.counts["commands"] += 1
        err = done.stderr.decode(errors="replace")
        if done.returncode not in allowed or "Traceback" in err:
            self._account.trouble(f"miniclaw {' '.join(args)}: {done.returncode}: {err[-400:]}", also_at_end=False)
        return done.returncode

    async def work(self) -> None:
        """Type commands until the gateway is about to stop."""
        looking = ("sessions list --limit 5", "sessions stats", "sessions list --json", "sessions forecast", "status",
                   "sessions cleanup --dry-run", "history", "trash list", "config show")  # fmt: skip
        while not self._account.stopping:
            await trio.sleep(self._chance.uniform(2, 6))
            session_id = self._chance.choice(self._desk)
            match self._chance.randrange(5):
                case 0:
                    await self.run("sessions", "pin", session_id)
                    await self.run("sessions", "show", session_id)
                    await self.run("sessions", "unpin", session_id)
                case 1:
                    await self.run("sessions", "delete", session_id, "--yes")
                    await self.run("trash", "restore", session_id)
                case 2:
                    await self.run("sessions", "cleanup", "--yes", allowed=(0, 1))
                case _:
                    await self.run(*self._chance.choice(looking).split())

    async def chat(self) -> None:
        """Say something on the console, now and then."""
        while not self._account.stopping:
            await trio.sleep(self._chance.uniform(3, 9))
            name, self._number = f"ann{self._number % 3}", self._number + 1
            text = f"#c{self._number} hello"
            # 1: the model did not answer; the message is saved all the same.
            code = await self.run("chat", "--as", name, "-m", text, allowed=(0, 1))
            if code == 0:
                self._account.confirm(f"console_{name}", text)


class Nuisance:
    """Connects and does what no client does."""

    def __init__(self, url: str, token: str, account: Account, chance: random.Random) -> None:
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        self._token = token.encode()
        self._rubbish = (*_RUBBISH, *(self._handshake("rubbish") + frames for frames in _RUBBISH_FRAMES))
        self._account = account
        self._chance = chance

    async def send_rubbish(self) -> None:
        """Send what is no request, and wait for what comes of it."""
        while True:
            await trio.sleep(self._chance.uniform(0.5, 2))
            self._account.counts["connections with rubbish"] += 1
            await self._connect(self._chance.choice(self._rubbish), self._hear_out)

    async def stall(self, chat_id: str) -> None:
        """Listen to a chat, and take nothing of what comes."""
        while True:
            self._account.counts["stalled websockets"] += 1
            await self._connect(self._handshake(chat_id), self._take_nothing)
            await trio.sleep(0.5)

    def _handshake(self, chat_id: str) -> bytes:
        return _HANDSHAKE % (chat_id.encode(), self._token)

    async def _connect(self, data: bytes, go_on: Callable[[trio.SocketStream], Awaitable[None]]) -> None:
        try:
            async with await trio.open_tcp_stream(self._host, self._port) as stream:
                with suppress(trio.BrokenResourceError):  # it was cut
                    await stream.send_all(data)
                    await go_on(stream)
        except OSError as error:
            self._account.trouble(f"no connection: {error}", also_at_end=False)

    async def _hear_out(self, stream: trio.SocketStream) -> None:
        with trio.move_on_after(self._chance.uniform(0, 15)):
            while await stream.receive_some():
                pass

    async def _take_nothing(self, stream: trio.SocketStream) -> None:
        await trio.sleep(self._chance.uniform(5, 60))
