"""The stream of a connection by itself: what happens when two tasks want something of it at the same time."""

from __future__ import annotations

import trio
import trio.testing

from miniclaw.web.limits import DEFAULT_LIMITS
from miniclaw.web.server.streams import BoundedStream


async def test_stream_that_is_ended_while_somebody_sends_is_cut_for_them() -> None:
    """A late answer finds a client that is gone, which is nothing special, and never a conflict between two tasks."""
    for _ in range(30):  # either comes first
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener, await trio.testing.open_stream_to_socket_listener(listener):
            stream = BoundedStream(await listener.accept(), DEFAULT_LIMITS)
            outcomes: list[str] = []

            async def send(stream: BoundedStream = stream, outcomes: list[str] = outcomes) -> None:
                try:
                    await stream.send_all(b"late")
                except trio.BrokenResourceError:
                    outcomes.append("cut")
                else:
                    outcomes.append("sent")

            async def end(stream: BoundedStream = stream, outcomes: list[str] = outcomes) -> None:
                try:
                    await stream.send_eof()
                except trio.BusyResourceError:  # hypercorn takes no notice, and closes it
                    outcomes.append("busy")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                nursery.start_soon(end)
            assert sorted(outcomes) in (["cut"], ["busy", "sent"], ["sent"])
            await stream.aclose()
