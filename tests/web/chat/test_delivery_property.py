"""Any interleaving of tabs, breaks, messages sent again and kills: nothing that was said is lost, nothing is doubled."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from miniclaw.agent.inbox import Inbox
from miniclaw.agent.loop import AgentLoop
from miniclaw.channels.live import LiveChannel
from miniclaw.session.live.store import open_store
from miniclaw.session.manager import SessionManager
from miniclaw.session.types import Message
from miniclaw.web.chat.endpoint import ChatEndpoint
from tests.fakes.agent import ScriptedModel
from tests.fakes.asgi_client import AsgiClient
from tests.fakes.patience import PATIENCE_SECONDS

TABS = 2
Step: TypeAlias = tuple[Literal["say", "break", "kill", "wait"], int]

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(0, TABS - 1)),
        st.tuples(st.just("break"), st.integers(0, TABS - 1)),
        st.tuples(st.just("wait"), st.sampled_from([1, 10, 150])),
        st.tuples(st.just("kill"), st.just(0)),
    ),
    max_size=10,
)


async def script(messages: Sequence[Message]) -> str:
    # Every other answer takes longer than saving the question does.
    await trio.sleep(0.005 if int(messages[-1].content[1:]) % 2 else 0.2)
    return f"re {messages[-1].content}"


class Gateway:
    """A gateway on a directory. Killed, it goes on in a world of its own, that nobody sees any more."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._killed = trio.Event()
        self._hub = LiveChannel("web")
        self._drain = trio.Event()
        self.endpoint: ChatEndpoint

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with open_store(self.directory) as store, trio.open_nursery() as agent, trio.open_nursery() as accepting:
            manager, inbox = SessionManager(store), Inbox()
            loop = AgentLoop(manager, ScriptedModel(script), {"web": self._hub})
            await agent.start(loop.run, inbox)
            await accepting.start(self._hub.run, inbox)
            self.endpoint = ChatEndpoint(
                {"web": self._hub}, manager, drain=self._drain, trusted=False, model_name="scripted"
            )
            task_status.started()
            await self._killed.wait()
            accepting.cancel_scope.cancel()
            inbox.close()

    def kill(self, heir: Path) -> None:
        """Leave what is on the disk at this moment to the next one."""
        heir.mkdir()
        for path in self.directory.glob("web_*.json"):
            shutil.copy(path, heir)
        self._drain.set()
        self._killed.set()

    def messages(self) -> list[dict[str, Any]]:
        path = self.directory / "web_main.json"
        found: list[dict[str, Any]] = json.loads(path.read_bytes())["messages"] if path.exists() else []
        return found


class World:
    """Two tabs that share what is not known to be saved, and one gateway after the other."""

    def __init__(self, home: Path, nursery: trio.Nursery) -> None:
        self._home = home
        self._nursery = nursery
        self._count = 0
        self.gateway: Gateway
        self.unsaved: dict[str, str] = {}
        self.said: list[str] = []
        self.clients: list[AsgiClient | None] = [None] * TABS
        self.settled = trio.Event()
        self.is_up = trio.Event()

    async def start(self) -> None:
        self._count += 1
        gateway = Gateway(self._home / str(self._count))
        await self._nursery.start(gateway.run)
        self.gateway = gateway
        self.is_up.set()

    async def kill(self) -> None:
        self.is_up = trio.Event()
        self.gateway.kill(self._home / str(self._count + 1))
        for client in self.clients:
            if client is not None:
                client.leave()
        await self.start()

    def say(self, tab: int) -> None:
        inbound_id = f"m{len(self.said)}"
        self.said.append(inbound_id)
        self.unsaved[inbound_id] = inbound_id
        if client := self.clients[tab]:
            client.send(type="message", id=inbound_id, text=inbound_id)

    async def keep_open(self, tab: int) -> None:
        """Be a tab: connect, send again what is unsaved, listen, and connect again."""
        while True:
            await self.is_up.wait()
            gateway, client = self.gateway, AsgiClient()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.connect, gateway.endpoint)
                while frame := await client.receive():
                    if frame["type"] == "hello":
                        for inbound_id, text in self.unsaved.items():
                            client.send(type="message", id=inbound_id, text=text)
                        self.clients[tab] = client
                    elif frame["type"] == "saved" and gateway is self.gateway and self.is_up.is_set():
                        ids = [message.get("inbound_id") for message in gateway.messages()]
                        assert frame["id"] in ids, f"{frame['id']} is called saved, and on disk are {ids}"
                        self.unsaved.pop(frame["id"], None)
                        self.settled.set()
                self.clients[tab] = None
            await trio.sleep(0.001)

    async def settle(self) -> None:
        """Wait until all that was said is confirmed and answered, on disk."""
        with trio.fail_after(PATIENCE_SECONDS):
            while self.unsaved:
                self.settled = trio.Event()
                await self.settled.wait()
            while sum(message["role"] == "assistant" for message in self.gateway.messages()) < len(self.said):  # noqa: ASYNC110 - nobody is told
                await trio.sleep(0.01)


async def live(steps: list[Step], home: Path) -> None:
    async with trio.open_nursery() as nursery:
        world = World(home, nursery)
        await world.start()
        for tab in range(TABS):
            nursery.start_soon(world.keep_open, tab)
        for step, argument in steps:
            if step == "say":
                world.say(argument)
            elif step == "wait":
                await trio.sleep(argument / 1000)
            elif step == "kill":
                await world.kill()
            elif client := world.clients[argument]:
                client.leave()
        await world.settle()
        messages = [(message["role"], message["content"]) for message in world.gateway.messages()]
        nursery.cancel_scope.cancel()
    asked = [text for role, text in messages if role == "user"]
    assert sorted(asked) == sorted(world.said)
    assert messages == [pair for text in asked for pair in (("user", text), ("assistant", f"re {text}"))]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
@example(steps=[("say", 0), ("wait", 150), ("kill", 0)])  # saved, and not answered
@example(steps=[("say", 0), ("wait", 150), ("kill", 0), ("say", 1)])
@example(steps=[("say", 0), ("wait", 10), ("kill", 0), ("say", 1)])  # recorded, and not saved
@example(steps=[("say", 0), ("wait", 150), ("break", 0), ("wait", 150), ("kill", 0)])
@example(steps=[("say", 0), ("say", 1), ("say", 0), ("break", 0), ("break", 1)])
def test_chat_whatever_breaks_every_message_is_there_once_with_one_answer(steps: list[Step]) -> None:
    """After any breaks and kills, each message that was said is in the session once, with its answer behind it."""
    with tempfile.TemporaryDirectory() as home:
        trio.run(partial(live, steps, Path(home)))
