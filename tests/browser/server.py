"""A gateway of the tests' own, in a process of its own: the real one with a model that does what it is told.

``python -m tests.browser.server HOME PORT`` serves until it is killed. A message "hold" is answered as far as half,
and no further while there is a file ``hold`` in HOME.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path

import hypercorn
import hypercorn.trio
import msgspec
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from miniclaw.agent.models import ModelEvent
from miniclaw.channels.base import InboundSender, OutboundMessage
from miniclaw.channels.live import LiveChannel
from miniclaw.config import Config, Home
from miniclaw.errors import ModelError
from miniclaw.gateway import run_gateway
from miniclaw.session.runtime import SessionRuntime
from miniclaw.session.types import Message
from miniclaw.web.chat.routes import chat_routes
from tests.browser.talk import ANSWERS

PAUSE_SECONDS = 0.02


class ToldModel:
    """Answers from a list, word by word; everything else it says again."""

    name = "told"

    def __init__(self, home: Path) -> None:
        self._hold = home / "hold"

    @asynccontextmanager
    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        async def say(text: str) -> AsyncGenerator[ModelEvent]:
            for word in ANSWERS.get(text, f"You said: {text}").split(" "):
                yield word + " "
                await trio.sleep(PAUSE_SECONDS)
            if text == "fail":
                raise ModelError("the model is out of order")
            if text == "hold":
                while self._hold.exists():  # noqa: ASYNC110 - it is another process that takes it away
                    await trio.sleep(PAUSE_SECONDS)
                yield "and the rest."

        async with aclosing(say(messages[-1].content)) as events:
            yield events


class Server:
    """Serves the chat's routes; a channel, so that the gateway runs it beside the others."""

    name = "server"

    def __init__(self, home: Home, port: int, hub: LiveChannel) -> None:
        self._home = home
        self._port = port
        self._hub = hub
        self.runtime: SessionRuntime | None = None

    async def take(self, runtime: SessionRuntime) -> None:
        self.runtime = runtime

    async def run(
        self, inbound: InboundSender, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        assert self.runtime is not None
        routes = chat_routes(
            {"web": self._hub}, self.runtime.manager, drain=trio.Event(), trusted=False, model_name="told"
        )
        app = Starlette(routes=[*routes, Route("/api/v1/sessions", self._sessions)])
        config = hypercorn.Config()
        config.bind = [f"127.0.0.1:{self._port}"]
        config.loglevel = "WARNING"
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(hypercorn.trio.serve, app, config, shutdown_trigger=trio.sleep_forever))  # type: ignore[arg-type]
            task_status.started()

    async def send(self, message: OutboundMessage) -> None:
        raise NotImplementedError

    async def _sessions(self, request: Request) -> Response:
        sessions = []
        for path in self._home.sessions_dir.glob("web_*.json"):
            session = msgspec.json.decode(path.read_bytes())
            sessions.append({key: session[key] for key in ("session_id", "chat_id", "last_accessed")})
        return Response(msgspec.json.encode({"sessions": sessions, "next": None}), media_type="application/json")


def main(home: Home, port: int) -> None:
    hub = LiveChannel("web")
    server = Server(home, port, hub)
    trio.run(
        partial(run_gateway, Config(), home, channels=[hub, server], model=ToldModel(home.path), before=server.take)
    )


if __name__ == "__main__":
    main(Home(Path(sys.argv[1])), int(sys.argv[2]))
