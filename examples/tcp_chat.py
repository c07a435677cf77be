"""A chat room over plain TCP that remembers: whoever comes in is shown the last messages, also after a restart.

Run it, and talk to it with ``nc 127.0.0.1 8023``: the first line is your name. Ctrl-C ends it.
"""

import signal
import sys
from functools import partial

import trio

import miniclaw

SHOWN = 20
WAITING = 100  # lines for a person who reads slowly; more than SHOWN
MAX_LINE_BYTES = 16 * 1024


class Room:
    """The people who are connected, and the session of their conversation."""

    def __init__(self, sessions: miniclaw.Sessions) -> None:
        self._sessions = sessions
        self._people: set[trio.MemorySendChannel[str]] = set()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end. It ends alone: an error that left this method would end them all."""
        person, lines = trio.open_memory_channel[str](WAITING)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, stream, lines)
            try:
                await self._read(stream, person)
            except trio.BrokenResourceError:
                pass  # the person is gone
            finally:
                self._people.discard(person)
            nursery.cancel_scope.cancel()

    async def _read(self, stream: trio.SocketStream, person: trio.MemorySendChannel[str]) -> None:
        name, rest = "", b""
        async for data in stream:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace").strip()
                if text and not name:
                    name = text
                    await self._come_in(person)
                elif text:
                    await self._say(f"{name}: {text}")
            if len(rest) > MAX_LINE_BYTES:
                return

    async def _write(self, stream: trio.SocketStream, lines: trio.MemoryReceiveChannel[str]) -> None:
        try:
            async for line in lines:
                await stream.send_all(f"{line}\n".encode())
        except trio.BrokenResourceError:
            pass  # the person is gone, which `_read` sees as well

    async def _come_in(self, person: trio.MemorySendChannel[str]) -> None:
        session = await self._sessions.get_or_create("room", "lobby")
        # No await from here on: nothing can be said in between, and nothing is missed or shown twice.
        for message in session.messages[-SHOWN:]:
            person.send_nowait(message.content)
        self._people.add(person)

    async def _say(self, line: str) -> None:
        session = await self._sessions.get_or_create("room", "lobby")
        message = miniclaw.Message("user", line, self._sessions.now())
        await self._sessions.add_message(session.session_id, message, durable=True)  # before it is shown
        for person in list(self._people):
            try:
                person.send_nowait(line)
            except trio.WouldBlock:  # this one does not read
                self._people.discard(person)


async def main(port: int) -> None:
    """Serve until Ctrl-C; then the sessions are saved."""
    async with miniclaw.open_runtime("sessions") as sessions, trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        print(f"the room is at 127.0.0.1:{listeners[0].socket.getsockname()[1]}", flush=True)
        nursery.start_soon(partial(trio.serve_listeners, Room(sessions).serve, listeners))
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                break
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8023)
