"""Channels beside one another: one that fails starts again after a pause, and the others know nothing of it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from miniclaw.agent.inbox import Inbox
from miniclaw.channels.base import InboundMessage, InboundSender
from miniclaw.channels.port import Port
from miniclaw.channels.supervisor import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    STARTING_SECONDS,
    channels_by_name,
    raise_ended,
    run_channels,
)
from miniclaw.errors import ChannelEndedError, ChannelError, ConfigError
from tests.fakes.foreign import SHAPES, ForeignChannel
from tests.fakes.logs import LogRecorder

FAILED = "Channel failed"


async def sleep(_channel: ForeignChannel, _inbound: InboundSender) -> None:
    await trio.sleep_forever()


def ports_of(*channels: ForeignChannel) -> dict[str, Port]:
    return {channel.name: Port(channel.name, channel) for channel in channels}


# Names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "My Channel", "a_b", "ä", "x" * 33, "x\n", None, 5, ["a"]])
def test_channels_by_name_refuses_what_is_no_name(name: Any) -> None:
    """A name goes into file names and session ids; anything else is refused, and shown safely."""
    with pytest.raises(ConfigError, match="1 to 32 of a-z, 0-9 and -") as refused:
        channels_by_name([ForeignChannel("ok"), ForeignChannel(name)])
    assert str(refused.value).startswith("channels: ")
    assert str(refused.value).isprintable()


def test_channels_by_name_refuses_a_channel_without_a_name() -> None:
    """A class that forgot its name is refused in the same sentence."""
    with pytest.raises(ConfigError, match="None is not the name of a channel"):
        channels_by_name([object()])  # type: ignore[list-item]


def test_channels_by_name_refuses_two_of_a_name_and_names_that_are_taken() -> None:
    """Two channels of one name would get each other's answers."""
    with pytest.raises(ConfigError, match="'irc' is the name of two channels"):
        channels_by_name([ForeignChannel("irc"), ForeignChannel("irc")])
    with pytest.raises(ConfigError, match="'web' is the name of a channel that the gateway has itself"):
        channels_by_name([ForeignChannel("web")], taken={"web"})
    channels = [ForeignChannel("irc"), ForeignChannel("a-1")]
    assert list(channels_by_name(channels, taken={"web"}).values()) == channels


# Failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["before_started", "run"])
@pytest.mark.parametrize("shape", SHAPES)
async def test_run_channels_one_that_fails_starts_again_and_the_others_go_on(
    logs: LogRecorder, mock_clock: MockClock, place: str, shape: str
) -> None:
    """A bug in `run` is one ERROR with its traceback; the channel is called again, and no other one is touched."""
    logs.expect_error(FAILED)
    bad = ForeignChannel("bad", script=sleep, fails={place: SHAPES[shape]})
    good = ForeignChannel("good", script=sleep)
    ports = ports_of(bad, good)
    async with trio.open_nursery() as nursery:
        await nursery.start(run_channels, ports, Inbox())
        assert (ports["bad"].phase, ports["good"].phase) == ("failed", "running")
        event = logs.one(FAILED)
        assert (event["channel"], event["call"], event["starts_again_in_seconds"]) == ("bad", "run", 1)
        assert "foreign.py" in event["traceback"]
        assert ports["bad"].starts_in_seconds() == FIRST_PAUSE_SECONDS
        bad.fails.clear()
        mock_clock.jump(FIRST_PAUSE_SECONDS)
        await wait_all_tasks_blocked()
        assert (bad.runs, ports["bad"].phase, ports["bad"].starts_in_seconds()) == (2, "running", None)
        assert good.runs == 1
        assert (ports["bad"].failures["run"], ports["good"].failures["run"]) == (1, 0)
        nursery.cancel_scope.cancel()


async def test_run_channels_pause_doubles_up_to_a_bound_and_begins_anew_after_a_good_run(
    logs: LogRecorder, mock_clock: MockClock
) -> None:
    """A server that is away is asked seldom in the end, and soon again after it was there."""
    logs.expect_error(FAILED)
    channel = ForeignChannel("bad", script=sleep, fails={"run": SHAPES["plain"]})
    ports = ports_of(channel)
    async with trio.open_nursery() as nursery:
        await nursery.start(run_channels, ports, Inbox())
        pauses = []
        for _ in range(9):
            pauses.append(ports["bad"].starts_in_seconds())
            mock_clock.jump(pauses[-1] or 0)
            await wait_all_tasks_blocked()
        assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]

        async def fail_later(_channel: ForeignChannel, _inbound: InboundSender) -> None:
            await trio.sleep(LONGEST_PAUSE_SECONDS + 1)
            raise KeyError("gone")

        channel.fails.clear()
        channel.script = fail_later
        mock_clock.jump(LONGEST_PAUSE_SECONDS)
        await wait_all_tasks_blocked()
        mock_clock.jump(LONGEST_PAUSE_SECONDS + 1)
        await wait_all_tasks_blocked()
        assert ports["bad"].starts_in_seconds() == FIRST_PAUSE_SECONDS
        nursery.cancel_scope.cancel()


