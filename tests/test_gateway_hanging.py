"""The end of a gateway with foreign code that does not let itself be cancelled."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from miniclaw.agent.turn import RECORDING_SECONDS
from miniclaw.channels.base import InboundMessage, InboundSender, OutboundMessage
from miniclaw.config import Config, Home
from miniclaw.gateway import run_gateway
from miniclaw.session.runtime import GRACE_SECONDS, HANGING_SECONDS, STOPPING_INTERVAL_SECONDS
from miniclaw.session.types import Message
from tests.fakes.agent import ScriptedModel
from tests.fakes.foreign import ForeignChannel
from tests.fakes.logs import LogRecorder
from tests.fakes.threads import settle

CANNOT_END = "Gateway cannot end: a channel or model does not return"


class Stubborn(ForeignChannel):
    """A channel, with its model, that waits shielded in one place.

    Args:
        place: ``run``, ``send`` or ``stream``.

    Attributes:
        go_on: Ends the wait.
    """

    def __init__(self, place: str) -> None:
        super().__init__("once", script=lambda _, inbound: self._say(inbound))
        self.place = place
        self.go_on = trio.Event()

    async def wait(self, place: str) -> None:
        if place == self.place:
            with trio.CancelScope(shield=True):
                await self.go_on.wait()

    async def _say(self, inbound: InboundSender) -> None:
        for text in ("important", "and more"):
            await inbound.send(InboundMessage("once", "anna", text))
        await self.wait("run")
        await trio.sleep_forever()

    async def send(self, message: OutboundMessage) -> None:
        await self.wait("send")

    async def answer(self, messages: Sequence[Message]) -> str:
        await self.wait("stream")
        return "yes"


@pytest.mark.parametrize("place", ["run", "send", "stream"])
async def test_run_gateway_code_that_cannot_be_cancelled_keeps_nothing_from_the_disk(
    tmp_path: Path, logs: LogRecorder, mock_clock: MockClock, place: str
) -> None:
    """All messages that were accepted are on disk while the gateway cannot end, and the log names who holds it up."""
    home, channel = Home(tmp_path), Stubborn(place)

    def on_disk() -> list[str]:
        [path] = home.sessions_dir.glob("*.json")
        return [message["content"] for message in json.loads(path.read_text())["messages"] if message["role"] == "user"]

    async def pass_time(seconds: float) -> None:
        await settle()
        mock_clock.jump(seconds)
        await settle()

    async with trio.open_nursery() as nursery:
        model = ScriptedModel(channel.answer)
        nursery.start_soon(partial(run_gateway, Config(), home, channels=[channel], model=model))
        await settle()
        os.kill(os.getpid(), signal.SIGTERM)
        await pass_time(STOPPING_INTERVAL_SECONDS)
        assert on_disk()[0] == "important"
        await pass_time(GRACE_SECONDS - STOPPING_INTERVAL_SECONDS)
        assert not logs.named(CANNOT_END)
        await pass_time(HANGING_SECONDS)
        name = "scripted" if place == "stream" else "once"
        assert logs.one(CANNOT_END)["calls"] == [f"{name}.{place}"]
        await pass_time(RECORDING_SECONDS)
        await pass_time(STOPPING_INTERVAL_SECONDS)
        assert on_disk() == ["important", "and more"]
        channel.go_on.set()
    assert logs.one("Gateway stopped")


async def test_run_gateway_in_haste_names_at_once_who_does_not_return(
    tmp_path: Path, logs: LogRecorder, mock_clock: MockClock
) -> None:
    """A second signal does not wait for the deadline, and so neither does the line about what holds up the end."""
    channel = Stubborn("send")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(run_gateway, Config(), Home(tmp_path), channels=[channel]))
        await settle()
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            await settle()
        mock_clock.jump(HANGING_SECONDS)
        await settle()
        assert logs.one(CANNOT_END)["calls"] == ["once.send"]
        channel.go_on.set()


async def test_run_gateway_that_ends_in_time_names_nobody(
    tmp_path: Path, logs: LogRecorder, mock_clock: MockClock
) -> None:
    """A turn that is cut at its deadline holds up nothing."""
    channel = Stubborn("none")

    async def wait(_: Sequence[Message]) -> str:
        await trio.sleep_forever()
        raise AssertionError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(run_gateway, Config(), Home(tmp_path), channels=[channel], model=ScriptedModel(wait))
        )
        await settle()
        os.kill(os.getpid(), signal.SIGTERM)
        await settle()
        mock_clock.jump(GRACE_SECONDS)
    assert not logs.named(CANNOT_END)
    assert logs.one("Gateway stopped")
