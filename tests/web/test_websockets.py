"""Attacks over websockets: too long, compressed, malformed, at the wrong time; and handlers that fail."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from miniclaw.web.limits import Limits
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.web_server import frame, handshake, open_test_server, read_all, read_head

QUICK = Limits(max_frame_bytes=1000, linger_seconds=0.2, wind_up_seconds=0.5)
OVER = pytest.mark.parametrize("over", ["tcp", "unix"])


def closing(code: int) -> bytes:
    """Return the beginning of the server's close frame; its reason may follow."""
    return code.to_bytes(2)


async def test_websocket_message_of_the_largest_size_is_taken(tmp_path: Path) -> None:
    """The bound is inclusive, in one frame or in several."""
    async with open_test_server(tmp_path, limits=QUICK) as running, running.websocket() as websocket:
        await websocket.send_message("x" * 1000)
        assert await websocket.get_message() == "x" * 1000


@OVER
@pytest.mark.parametrize("pieces", [[frame(b"x" * 1001)], [frame(b"x" * 600, final=False), frame(b"x" * 600, 0)]])
async def test_websocket_message_beyond_the_bound_closes_with_1009(
    tmp_path: Path, pieces: list[bytes], over: str, jumping_clock: MockClock
) -> None:
    """A message that is too long, in one frame or in several, is answered by 1009, and its handler ends."""
    async with open_test_server(tmp_path, limits=QUICK) as running, await running.connect(over) as stream:
        await stream.send_all(handshake())
        await read_head(stream)
        await stream.send_all(b"".join(pieces))
        with trio.fail_after(PATIENCE_SECONDS):
            assert closing(1009) in await read_all(stream)
        await running.forgotten()
        assert running.app.ended == ["left"]


async def test_websocket_message_without_end_is_not_collected(tmp_path: Path, jumping_clock: MockClock) -> None:
    """After 1009, what goes on coming is thrown away, and the connection ends although the client does not close it."""
    async with open_test_server(tmp_path, limits=QUICK) as running, await running.connect() as stream:
        await stream.send_all(handshake())
        await read_head(stream)
        sent = 0
        with trio.fail_after(PATIENCE_SECONDS), suppress(trio.BrokenResourceError):
            await stream.send_all(frame(b"x" * 600, final=False))
            while True:
                await stream.send_all(frame(b"x" * 60_000, 0, final=False))
                sent += 60_000
        await running.forgotten()
        assert running.app.ended == ["left"]


async def test_websocket_is_never_compressed(tmp_path: Path, jumping_clock: MockClock) -> None:
    """A client that offers compression does not get it: a few bytes could stand for a gigabyte."""
    async with open_test_server(tmp_path, limits=QUICK) as running, await running.connect() as stream:
        await stream.send_all(handshake(sec_websocket_extensions="permessage-deflate; client_max_window_bits"))
        head = await read_head(stream)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"deflate" not in head
        await stream.send_all(frame(b"\xca\x48\xcd\xc9\xc9\x07\x00", reserved=0x40))
        with trio.fail_after(PATIENCE_SECONDS):
            assert closing(1002) in await read_all(stream)


@OVER
@pytest.mark.parametrize(
    ("attack", "code"),
    [
        (frame(b"\xff\xfe"), 1007),
        (frame(b"x", 3), 1002),
        (frame(b"x", 0), 1002),
        (frame(b"x" * 126, 9), 1002),
        (b"\x81\x05hello", 1002),
        (frame(b"x", reserved=0x70), 1002),
        (b"\x81\xff" + b"\xff" * 12, 1002),
    ],
)
async def test_websocket_with_a_malformed_frame_is_closed_with_a_reason(
    tmp_path: Path, logs: LogRecorder, attack: bytes, code: int, over: str, jumping_clock: MockClock
) -> None:
    """No frames but those of the protocol; what is none ends the connection with a code, and is no event for the log."""
    async with open_test_server(tmp_path, limits=QUICK) as running, await running.connect(over) as stream:
        await stream.send_all(handshake())
        await read_head(stream)
        await stream.send_all(attack)
        with trio.fail_after(PATIENCE_SECONDS):
            assert closing(code) in await read_all(stream)
        await running.forgotten()
        assert running.app.ended == ["left"]
    assert not [event for event in logs.events if event["level"] not in {"debug", "info"}]


