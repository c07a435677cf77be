"""Attacks with the bodies of requests: too large, without end, too slow, or of requests that are refused anyway."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from miniclaw.web.limits import Limits
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.web_server import Answer as Answered
from tests.fakes.web_server import open_test_server, read_all, request

SMALL = Limits(max_body_bytes=100_000, max_bodies_bytes=150_000, body_seconds=0.3, linger_seconds=0.3)
CHUNKED = request("POST", "/api", transfer_encoding="chunked")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize("over", ["tcp", "unix"])
async def test_body_of_the_largest_size_is_taken(tmp_path: Path, over: str, jumping_clock: MockClock) -> None:
    """The bound is inclusive, with and without a length."""
    body = b"x" * SMALL.max_body_bytes
    async with open_test_server(tmp_path, limits=SMALL) as running:
        assert (await running.get("/api", method="POST", body=body, over=over)).body == body
        assert (await running.ask(CHUNKED, chunk(body), chunk(b""), over=over)).body == body


@pytest.mark.parametrize("over", ["tcp", "unix"])
async def test_body_that_says_it_is_too_large_is_refused_unread(
    tmp_path: Path, over: str, jumping_clock: MockClock
) -> None:
    """A length beyond the bound is enough for 413; no byte of it is waited for."""
    async with open_test_server(tmp_path, limits=SMALL) as running:
        answer = await running.ask(request("POST", "/api", content_length="100001"), over=over)
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert "100000 bytes at most" in answer.json()["detail"]
        assert running.app.entered == 0


@pytest.mark.parametrize("over", ["tcp", "unix"])
@pytest.mark.parametrize("path", ["/api", "/deaf"])
async def test_body_without_end_is_refused(tmp_path: Path, path: str, over: str, jumping_clock: MockClock) -> None:
    """A body in chunks is cut at the bound, whether its handler would read it or not, and the client sees 413."""
    async with open_test_server(tmp_path, limits=SMALL) as running:
        head = request("POST", path, transfer_encoding="chunked")
        answer = await running.ask(head, *[chunk(bytes(8192))] * 10_000, over=over)
        assert answer.status == 413
        assert running.app.entered == 0
        assert (await running.get(over=over)).status == 200


async def test_body_in_the_smallest_chunks_is_bounded(tmp_path: Path, jumping_clock: MockClock) -> None:
    """Chunks of one byte are counted like others, and refused at the bound or the time."""
    async with open_test_server(tmp_path, limits=SMALL) as running:
        answer = await running.ask(CHUNKED, chunk(b"x") * (SMALL.max_body_bytes + 1))
        assert answer.status in {413, 408}


@pytest.mark.parametrize("over", ["tcp", "unix"])
async def test_body_that_comes_too_slowly_is_refused(tmp_path: Path, over: str, jumping_clock: MockClock) -> None:
    """A body that is not whole in time is answered by 408, however steadily it drips."""
    async with open_test_server(tmp_path, limits=SMALL) as running, await running.connect(over) as stream:
        await stream.send_all(request("POST", "/api", content_length="1000"))
        async with trio.open_nursery() as nursery:

            async def drip() -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    while True:
                        await stream.send_all(b"x")
                        await trio.sleep(SMALL.body_seconds / 6)

            nursery.start_soon(drip)
            with trio.fail_after(PATIENCE_SECONDS):
                answer = Answered(await read_all(stream))
            nursery.cancel_scope.cancel()
        assert answer.status == 408
        assert running.app.entered == 0


async def test_bodies_together_are_bounded(tmp_path: Path, jumping_clock: MockClock) -> None:
    """Many bodies below the bound cannot fill the memory: what is beyond is asked to come later."""
    limits = Limits(max_body_bytes=100_000, max_bodies_bytes=150_000, body_seconds=5, linger_seconds=0.2)
    async with open_test_server(tmp_path, limits=limits) as running:
        async with await running.connect() as first:
            await first.send_all(request("POST", "/api", content_length="99999") + bytes(99_000))
            while True:  # until what the first one has sent is counted
                answer = await running.get("/api", method="POST", body=bytes(90_000))
                if answer.status != 200:
                    break
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        while (await running.get("/api", method="POST", body=bytes(90_000))).status != 200:
            pass  # what the first one took is given back once its end is noticed


@pytest.mark.parametrize("path", ["/nothing", "/", "/boom"])
async def test_body_of_a_refused_request_does_not_hold_up_its_connection(
    tmp_path: Path, path: str, jumping_clock: MockClock
) -> None:
    """A request that is answered before its body was read is answered at once, and its connection ends."""
    limits = Limits(linger_seconds=0.2)
    async with open_test_server(tmp_path, limits=limits) as running:
        head = request("POST", path, host="evil.example", transfer_encoding="chunked")
        answer = await running.ask(head, *[chunk(bytes(100))] * 50_000)
        assert answer.status == 421
        await running.forgotten()


async def test_body_that_is_refused_early_is_thrown_away_so_that_the_answer_is_seen(
    tmp_path: Path, jumping_clock: MockClock
) -> None:
    """A client that sends all before it reads gets the answer, not a reset."""
    async with open_test_server(tmp_path) as running, await running.connect() as stream:
        await stream.send_all(request("POST", "/api", b"x" * 300_000, host="evil.example"))
        with trio.fail_after(PATIENCE_SECONDS):
            assert Answered(await read_all(stream)).status == 421


async def test_body_expected_to_be_asked_for_is_asked_for(tmp_path: Path) -> None:
    """A client that waits for ``100 Continue``, such as curl, gets it."""
    async with open_test_server(tmp_path) as running, await running.connect() as stream:
        await stream.send_all(request("POST", "/api", expect="100-continue", content_length="5"))
        assert b"100" in await stream.receive_some()
        await stream.send_all(b"hello")
        with trio.fail_after(PATIENCE_SECONDS):
            assert (await read_all(stream)).endswith(b"hello")
