"""A channel that fails costs itself what it failed in, and is told as its own fault."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from miniclaw.channels.base import InboundMessage, OutboundDelta, OutboundMessage
from miniclaw.channels.port import ChannelCall, Port
from miniclaw.errors import ChannelError
from tests.fakes.agent import MailboxChannel
from tests.fakes.foreign import SHAPES, ForeignChannel
from tests.fakes.logs import LogRecorder

MESSAGE = InboundMessage("web", "1", "hello", inbound_id="7")
FAILED = "Channel failed"
CALLS: tuple[ChannelCall, ...] = ("send", "send_delta", "confirm", "refuse")


async def call(port: Port, method: ChannelCall) -> bool:
    """Call a method; return whether a piece was shown."""
    match method:
        case "send":
            await port.send(OutboundMessage("web", "1", "hi", MESSAGE))
        case "send_delta":
            return await port.send_delta(OutboundDelta("web", "1", "h", MESSAGE))
        case "confirm":
            port.confirm(MESSAGE, answered=True)
        case _:
            port.refuse(MESSAGE, "it is too long")
    return False


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("shape", SHAPES)
async def test_port_bug_of_a_channel_is_logged_once_with_its_traceback_and_counted(
    logs: LogRecorder, method: ChannelCall, shape: str
) -> None:
    """Whatever a channel raises in whatever method, the agent goes on."""
    logs.expect_error(FAILED)
    port = Port("web", ForeignChannel(fails={method: SHAPES[shape]}))
    assert not await call(port, method)
    event = logs.one(FAILED)
    assert (event["channel"], event["call"]) == ("web", method)
    assert "foreign.py" in event["traceback"]
    assert {name: count for name, count in port.failures.items() if count} == {method: 1}


@pytest.mark.parametrize("wrap", [lambda error: error, lambda error: ExceptionGroup("nursery", [error])])
async def test_port_channel_error_is_a_sentence_without_a_traceback(
    logs: LogRecorder, wrap: Callable[[Exception], Exception]
) -> None:
    """Trouble that a channel tells on purpose is no bug, also where a nursery of it has wrapped it."""
    logs.expect_error("Reply could not be delivered")
    trouble = lambda: wrap(ChannelError("nobody is there"))  # noqa: E731
    port = Port("web", ForeignChannel(fails={"send": trouble, "send_delta": trouble}))
    await call(port, "send")
    assert not await call(port, "send_delta")
    for sentence in ("Reply could not be delivered", "Piece of a reply could not be delivered"):
        event = logs.one(sentence)
        assert (event["channel"], event["error"]) == ("web", "nobody is there")
        assert "traceback" not in event
    assert (port.failures["send"], port.failures["send_delta"]) == (1, 1)


async def test_port_channel_that_fails_in_confirm_or_refuse_on_purpose_is_a_bug(logs: LogRecorder) -> None:
    """These must not raise, not even a ChannelError."""
    logs.expect_error(FAILED)
    port = Port("web", ForeignChannel(fails={"confirm": lambda: ChannelError("no")}))
    await call(port, "confirm")
    assert "ChannelError: no" in logs.one(FAILED)["traceback"]


@pytest.mark.parametrize("method", CALLS)
async def test_port_ctrl_c_in_a_channel_passes(method: ChannelCall) -> None:
    """What ends the program is not contained."""
    port = Port("web", ForeignChannel(fails={method: KeyboardInterrupt}))
    with pytest.raises(KeyboardInterrupt):
        await call(port, method)
    assert sum(port.failures.values()) == 0


async def test_port_cancellation_in_a_channel_passes(logs: LogRecorder) -> None:
    """A channel that hangs is cancelled like all else, and that is no failure."""

    class Hanging(MailboxChannel):
        async def send(self, message: OutboundMessage) -> None:
            await trio.sleep_forever()

    port = Port("web", Hanging())
    with trio.CancelScope() as scope:
        scope.cancel()
        await call(port, "send")
    assert scope.cancelled_caught
    assert (port.failures["send"], logs.events) == (0, [])


async def test_port_of_a_plain_channel_takes_no_pieces_and_confirms_nothing() -> None:
    """What a channel has not is not called."""
    channel = MailboxChannel()
    port = Port("web", channel)
    assert (port.streams, port.confirms) == (False, False)
    for method in CALLS:
        await call(port, method)
    assert len(channel.sent) == 1
    assert sum(port.failures.values()) == 0
