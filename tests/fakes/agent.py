"""A channel, a model, and a loop with all it needs over a real store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import trio

from miniclaw.agent.inbox import Inbox
from miniclaw.agent.loop import AgentLoop
from miniclaw.agent.models import Model, ModelEvent
from miniclaw.channels.base import InboundMessage, InboundSender, OutboundDelta, OutboundMessage
from miniclaw.errors import ChannelError
from miniclaw.session.live.store import open_store
from miniclaw.session.manager import SessionManager
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.patience import PATIENCE_SECONDS


class MailboxChannel:
    """Keeps what is sent over it; implements `miniclaw.channels.base.Channel`."""

    def __init__(self, name: str = "web", *, broken: bool = False) -> None:
        self.name = name
        self.sent: list[OutboundMessage] = []
        self.delivered = trio.Event()
        self._broken = broken

    async def run(
        self,
        inbound: InboundSender,
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


class StreamingMailbox(MailboxChannel):
    """Keeps pieces, too; implements `miniclaw.channels.base.StreamingChannel`."""

    def __init__(self, *, broken_after: int | None = None) -> None:
        super().__init__()
        self.deltas: list[OutboundDelta] = []
        self._broken_after = broken_after

    async def send_delta(self, delta: OutboundDelta) -> None:
        await trio.lowlevel.checkpoint()
        if len(self.deltas) == self._broken_after:
            raise ChannelError("nobody is there")
        self.deltas.append(delta)

    @property
    def streamed(self) -> str:
        return "".join(delta.text for delta in self.deltas)


class ConfirmingMailbox(MailboxChannel):
    """Keeps what is confirmed, with what `look` returned then, and what is refused.

    Implements `ConfirmingChannel` and `RefusingChannel`.
    """

    def __init__(self, look: Callable[[], str] = str) -> None:
        super().__init__()
        self.confirmed: list[tuple[str | None, bool, str]] = []
        self.refused: list[tuple[str | None, str]] = []
        self._look = look
        self._changed = trio.Event()

    def refuse(self, message: InboundMessage, reason: str) -> None:
        self.refused.append((message.inbound_id, reason))

    def confirm(self, message: InboundMessage, *, answered: bool) -> None:
        self.confirmed.append((message.inbound_id, answered, self._look()))
        self._changed.set()

    async def until(self, count: int) -> None:
        while len(self.confirmed) < count:
            self._changed = trio.Event()
            await self._changed.wait()


class ScriptedModel:
    """Answers as its script says; implements `miniclaw.agent.models.Model`."""

    name = "scripted"

    def __init__(self, script: Callable[[Sequence[Message]], Awaitable[str]]) -> None:
        self._script = script

    @asynccontextmanager
    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        async def one() -> AsyncGenerator[ModelEvent]:
            yield await self._script(messages)

        async with aclosing(one()) as events:
            yield events


class StreamingModel:
    """Says events one by one, waits where it is told to, fails where it is told to; implements `Model`.

    Args:
        events: What it says; at an event of trio's it waits, an error it raises.
    """

    name = "streaming"

    def __init__(self, *events: ModelEvent | trio.Event | BaseException) -> None:
        self._events = events
        self.waiting = trio.Event()
        self.closed = False

    @asynccontextmanager
    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        async def say() -> AsyncGenerator[ModelEvent]:
            for event in self._events:
                if isinstance(event, trio.Event):
                    self.waiting.set()
                    await event.wait()
                elif isinstance(event, BaseException):
                    raise event
                else:
                    await trio.lowlevel.checkpoint()
                    yield event

        try:
            async with aclosing(say()) as events:
                yield events
        finally:
            self.closed = True


class House:
    """A loop with all it needs."""

    def __init__(self, manager: SessionManager) -> None:
        self.manager = manager
        self.channel: MailboxChannel = MailboxChannel()

    def loop(self, model: Model) -> AgentLoop:
        return AgentLoop(self.manager, model, {self.channel.name: self.channel})

    async def said(self, session_id: str) -> list[tuple[str, str]]:
        """Return who said what in a session."""
        session = await self.manager.get_session(session_id)
        assert session is not None
        return [(message.role, message.content) for message in session.messages]


@asynccontextmanager
async def open_house(sessions_dir: Path, clock: WallClock) -> AsyncIterator[House]:
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_store(sessions_dir) as store:
            yield House(SessionManager(store, clock=clock))


def inbound(content: str, chat_id: str = "a") -> InboundMessage:
    return InboundMessage("web", chat_id, content)


async def serve(loop: AgentLoop, *messages: InboundMessage) -> None:
    """Run the loop over these messages to its end."""
    inbox = Inbox()
    for message in messages:
        inbox.send_nowait(message)
    inbox.close()
    await loop.run(inbox)
