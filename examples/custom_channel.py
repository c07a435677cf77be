"""A channel over plain TCP: the first line of a connection is the person's name, and each further line is a message.

Run it, and talk to it with ``nc 127.0.0.1 8023``. Ctrl-C ends it.
"""

import sys
from functools import partial
from typing import Any

import trio

from miniclaw.gateway import (
    Channel,
    ChannelError,
    Config,
    InboundMessage,
    InboundSender,
    OutboundMessage,
    find_home,
    run_gateway,
)

MAX_LINE_BYTES = 64 * 1024


class LineChannel:
    """Carries lines of text; implements `miniclaw.gateway.Channel`."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self._port = port
        self._connections: dict[str, trio.SocketStream] = {}  # by chat; the latest one of a person

    async def run(
        self, inbound: InboundSender, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept connections until cancelled."""
        listeners = await trio.open_tcp_listeners(self._port, host="127.0.0.1")
        print(f"listening at 127.0.0.1:{listeners[0].socket.getsockname()[1]}", flush=True)
        task_status.started()
        await trio.serve_listeners(partial(self._serve, inbound), listeners)

    async def send(self, message: OutboundMessage) -> None:
        """Write an answer to the person's connection."""
        stream = self._connections.get(message.chat_id)
        if stream is None:
            raise ChannelError(f"{message.chat_id} is not connected")
        try:
            await stream.send_all(message.content.encode() + b"\n")
        except trio.BrokenResourceError as error:
            raise ChannelError(f"the connection of {message.chat_id} is broken") from error

    async def _serve(self, inbound: InboundSender, stream: trio.SocketStream) -> None:
        """Read one connection to its end. It ends alone: an error that left this method would end them all."""
        person, rest = "", b""
        try:
            async for data in stream:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    text = line.decode(errors="replace").strip()
                    if text and not person:
                        person = text
                        self._connections[person] = stream
                    elif text:
                        await inbound.send(InboundMessage(self.name, person, text))  # waits while the agent is busy
                if len(rest) > MAX_LINE_BYTES:
                    return
        except trio.BrokenResourceError:
            pass  # the person is gone
        finally:
            if self._connections.get(person) is stream:
                del self._connections[person]


def open_channel(table: dict[str, Any]) -> Channel:
    """Make the channel of a table ``[channels.lines]``: the factory, which pyproject.toml names."""
    port = table.pop("port", 8023)
    if not isinstance(port, int) or not 0 <= port <= 65535:
        raise ValueError(f"port is a whole number from 0 to 65535, not {port!r}")
    if table:
        raise ValueError(f"there is no key {min(table)!r}; the only one is port")
    return LineChannel("lines", port)


if __name__ == "__main__":
    channel = LineChannel("lines", int(sys.argv[1]) if len(sys.argv) > 1 else 8023)
    trio.run(partial(run_gateway, Config(), find_home(), channels=[channel]))
