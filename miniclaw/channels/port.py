"""One channel as the gateway has it: a failure of the channel ends here, and is logged, counted and shown as its own.

A channel may be foreign code. docs/embedding.md says which exceptions it may raise, and the consequence of others.
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
from miniclaw.errors import ChannelError
from miniclaw.foreign import Contained, name_of, only, text_of
from miniclaw.loggers import get_logger
from miniclaw.secret import redact

ChannelCall: TypeAlias = Literal["run", "send", "send_delta", "confirm", "refuse"]
"""A method of a channel, by which its failures are counted."""

CHANNEL_CALLS: Final[tuple[ChannelCall, ...]] = get_args(ChannelCall)

ChannelPhase: TypeAlias = Literal["starting", "running", "failed", "ended"]
"""How a channel is.

``starting``: it does not accept messages yet. ``running``: it does. ``failed``: its `run` has raised, and is called
again soon. ``ended``: its `run` has returned, or has raised `ChannelEndedError`.
"""

log = get_logger("miniclaw.channels")


class Port:
    """A channel and how it is. Changed on the trio thread only.

    Args:
        name: The channel's name.
        channel: The channel.

    Attributes:
        channel: The channel; only the supervisor calls its `run`.
        streams: Whether it is a `StreamingChannel`.
        confirms: Whether it is a `ConfirmingChannel`.
        phase: How it is; changed by the supervisor only, and so are the next two.
        starts_at: When a failed one is started again, on trio's clock.
        ended_by: The error that ended it for good; None: there is none.
        failures: How often each of its methods has failed.
        last_failure: A word or a sentence about the last failure of its `run`; None: there was none.
    """

    def __init__(self, name: str, channel: Channel) -> None:
        self.name = name
        self.channel = channel
        # Found out once: whether something fits a protocol takes longer than most of what a turn does.
        self._streaming = channel if isinstance(channel, StreamingChannel) else None
        self._confirming = channel if isinstance(channel, ConfirmingChannel) else None
        self._refusing = channel if isinstance(channel, RefusingChannel) else None
        self.streams, self.confirms = self._streaming is not None, self._confirming is not None
        self.phase: ChannelPhase = "starting"
        self.starts_at = 0.0
        self.ended_by: ChannelError | None = None
        self.failures: dict[ChannelCall, int] = dict.fromkeys(CHANNEL_CALLS, 0)
        self.last_failure: str | None = None

    def __repr__(self) -> str:
        return f"<Port {self.name} {self.phase} failures={sum(self.failures.values())}>"

    def starts_in_seconds(self) -> float | None:
        """Return in how many seconds the channel is started again; None: it has not failed."""
        return max(0.0, self.starts_at - trio.current_time()) if self.phase == "failed" else None

    async def send(self, message: OutboundMessage) -> None:
        """Deliver a message, if the channel can."""
        with Contained(partial(self._failed, "send")):
            await self.channel.send(message)

    async def send_delta(self, delta: OutboundDelta) -> bool:
        """Show the next piece of an answer; return whether the channel did, and takes further ones."""
        if self._streaming is None:
            await trio.lowlevel.checkpoint()
            return False
        with Contained(partial(self._failed, "send_delta")):
            await self._streaming.send_delta(delta)
            return True
        return False

    def confirm(self, message: InboundMessage, *, answered: bool) -> None:
        """Let a channel that wants to know, know that a message is on disk."""
        if self._confirming is not None:
            with Contained(partial(self._failed, "confirm")):
                self._confirming.confirm(message, answered=answered)

    def refuse(self, message: InboundMessage, reason: str) -> None:
        """Let a channel that wants to know, know that a message is not kept."""
        if self._refusing is not None:
            with Contained(partial(self._failed, "refuse")):
                self._refusing.refuse(message, reason)

    def _failed(self, call: ChannelCall, error: Exception) -> None:
        self.failures[call] += 1
        is_trouble = only(error, ChannelError) is not None
        if is_trouble and call == "send":
            log.error("Reply could not be delivered", channel=self.name, error=reason_of(error))
        elif is_trouble and call == "send_delta":  # the whole is sent all the same
            log.warning("Piece of a reply could not be delivered", channel=self.name, error=reason_of(error))
        else:
            log.bug("Channel failed", error, channel=self.name, call=call)


def reason_of(error: Exception) -> str:
    """Return a word or a sentence about a failure of a channel: its own sentence, or the class of a bug."""
    trouble = only(error, ChannelError)
    return name_of(error) if trouble is None else redact(text_of(trouble))