async def test_run_channels_trouble_that_is_told_is_a_sentence(logs: LogRecorder, mock_clock: MockClock) -> None:
    """A ChannelError from `run` is no bug; it starts again all the same."""
    logs.expect_error("Channel is down")
    channel = ForeignChannel("irc", fails={"run": lambda: ChannelError("the server is away")})
    ports = ports_of(channel)
    async with trio.open_nursery() as nursery:
        await nursery.start(run_channels, ports, Inbox())
        event = logs.one("Channel is down")
        assert (event["error"], ports["irc"].last_failure) == ("the server is away", "the server is away")
        assert "traceback" not in event
        mock_clock.jump(FIRST_PAUSE_SECONDS)
        await wait_all_tasks_blocked()
        assert channel.runs == 2
        nursery.cancel_scope.cancel()


async def test_run_channels_ends_with_the_last_channel() -> None:
    """Channels that have nothing more to say are over; one that never said that it accepts messages as well."""

    class Silent(ForeignChannel):
        async def run(
            self, inbound: InboundSender, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
        ) -> None:
            self.runs += 1

    channels = [ForeignChannel("one"), Silent("two")]
    ports = ports_of(*channels)
    await run_channels(ports, Inbox())
    assert [port.phase for port in ports.values()] == ["ended", "ended"]
    assert [channel.runs for channel in channels] == [1, 1]
    raise_ended(ports)


async def test_run_channels_channel_that_cannot_go_on_ends_and_the_error_is_raised_with_the_last(
    logs: LogRecorder,
) -> None:
    """While others go on it is an ERROR in the log; when all have ended, it is the gateway's."""
    logs.expect_error("Channel cannot go on, and has ended")
    over = trio.Event()

    async def wait(_channel: ForeignChannel, _inbound: InboundSender) -> None:
        await over.wait()
        raise ChannelEndedError("the terminal is gone")

    ended = ForeignChannel("tape", fails={"run": lambda: ChannelEndedError("the tape is torn")})
    ports = ports_of(ended, ForeignChannel("tty", script=wait))
    async with trio.open_nursery() as nursery:
        await nursery.start(run_channels, ports, Inbox())
        assert logs.one("Channel cannot go on, and has ended")["error"] == "the tape is torn"
        raise_ended(ports)  # not yet
        over.set()
    assert ended.runs == 1
    assert len(logs.events) == 1
    with pytest.RaisesGroup(pytest.RaisesExc(ChannelEndedError), pytest.RaisesExc(ChannelEndedError)):
        raise_ended(ports)
    del ports["tty"]
    with pytest.raises(ChannelEndedError, match="the tape is torn"):
        raise_ended(ports)


async def test_run_channels_does_not_wait_for_one_that_never_says_it_accepts(
    logs: LogRecorder, mock_clock: MockClock
) -> None:
    """A channel that hangs before it has started holds up neither the gateway nor the others; a message starts it."""
    go_on = trio.Event()

    class Late(ForeignChannel):
        async def run(
            self, inbound: InboundSender, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
        ) -> None:
            await go_on.wait()
            await inbound.send(InboundMessage("late", "1", "hello"))
            await trio.sleep_forever()

    ports = ports_of(Late("late"), ForeignChannel("good", script=sleep))
    async with trio.open_nursery() as nursery:
        started = trio.Event()

        async def run() -> None:
            await nursery.start(run_channels, ports, Inbox())
            started.set()

        nursery.start_soon(run)
        await wait_all_tasks_blocked()
        assert not started.is_set()
        mock_clock.jump(STARTING_SECONDS)
        await started.wait()
        assert logs.one("Channel has not said that it accepts messages; the start does not wait")["channel"] == "late"
        assert (ports["late"].phase, ports["good"].phase) == ("starting", "running")
        go_on.set()
        await wait_all_tasks_blocked()
        assert ports["late"].phase == "running"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("method", ["send", "send_nowait"])
async def test_run_channels_message_under_another_name_is_refused_to_its_sender(
    logs: LogRecorder, method: str, mock_clock: MockClock
) -> None:
    """A channel cannot speak for another: the message is not taken, and the bug is that of its sender."""
    logs.expect_error(FAILED)
    inbox = Inbox()

    async def speak(_channel: ForeignChannel, inbound: InboundSender) -> None:
        waiting = getattr(inbound, method)(InboundMessage("good", "1", "hello"))
        if waiting is not None:
            await waiting

    ports = ports_of(ForeignChannel("bad", script=speak), ForeignChannel("good", script=sleep))
    async with trio.open_nursery() as nursery:
        await nursery.start(run_channels, ports, inbox)
        event = logs.one(FAILED)
        assert event["channel"] == "bad"
        assert "the channel 'bad' hands over a message of the channel 'good'" in event["traceback"]
        assert (ports["bad"].phase, ports["good"].phase) == ("failed", "running")
        assert inbox.waiting() == 0
        nursery.cancel_scope.cancel()


async def test_run_channels_bug_while_it_is_cancelled_is_logged_and_cancelled(logs: LogRecorder) -> None:
    """A channel that fails in its own end ends nothing else."""
    logs.expect_error(FAILED)

    async def fail_at_the_end(_channel: ForeignChannel, _inbound: InboundSender) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("gone")

    ports = ports_of(ForeignChannel("bad", script=fail_at_the_end))
    async with trio.open_nursery() as nursery:
        await nursery.start(run_channels, ports, Inbox())
        nursery.cancel_scope.cancel()
    assert "KeyError" in logs.one(FAILED)["traceback"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_run_channels_what_ends_the_program_passes(kind: type[BaseException]) -> None:
    """Ctrl-C in the code of a channel ends the program."""
    with pytest.RaisesGroup(kind):
        await run_channels(ports_of(ForeignChannel("bad", fails={"run": kind})), Inbox())
