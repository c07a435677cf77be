"""Attacks with time: clients that say nothing, drip, or do not take what they asked for. Each is cut."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from miniclaw.web.limits import Limits
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.web_server import frame, handshake, open_test_server, read_all, read_head, request

QUICK = Limits(idle_seconds=0.3, send_seconds=0.3, linger_seconds=0.1, wind_up_seconds=0.3)
OVER = pytest.mark.parametrize("over", ["tcp", "unix"])


@OVER
@pytest.mark.parametrize("said", [b"", b"G", request()[:-2], request("POST", "/api", content_length="3")[:20]])
async def test_connection_without_a_whole_head_is_cut(
    tmp_path: Path, said: bytes, over: str, jumping_clock: MockClock
) -> None:
    """Who says nothing, or only half a head, is cut without an answer."""
    async with open_test_server(tmp_path, limits=QUICK) as running, await running.connect(over) as stream:
        if said:
            await stream.send_all(said)
        with trio.fail_after(PATIENCE_SECONDS):
            assert await read_all(stream) == b""
        await running.forgotten()


@OVER
async def test_connection_that_drips_its_head_is_cut_in_time(
    tmp_path: Path, over: str, jumping_clock: MockClock
) -> None:
    """A byte now and then does not prolong the time for a head."""
    async with open_test_server(tmp_path, limits=QUICK) as running, await running.connect(over) as stream:
        sent = 0
        with trio.fail_after(PATIENCE_SECONDS), suppress(trio.BrokenResourceError):
            for byte in request(x="y" * 5000):
                await stream.send_all(bytes([byte]))
                sent += 1
                await trio.sleep(QUICK.idle_seconds / 6)
        assert 0 < sent < 5000
        await running.forgotten()


@OVER
async def test_connection_that_is_kept_alive_is_closed_when_idle(
    tmp_path: Path, over: str, jumping_clock: MockClock
) -> None:
    """After an answer there is the same time for the next request."""
    async with open_test_server(tmp_path, limits=QUICK) as running, await running.connect(over) as stream:
        for _ in range(2):
            await stream.send_all(request(connection="keep-alive"))
            answer = await read_head(stream)
            assert answer.startswith(b"HTTP/1.1 200")
            while not answer.endswith(b"hello"):
                answer += await stream.receive_some()
        with trio.fail_after(PATIENCE_SECONDS):
            assert await read_all(stream) == b""


async def test_connection_with_a_slow_handler_is_not_idle(tmp_path: Path, jumping_clock: MockClock) -> None:
    """The time of a handler is not the client's fault: it is answered however long that takes."""
    async with open_test_server(tmp_path, limits=QUICK) as running, await running.connect() as stream:
        await stream.send_all(request(path="/hold"))
        await running.app.held.wait()
        await trio.sleep(3 * QUICK.idle_seconds)  # the time itself is what is tested
        running.app.release.set()
        with trio.fail_after(PATIENCE_SECONDS):
            assert (await read_all(stream)).endswith(b"released")


@OVER
@pytest.mark.parametrize("asked", [request(path="/endless"), handshake("/ws/flood")])
async def test_client_that_does_not_read_is_cut(
    tmp_path: Path, asked: bytes, over: str, jumping_clock: MockClock
) -> None:
    """A client that stops reading is cut, over TCP and the Unix socket, and its handler ends."""
    async with open_test_server(tmp_path, limits=QUICK) as running, await running.connect(over) as stream:
        await stream.send_all(asked)
        await running.app.held.wait()
        await running.forgotten()
        assert (await running.get(over=over)).status == 200
        if asked.startswith(b"GET /ws"):
            assert running.app.ended in (["left"], ["cut"])


async def test_client_that_reads_slowly_is_served_to_the_end(tmp_path: Path, jumping_clock: MockClock) -> None:
    """It is progress that counts: an answer may take longer than the time in which nothing was taken."""
    async with open_test_server(tmp_path, limits=QUICK) as running, await running.connect() as stream:
        await stream.send_all(request(path="/endless"))
        taken = 0
        began = trio.current_time()
        while trio.current_time() < began + 4 * QUICK.send_seconds:
            taken += len(await stream.receive_some(1_000_000))
            await trio.sleep(QUICK.send_seconds / 4)
        assert taken > 1_000_000
        assert running.server.connections == 1


@OVER
async def test_websocket_that_sends_without_reading_is_cut(tmp_path: Path, over: str, jumping_clock: MockClock) -> None:
    """Pings are answered only as long as the answers are taken; a flood of them ends the connection."""
    ping = frame(bytes(125), 9)
    async with open_test_server(tmp_path, limits=QUICK) as running, await running.connect(over) as stream:
        await stream.send_all(handshake())
        await read_head(stream)
        with trio.fail_after(PATIENCE_SECONDS), suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(ping * 500)
        await running.forgotten()


@OVER
@pytest.mark.parametrize("linger_seconds", [0, 0.1], ids=["unread at the end", "read to the end"])
async def test_websocket_whose_queue_is_full_does_not_hold_its_connection(
    tmp_path: Path, linger_seconds: float, over: str, jumping_clock: MockClock
) -> None:
    """A handler that closes without having read what was sent ends the connection; hypercorn would wait for ever."""
    limits = Limits(linger_seconds=linger_seconds, wind_up_seconds=1000)  # so that no deadline helps
    async with open_test_server(tmp_path, limits=limits) as running, await running.connect(over) as stream:
        await stream.send_all(handshake("/ws/deaf"))
        await read_head(stream)
        await stream.send_all(frame(b"hello") * 100)
        running.app.release.set()
        with trio.fail_after(PATIENCE_SECONDS):
            assert b"\x88\x02\x03\xf0" in await read_all(stream)  # close, 1008
        await running.forgotten()
        assert running.app.ended == ["closed"]
