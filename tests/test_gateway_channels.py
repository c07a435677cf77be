"""The gateway with channels and models of an embedder that have bugs: each is told as its own, and ends nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from miniclaw.agent.inbox import MAX_TURNS_PER_CHANNEL
from miniclaw.channels.base import InboundMessage, InboundSender, OutboundMessage
from miniclaw.channels.foreign_calls import OVERDUE_SECONDS
from miniclaw.channels.supervisor import FIRST_PAUSE_SECONDS
from miniclaw.config import Config, Home, parse_config
from miniclaw.errors import ChannelEndedError, ConfigError
from miniclaw.gateway import Running, run_gateway
from miniclaw.session.runtime import SessionRuntime
from miniclaw.session.types import Message
from tests.fakes.agent import ConfirmingMailbox, ScriptedModel
from tests.fakes.foreign import SHAPES, ForeignChannel, ForeignModel
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.threads import settle, until


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def converse(channel: ForeignChannel, inbound: InboundSender) -> None:
    """Say two things, and end when both are answered and saved, as far as that is told."""
    for number in (1, 2):
        await inbound.send(InboundMessage(channel.name, str(number), "hi", inbound_id="a"))
    await ConfirmingMailbox.until(channel, 4)


def said(home: Home, session_id: str) -> list[str]:
    saved = json.loads((home.sessions_dir / f"{session_id}.json").read_text())
    return [message["content"] for message in saved["messages"]]


# Names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "serves", "words"),
    [
        (["irc", "irc"], False, "'irc' is the name of two channels"),
        (["My Channel"], False, "'My Channel' is not the name of a channel"),
        (["web"], True, "'web' is the name of a channel that the gateway has itself"),
        (["console"], True, "'console' is the name of a channel that the gateway has itself"),
        (["telegram"], True, "'telegram' is the name of a channel that the gateway has itself"),
    ],
)
async def test_run_gateway_channels_that_cannot_be_told_apart_are_refused(
    home: Home, names: list[str], serves: bool, words: str
) -> None:
    """In one sentence and as itself, before anything is made."""
    channels = [ForeignChannel(name) for name in names]
    with pytest.raises(ConfigError, match=words):
        await run_gateway(Config(), home, channels=channels, serves=serves)
    assert not home.workspace.exists()
    assert not any(channel.runs for channel in channels)


async def test_run_gateway_that_does_not_serve_has_no_names_of_its_own(home: Home) -> None:
    """`miniclaw chat` and programs that embed the gateway may call a channel as they like."""
    channel = ForeignChannel("web", script=converse)
    await run_gateway(Config(), home, channels=[channel])
    assert said(home, "web_1") == ["hi", "hi"]


# Bugs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["send", "send_delta", "confirm"])
async def test_run_gateway_bug_of_a_channel_leaves_everything_saved(home: Home, logs: LogRecorder, method: str) -> None:
    """Question and answer of both chats are on the disk, and the gateway ends when the channel does."""
    logs.expect_error("Channel failed")
    channel = ForeignChannel("tcp", script=converse, fails={method: SHAPES["group"]})
    with trio.fail_after(PATIENCE_SECONDS):
        await run_gateway(Config(), home, channels=[channel])
    assert said(home, "tcp_1") == said(home, "tcp_2") == ["hi", "hi"]


async def test_run_gateway_bug_of_a_model_leaves_the_questions_saved(home: Home, logs: LogRecorder) -> None:
    """Each person is told, and each message kept."""
    logs.expect_error("Model failed")
    channel = ForeignChannel("tcp", script=converse)
    with trio.fail_after(PATIENCE_SECONDS):
        await run_gateway(Config(), home, channels=[channel], model=ForeignModel(entering=SHAPES["plain"]))
    assert [sent.failed for sent in channel.sent] == [True, True]
    assert said(home, "tcp_1") == ["hi", "[interrupted] the model failed (KeyError)"]
    assert len(logs.named("Model failed")) == 2


async def test_run_gateway_channel_that_fails_starts_again_and_another_one_knows_nothing(
    home: Home, logs: LogRecorder, mock_clock: MockClock
) -> None:
    """The message that came before the bug is answered and kept; the gateway ends when both channels have ended."""
    logs.expect_error("Channel failed")
    over = trio.Event()

    async def fail(channel: ForeignChannel, inbound: InboundSender) -> None:
        if channel.runs == 1:
            await inbound.send(InboundMessage("bad", "1", "before the bug"))
            raise KeyError("gone")

    async def wait(_channel: ForeignChannel, _inbound: InboundSender) -> None:
        await over.wait()

    bad, good = ForeignChannel("bad", script=fail), ForeignChannel("good", script=wait)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(run_gateway, Config(), home, channels=[bad, good]))
        await settle()
        mock_clock.jump(FIRST_PAUSE_SECONDS)
        await settle()
        assert (bad.runs, good.runs) == (2, 1)
        over.set()
    assert said(home, "bad_1") == ["before the bug", "before the bug"]
    assert len(logs.named("Channel failed")) == 1


async def test_run_gateway_channel_that_cannot_go_on_is_the_error_of_a_gateway_without_another(home: Home) -> None:
    """What ends the only channel is raised as itself, when everything is saved."""

    async def end(channel: ForeignChannel, inbound: InboundSender) -> None:
        await inbound.send(InboundMessage("tty", "1", "hi", inbound_id="a"))
        await channel.until(2)
        raise ChannelEndedError("the terminal is gone")

    with pytest.raises(ChannelEndedError, match="the terminal is gone"):
        await run_gateway(Config(), home, channels=[ForeignChannel("tty", script=end)])
    assert said(home, "tty_1") == ["hi", "hi"]


async def test_run_gateway_message_under_the_name_of_another_channel_reaches_nobody(
    home: Home, logs: LogRecorder, mock_clock: MockClock
) -> None:
    """Neither is it answered nor recorded, and the channel whose name was taken is not called."""
    logs.expect_error("Channel failed")
    over = trio.Event()

    async def impersonate(channel: ForeignChannel, inbound: InboundSender) -> None:
        if channel.runs == 1:
            await inbound.send(InboundMessage("good", "1", "I am good"))

    async def wait(_channel: ForeignChannel, _inbound: InboundSender) -> None:
        await over.wait()

    bad, good = ForeignChannel("bad", script=impersonate), ForeignChannel("good", script=wait)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(run_gateway, Config(), home, channels=[bad, good]))
        await settle()
        mock_clock.jump(FIRST_PAUSE_SECONDS)
        await settle()
        over.set()
    assert logs.one("Channel failed")["channel"] == "bad"
    assert (bad.sent, good.sent, good.confirmed) == ([], [], [])
    assert not list(home.sessions_dir.glob("*.json"))


async def test_run_gateway_that_serves_shows_a_channel_that_has_failed(home: Home, logs: LogRecorder) -> None:
    """Readiness says that a channel is down, and the addresses are served all the same."""
    logs.expect_error("Channel failed")
    config = parse_config({"web": {"port": 0}})
    channel = ForeignChannel("tcp", fails={"run": SHAPES["plain"]})
    async with trio.open_nursery() as nursery:
        running: Running = await nursery.start(partial(run_gateway, config, home, channels=[channel], serves=True))
        assert running.front is not None
        assert [reason.code for reason in running.front.health.reasons()] == ["channel_failed"]
        nursery.cancel_scope.cancel()


async def test_run_gateway_before_that_raises_refuses_the_start(home: Home) -> None:
    """What a program does before it accepts messages has to work; nothing is accepted, and the error is its own."""

    async def before(_runtime: SessionRuntime) -> None:
        raise KeyError("gone")

    channel = ForeignChannel("tcp")
    with pytest.RaisesGroup(KeyError):
        await run_gateway(Config(), home, channels=[channel], before=before)
    assert channel.runs == 0


async def test_run_gateway_hanging_send_of_one_channel_holds_up_no_other(home: Home) -> None:
    """A channel that never delivers waits alone."""
    go_on = trio.Event()

    class Hanging(ForeignChannel):
        async def send(self, message: OutboundMessage) -> None:
            await go_on.wait()

    async def say(channel: ForeignChannel, inbound: InboundSender) -> None:
        await inbound.send(InboundMessage(channel.name, "1", "hi"))

    async def converse_meanwhile(channel: ForeignChannel, inbound: InboundSender) -> None:
        await converse(channel, inbound)
        go_on.set()

    slow, good = Hanging("slow", script=say), ForeignChannel("good", script=converse_meanwhile)
    with trio.fail_after(PATIENCE_SECONDS):
        await run_gateway(Config(), home, channels=[slow, good])
    assert said(home, "slow_1") == ["hi", "hi"]


@pytest.mark.parametrize("who", ["send", "stream"])
async def test_run_gateway_channel_that_hangs_in_all_its_chats_holds_up_no_other(
    home: Home, logs: LogRecorder, mock_clock: MockClock, who: str
) -> None:
    """A channel or model that never returns keeps the turns of one channel, and is named in the log after some time."""
    go_on, over = trio.Event(), trio.Event()

    class Hanging(ForeignChannel):
        async def send(self, message: OutboundMessage) -> None:
            if who == "send":
                await go_on.wait()

    async def answer(messages: Sequence[Message]) -> str:
        if messages[-1].content == "hang" and who == "stream":
            await go_on.wait()
        return "hi"

    async def say(channel: ForeignChannel, inbound: InboundSender) -> None:
        for number in range(MAX_TURNS_PER_CHANNEL + 1):
            await inbound.send(InboundMessage(channel.name, str(number), "hang"))

    async def converse_later(channel: ForeignChannel, inbound: InboundSender) -> None:
        await over.wait()
        await inbound.send(InboundMessage(channel.name, "1", "hi"))
        await channel.delivered.wait()
        go_on.set()

    channels = [Hanging("slow", script=say), ForeignChannel("good", script=converse_later)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(run_gateway, Config(), home, channels=channels, model=ScriptedModel(answer)))
        await settle()
        mock_clock.jump(OVERDUE_SECONDS)
        await settle()
        calls = [event["call"] for event in logs.named("Channel or model does not return; its chat waits for it")]
        assert calls == [f"{'slow' if who == 'send' else 'scripted'}.{who}"] * MAX_TURNS_PER_CHANNEL
        over.set()
        await until(channels[1].delivered.is_set)
    assert said(home, "good_1") == ["hi", "hi"]


async def test_embedding_page_example_of_a_channel_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The channel in docs/embedding.md works as it stands."""
    monkeypatch.setenv("MINICLAW_HOME", str(tmp_path))
    page = (Path(__file__).parents[1] / "docs" / "embedding.md").read_text(encoding="utf-8")
    code = page.split("<!-- channel example -->")[1].split("```python\n")[1].split("```")[0]
    namespace: dict[str, Any] = {}
    exec(compile(code, "embedding.md", "exec"), namespace)  # noqa: S102 - our own example
    await namespace["main"]()
    assert capsys.readouterr().out == "Good morning\n"
    assert said(Home(tmp_path), "once_anna") == ["Good morning", "Good morning"]
