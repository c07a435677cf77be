"""Channels and models of an embedder that fail in every way, and what they may raise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from miniclaw.agent.models import ModelEvent
from miniclaw.channels.base import InboundMessage, InboundSender, OutboundDelta, OutboundMessage
from miniclaw.session.types import Message
from tests.fakes.agent import ConfirmingMailbox


class UnprintableError(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class StoppedError(BaseException):
    """An exception that is no `Exception`."""


SHAPES: Final[dict[str, Callable[[], BaseException]]] = {
    "plain": lambda: KeyError("gone"),
    "stop": lambda: StopAsyncIteration("not the end"),
    "unprintable": UnprintableError,
    "group": lambda: ExceptionGroup("one", [ExceptionGroup("two", [KeyError("gone"), OSError(5, "deep")])]),
    "recursion": lambda: RecursionError("maximum recursion depth exceeded"),
    "memory": MemoryError,
    "huge": lambda: ValueError("x" * 1_000_000),
    "asyncio": asyncio.CancelledError,
    "generator": GeneratorExit,
    "base": StoppedError,
    "base group": lambda: BaseExceptionGroup("one", [asyncio.CancelledError(), GeneratorExit(), KeyError("gone")]),
}
"""What foreign code may raise, each made anew: a group keeps the tracebacks of its members."""


class ForeignChannel(ConfirmingMailbox):
    """Fails where it is told to; implements every protocol of a channel.

    Args:
        name: Its name.
        script: What `run` does, with the channel and its sender; it accepts messages before.
        fails: What it raises in which method; "before_started" is the beginning of `run`.

    Attributes:
        runs: How often `run` was called.
        calls: Which methods were called, in their order.
    """

    def __init__(
        self,
        name: str = "web",
        *,
        script: Callable[[ForeignChannel, InboundSender], Any] | None = None,
        fails: Mapping[str, Callable[[], BaseException]] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.fails = dict(fails or {})
        self.runs = 0
        self.calls: list[str] = []
        self.script = script

    def _called(self, method: str) -> None:
        self.calls.append(method)
        if method in self.fails:
            raise self.fails[method]()

    async def run(
        self, inbound: InboundSender, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        self.runs += 1
        await trio.lowlevel.checkpoint()
        self._called("before_started")
        task_status.started()
        self._called("run")
        if self.script is not None:
            await self.script(self, inbound)

    async def send(self, message: OutboundMessage) -> None:
        await super().send(message)
        self._called("send")

    async def send_delta(self, delta: OutboundDelta) -> None:
        await trio.lowlevel.checkpoint()
        self._called("send_delta")

    def confirm(self, message: InboundMessage, *, answered: bool) -> None:
        super().confirm(message, answered=answered)
        self._called("confirm")

    def refuse(self, message: InboundMessage, reason: str) -> None:
        super().refuse(message, reason)
        self._called("refuse")


class ForeignModel:
    """Fails where it is told to; implements `Model`.

    Args:
        events: What it says.
        fails: What it raises: on `entering`, in `iterating` after its events, on `leaving`.
        gives: What stands in the place of the iterator, if anything does.
    """

    name = "foreign"

    def __init__(self, *events: Any, gives: Any = None, **fails: Callable[[], BaseException]) -> None:
        self._events = events
        self._fails = fails
        self._gives = gives

    def _fail(self, place: str) -> None:
        if place in self._fails:
            raise self._fails[place]()

    @asynccontextmanager
    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        await trio.lowlevel.checkpoint()
        self._fail("entering")
        yield self if self._gives is None else self._gives
        self._fail("leaving")

    def __aiter__(self) -> AsyncIterator[ModelEvent]:
        self._left = list(self._events)
        return self

    async def __anext__(self) -> Any:
        await trio.lowlevel.checkpoint()
        if self._left:
            return self._left.pop(0)
        self._fail("iterating")
        raise StopAsyncIteration
