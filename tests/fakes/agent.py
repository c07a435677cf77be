"""A channel, a model, and a loop with all it needs over a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from miniclaw.agent.loop import AgentLoop
from miniclaw.agent.models import Model
from miniclaw.channels.base import InboundMessage, OutboundMessage
from miniclaw.errors import ChannelError
from miniclaw.session.manager import SessionManager
from miniclaw.session.store import open_store
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock


class MailboxChannel:
    """Keeps what is sent over it; implements `miniclaw.channels.base.Channel`."""

    def __init__(self, name: str = "web", *, broken: bool = False) -> None:
        self.name = name
        self.sent: list[OutboundMessage] = []
        self.delivered = trio.Event()
        self._broken = broken

    async def run(
        self,
        inbound: trio.MemorySendChannel[InboundMessage],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        task_status.started()

    async def send(self, message: OutboundMessage) -> None:
        await trio.lowlevel.checkpoint()
        if self._broken:
            raise ChannelError("nobody is there")
        self.sent.append(message)
        self.delivered.set()


class ScriptedModel:
    """Answers as its script says; implements `miniclaw.agent.models.Model`."""

    name = "scripted"

    def __init__(self, script: Callable[[Sequence[Message]], Awaitable[str]]) -> None:
        self._script = script

    async def reply(self, messages: Sequence[Message]) -> str:
        return await self._script(messages)


class House:
    """A loop with all it needs."""

    def __init__(self, manager: SessionManager, clock: WallClock) -> None:
        self.manager = manager
        self.channel = MailboxChannel()
        self._clock = clock

    def loop(self, model: Model) -> AgentLoop:
        return AgentLoop(self.manager, model, {self.channel.name: self.channel}, clock=self._clock)

    async def said(self, session_id: str) -> list[tuple[str, str]]:
        """Return who said what in a session."""
        session = await self.manager.get_session(session_id)
        assert session is not None
        return [(message.role, message.content) for message in session.messages]


@asynccontextmanager
async def open_house(sessions_dir: Path, clock: WallClock) -> AsyncIterator[House]:
    with trio.fail_after(20):
        async with open_store(sessions_dir) as store:
            yield House(SessionManager(store, clock=clock), clock)


def inbound(content: str, chat_id: str = "a") -> InboundMessage:
    return InboundMessage("web", chat_id, content)


async def serve(loop: AgentLoop, *messages: InboundMessage) -> None:
    """Run the loop over these messages to its end."""
    send, receive = trio.open_memory_channel[InboundMessage](len(messages))
    for message in messages:
        send.send_nowait(message)
    await send.aclose()
    await loop.run(receive)
