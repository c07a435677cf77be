"""The gateway's side of a channel: contains its failures, logs and counts them, and attributes them to the channel.

A channel may be foreign code. docs/channel-authors.md lists the exceptions that it may raise, and their consequences.
"""

from __future__ import annotations

from functools import partial
from typing import Final, Literal, TypeAlias, get_args

import trio

from miniclaw.channels.base import (
    Channel,
    ConfirmingChannel,
    InboundMessage,
    OutboundDelta,
    OutboundMessage,
    RefusingChannel,
    StreamingChannel,
)
from miniclaw.channels.foreign_calls import ForeignCalls
from miniclaw.errors import ChannelError
from miniclaw.foreign import Contained, name_of, only, text_of
from miniclaw.loggers import get_logger
from miniclaw.secret import redact

ChannelCall: TypeAlias = Literal["run", "send", "send_delta", "confirm", "refuse"]
"""A method of a channel; failures are counted by method."""

ChannelPhase: TypeAlias = Literal["starting", "running", "failed", "ended"]
"""The state of a channel.

``starting``: it does not accept messages yet. ``running``: it does. ``failed``: its `run` has raised, and is called
again soon. ``ended``: its `run` has returned, or has raised `ChannelEndedError`.
"""

log: Final = get_logger("miniclaw.channels")


class Port:
    """A channel and its state. Changed on the trio thread only.

    Args:
        name: The channel's name.
        channel: The channel; only the supervisor calls its `run`.
        calls: Gets the calls under way.

    Attributes:
        streams: True if the channel is a `StreamingChannel`.
        confirms: True if the channel is a `ConfirmingChannel`.
        phase: The channel's state. Only the supervisor changes this attribute and the next two.
        starts_at: Time on trio's clock at which a failed channel is started again.
        ended_by: The error that ended the channel for good; None: there is none.
        failures: Number of failures of each method.
        last_failure: A word or a sentence about the last failure of `run`; None: there was none.
    """

    def __init__(self, name: str, channel: Channel, calls: ForeignCalls | None = None) -> None:
        self.name = name
        self.channel = channel
        self.calls: ForeignCalls = calls or ForeignCalls()
        # Checked once: an isinstance() with a protocol takes longer than most steps of a turn.
        self._streaming = channel if isinstance(channel, StreamingChannel) else None
        self._confirming = channel if isinstance(channel, ConfirmingChannel) else None
        self._refusing = channel if isinstance(channel, RefusingChannel) else None
        self.streams: bool = self._streaming is not None
        self.confirms: bool = self._confirming is not None
        self.phase: ChannelPhase = "starting"
        self.starts_at: float = 0.0
        self.ended_by: ChannelError | None = None
        self.failures: dict[ChannelCall, int] = dict.fromkeys(get_args(ChannelCall), 0)
        self.last_failure: str | None = None

    def __repr__(self) -> str:
        return f"<Port {self.name} {self.phase} failures={sum(self.failures.values())}>"

    def starts_in_seconds(self) -> float | None:
        """Return the seconds until a failed channel is started again; None: the channel is in another phase."""
        return max(0.0, self.starts_at - trio.current_time()) if self.phase == "failed" else None

    async def send(self, message: OutboundMessage) -> None:
        """Deliver a message; a failure of the channel is logged and counted."""
        with Contained(partial(self._failed, "send")), self.calls.call(f"{self.name}.send"):
            await self.channel.send(message)

    async def send_delta(self, delta: OutboundDelta) -> bool:
        """Show the next piece of an answer; return whether the channel did, and takes further pieces."""
        if self._streaming is None:
            return False
        with Contained(partial(self._failed, "send_delta")), self.calls.call(f"{self.name}.send_delta"):
            await self._streaming.send_delta(delta)
            return True
        return False

    def confirm(self, message: InboundMessage, *, answered: bool) -> None:
        """Notify the channel, if it is a `ConfirmingChannel`, that a message is on disk."""
        if self._confirming is not None:
            with Contained(partial(self._failed, "confirm")):
                self._confirming.confirm(message, answered=answered)

    def refuse(self, message: InboundMessage, reason: str) -> None:
        """Notify the channel, if it is a `RefusingChannel`, that a message is not kept."""
        if self._refusing is not None:
            with Contained(partial(self._failed, "refuse")):
                self._refusing.refuse(message, reason)

    def _failed(self, call: ChannelCall, error: BaseException) -> None:
        self.failures[call] += 1
        is_trouble = only(error, ChannelError) is not None
        if is_trouble and call == "send":
            log.error("Reply could not be delivered", channel=self.name, error=reason_of(error))
        elif is_trouble and call == "send_delta":  # the whole answer is sent all the same
            log.warning("Piece of a reply could not be delivered", channel=self.name, error=reason_of(error))
        else:
            log.bug("Channel failed", error, channel=self.name, call=call)


def reason_of(error: BaseException) -> str:
    """Return the sentence of a channel's own error, or the class name of any other exception."""
    trouble = only(error, ChannelError)
    return name_of(error) if trouble is None else redact(text_of(trouble))
