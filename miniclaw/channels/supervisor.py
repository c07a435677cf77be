"""Runs the channels at the same time. A channel that fails is started again after a pause; the others are unaffected.

The pause doubles with each failure, up to `LONGEST_PAUSE_SECONDS`. It is reset once the channel has run for longer than
that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import trio

from miniclaw.backoff import delay_seconds
from miniclaw.channels.base import Channel, InboundMessage, InboundSender
from miniclaw.channels.port import Port, reason_of
from miniclaw.errors import ChannelEndedError, ChannelError, ConfigError, ForeignMessageError
from miniclaw.foreign import Contained, only
from miniclaw.loggers import get_logger
from miniclaw.session.names import is_channel

FIRST_PAUSE_SECONDS: Final = 1
LONGEST_PAUSE_SECONDS: Final = 60

STARTING_SECONDS: Final = 5
"""Longest time that the start of the gateway waits for the channels to accept messages."""

_SHOWN_CHARS: Final = 80

log: Final = get_logger("miniclaw.channels")


def channels_by_name(channels: Iterable[Channel], taken: Iterable[str] = ()) -> dict[str, Channel]:
    """Return the channels by name.

    Args:
        channels: The channels.
        taken: The names of the gateway's own channels.

    Raises:
        ConfigError: A name is malformed, or is taken; the first such name is reported.
    """
    found: dict[str, Channel] = {}
    for channel in channels:
        name: object = getattr(channel, "name", None)
        if not isinstance(name, str) or not is_channel(name):
            problem = "is not the name of a channel, which is 1 to 32 of a-z, 0-9 and -"
        elif name in taken:
            problem = "is the name of a channel that the gateway has itself; another name is needed"
        elif name in found:
            problem = "is the name of two channels; each needs its own"
        else:
            found[name] = channel
            continue
        raise ConfigError(None, f"{name!a:.{_SHOWN_CHARS}} {problem}", key="channels")
    return found


async def run_channels(
    ports: Mapping[str, Port], inbox: InboundSender, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run the channels until the last one has ended; without channels, until cancelled.

    The start is reported once each channel accepts messages, has failed or has ended, or after `STARTING_SECONDS`.

    Cancellation: the channels are cancelled.
    """
    runs = [_Run(port, ports, inbox) for port in ports.values()]
    async with trio.open_nursery() as nursery:
        for run in runs:
            nursery.start_soon(run.run)
        with trio.move_on_after(STARTING_SECONDS):
            for run in runs:
                await run.settled.wait()
        for run in runs:
            if not run.settled.is_set():
                log.warning("Channel has not said that it accepts messages; the start does not wait", channel=run.name)
        task_status.started()
        if not ports:
            await trio.sleep_forever()


def raise_ended(ports: Mapping[str, Port]) -> None:
    """Raise the errors that have ended channels for good, if all channels have ended.

    Raises:
        ChannelEndedError: This error has ended one channel.
        ExceptionGroup: Errors of that kind have ended several channels.
    """
    errors = [port.ended_by for port in ports.values() if port.ended_by is not None]
    if not errors or _some_go_on(ports):
        return
    raise errors[0] if len(errors) == 1 else ExceptionGroup("channels cannot go on", errors)


def _some_go_on(ports: Mapping[str, Port]) -> bool:
    return any(port.phase != "ended" for port in ports.values())


class _Run:
    """Runs one channel until it ends, and again after each failure; implements `trio.TaskStatus` and `InboundSender`.

    Attributes:
        settled: Set when the channel accepts messages, has failed or has ended for the first time.
    """

    def __init__(self, port: Port, ports: Mapping[str, Port], inbox: InboundSender) -> None:
        self.name = port.name
        self.settled = trio.Event()
        self._port = port
        self._ports = ports
        self._inbox = inbox
        self._failures_in_a_row = 0
        self._began = 0.0

    async def run(self) -> None:
        port = self._port
        while port.phase != "ended":
            await trio.sleep_until(port.starts_at)  # not at all, at first
            port.phase, self._began = "starting", trio.current_time()
            with Contained(self._failed), port.calls.call(f"{self.name}.run", lasts=True):
                await port.channel.run(self, task_status=self)
                port.phase = "ended"
            self.settled.set()

    def _failed(self, error: BaseException) -> None:
        port, now = self._port, trio.current_time()
        port.failures["run"] += 1
        port.last_failure = reason_of(error)
        port.ended_by = only(error, ChannelEndedError)
        if port.ended_by is not None:
            port.phase = "ended"
            if _some_go_on(self._ports):  # else `raise_ended` reports it, and once is enough
                log.error("Channel cannot go on, and has ended", channel=self.name, error=port.last_failure)
            return
        port.phase = "failed"
        if now - self._began > LONGEST_PAUSE_SECONDS:
            self._failures_in_a_row = 0
        self._failures_in_a_row += 1
        pause = delay_seconds(self._failures_in_a_row, first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)
        port.starts_at = now + pause
        if only(error, ChannelError) is not None:
            log.error("Channel is down", channel=self.name, error=port.last_failure, starts_again_in_seconds=pause)
        else:
            log.bug("Channel failed", error, channel=self.name, call="run", starts_again_in_seconds=pause)

    # For the channel ------------------------------------------------------------------------------------------

    def started(self, _value: None = None) -> None:
        if self._port.phase == "starting":
            self._port.phase = "running"
        self.settled.set()

    async def send(self, message: InboundMessage, /) -> None:
        self._check(message)
        await self._inbox.send(message)

    def send_nowait(self, message: InboundMessage, /) -> None:
        self._check(message)
        self._inbox.send_nowait(message)

    def _check(self, message: InboundMessage) -> None:
        if message.channel != self.name:
            raise ForeignMessageError(self.name, message.channel)
        self.started()