@OVER
async def test_websocket_that_talks_after_its_close_is_ignored(
    tmp_path: Path, over: str, jumping_clock: MockClock
) -> None:
    """Frames after a close frame do no harm; hypercorn would take them for a mistake of the server and end with it."""
    async with open_test_server(tmp_path, limits=QUICK) as running, await running.connect(over) as stream:
        await stream.send_all(handshake())
        await read_head(stream)
        await stream.send_all(frame((1000).to_bytes(2), 8) + frame(b"more") * 3)
        with suppress(trio.BrokenResourceError):
            await stream.send_all(frame(b"and more"))
        with trio.fail_after(PATIENCE_SECONDS):
            assert closing(1000) in await read_all(stream)
        assert (await running.get(over=over)).status == 200


@OVER
async def test_websocket_frames_before_it_is_accepted_are_refused(
    tmp_path: Path, over: str, jumping_clock: MockClock
) -> None:
    """Who does not wait for the handshake's answer is refused or served, and the connection ends with the client."""
    async with open_test_server(tmp_path, limits=QUICK) as running, await running.connect(over) as stream:
        await stream.send_all(handshake())
        for _ in range(20):
            await stream.send_all(frame(b"hello"))
        await stream.send_eof()
        with trio.fail_after(PATIENCE_SECONDS):
            assert (await read_all(stream))[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 101"}
            await running.forgotten()


async def test_websocket_whose_handler_fails_closes_with_1011(tmp_path: Path, logs: LogRecorder) -> None:
    """A fault of a handler is logged once, with its traceback, and told to the client without it."""
    logs.expect_error("Web request failed")
    async with open_test_server(tmp_path) as running, await running.connect() as stream:
        await stream.send_all(handshake("/ws/boom"))
        await read_head(stream)
        await stream.send_all(frame(b"hello"))
        with trio.fail_after(PATIENCE_SECONDS):
            told = await read_all(stream)
        assert closing(1011) in told
        assert b"secret" not in told
    event = logs.one("Web request failed")
    assert "RuntimeError: the secret inside" in event["traceback"]
    assert event["path"] == "/ws/boom"


async def test_websocket_at_an_unknown_path_is_refused_by_404(tmp_path: Path) -> None:
    """A websocket that there is none of is refused before it is accepted, as a request would be."""
    async with open_test_server(tmp_path) as running:
        answer = await running.refused_websocket("/nothing")
        assert answer.status == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_websockets_are_pinged(tmp_path: Path) -> None:
    """A peer that is gone is noticed because it is asked."""
    async with (
        open_test_server(tmp_path, limits=Limits(ping_seconds=0.05, wind_up_seconds=5)) as running,
        await running.connect() as stream,
    ):
        await stream.send_all(handshake())
        data = await read_head(stream)
        with trio.fail_after(PATIENCE_SECONDS):
            while data.count(b"\x89\x00") < 3:
                data += await stream.receive_some()


async def test_websocket_that_has_ended_is_forgotten_before_its_next_ping(tmp_path: Path) -> None:
    """The place of a connection is free at once when it ends, not only after the pause between two pings."""
    async with open_test_server(tmp_path, limits=Limits(ping_seconds=1000, wind_up_seconds=1000)) as running:
        async with running.websocket() as websocket:
            await websocket.send_message("hello")
            await websocket.get_message()
        await running.forgotten()


async def test_websockets_in_the_hundreds_are_served_at_once(tmp_path: Path) -> None:
    """250 clients of one loopback address are fewer than too many."""
    async with open_test_server(tmp_path) as running, trio.open_nursery() as nursery:
        everyone = trio.Event()
        served = 0

        async def talk() -> None:
            nonlocal served
            async with running.websocket() as websocket:
                await websocket.send_message("hello")
                assert await websocket.get_message() == "hello"
                served += 1
                if served == 250:
                    everyone.set()
                await everyone.wait()

        for _ in range(250):
            nursery.start_soon(talk)
