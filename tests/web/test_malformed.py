"""Attacks with what is no HTTP, or says two things at once: answered by 4xx or cut, and the next client is served."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from trio.testing import MockClock

from miniclaw.web.limits import Limits
from tests.fakes.logs import LogRecorder
from tests.fakes.web_server import handshake, open_test_server, request

TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(190))

CASES: dict[str, tuple[bytes, set[int]]] = {
    "binary": (bytes(range(256)) * 4, {400}),
    "a TLS hello": (TLS_HELLO, {400, 0}),
    "no version": (b"GET /\r\n\r\n", {400}),
    "a strange version": (b"GET / HTTP/9.9\r\nhost: localhost\r\n\r\n", {505}),
    "HTTP/2 without asking": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), {505}),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", {400}),
    "no host in HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", {400}),
    "two hosts": (b"GET / HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n", {400}),
    "a space before the colon": (b"GET / HTTP/1.1\r\nhost : localhost\r\n\r\n", {400}),
    "a folded line that begins": (b"GET / HTTP/1.1\r\n host: localhost\r\n\r\n", {400}),
    "a NUL in a header": (b"GET / HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n", {400}),
    "a target that is no path": (request(path="http://localhost/"), {400}),
    "a target of a proxy": (b"CONNECT evil.example:443 HTTP/1.1\r\nhost: localhost\r\n\r\n", {400}),
    "two lengths": (request("POST", "/api", content_length="5, 6") + b"hello!", {400}),
    "two length headers": (
        b"POST /api HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        {400},
    ),
    "a length below nothing": (request("POST", "/api", content_length="-1"), {400}),
    "a length in words": (request("POST", "/api", content_length="many"), {400}),
    "a length of 5,000 digits": (request("POST", "/api", content_length="9" * 5000), {400, 413}),
    "length and chunks": (
        request("POST", "/api", content_length="4", transfer_encoding="chunked") + b"0\r\n\r\nGET /boom HTTP/1.1\r\n",
        {400},
    ),
    "chunks twice": (request("POST", "/api", transfer_encoding="chunked, chunked") + b"0\r\n\r\n", {400, 501}),
    "chunks in disguise": (request("POST", "/api", transfer_encoding="xchunked") + b"0\r\n\r\n", {400, 501}),
    "a chunk of strange length": (request("POST", "/api", transfer_encoding="chunked") + b"zz\r\nhello\r\n", {400, 0}),
    "a chunk longer than memory": (
        request("POST", "/api", transfer_encoding="chunked") + b"f" * 40 + b"\r\nhello\r\n",
        {400, 413, 0},
    ),
    "a head without end": (b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 40_000, {431}),
    "a long head at once": (b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 17_000 + b"\r\n\r\n", {431}),
    "headers without end": (b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"x: y\r\n" * 10_000, {431}),
    "a first line without end": (b"GET /" + b"y" * 40_000, {414, 431, 400}),
    "a websocket without a key": (handshake(sec_websocket_key="").replace(b"sec-websocket-key: \r\n", b""), {400}),
    "a websocket of another version": (handshake(sec_websocket_version="8"), {400}),
    "frames before the handshake": (request(path="/ws") + b"\x81\x85\0\0\0\0hello", {404, 426, 400}),
}


@pytest.mark.parametrize("over", ["tcp", "unix"])
@pytest.mark.parametrize("case", CASES)
async def test_server_with_malformed_bytes_refuses_and_serves_the_next(
    tmp_path: Path, logs: LogRecorder, case: str, over: str, jumping_clock: MockClock
) -> None:
    """No bytes reach a handler, are answered by more than one 4xx or 5xx, or keep the server from serving."""
    attack, expected = CASES[case]
    if over == "unix" and "host in HTTP/1.0" in case:
        expected = {200}  # there, the host is not looked at
    async with open_test_server(tmp_path, limits=Limits(idle_seconds=1)) as running:
        answer = await running.ask(attack, over=over)
        assert answer.status in expected
        assert len(re.findall(rb"HTTP/1\.1 \d{3} ", answer.raw)) <= 1
        if answer.status >= 400:
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "server" not in answer.headers
        assert running.app.entered == (1 if expected == {200} else 0)
        assert (await running.get(over=over)).status == 200
    assert not [event for event in logs.events if event["level"] not in {"debug", "info"}]


async def test_server_asked_for_http2_by_upgrade_stays_with_http1(tmp_path: Path) -> None:
    """h2c, which would pass by the limits of HTTP/1.1, is not spoken."""
    async with open_test_server(tmp_path) as running:
        asked = await running.get(
            "/", connection="close, Upgrade, HTTP2-Settings", upgrade="h2c", http2_settings="AAMAAABkAAQAAP__"
        )
        assert asked.status == 200
        assert asked.body == b"hello"


async def test_server_with_pipelined_requests_answers_in_order(tmp_path: Path) -> None:
    """What stands behind a whole request is the next one, and not a part of its body."""
    async with open_test_server(tmp_path) as running:
        first = b"POST /api HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nfirst"
        answer = await running.ask(first + request("POST", "/api", b"second"))
        assert [part.partition(b"\r\n\r\n")[2] for part in answer.raw.split(b"HTTP/1.1 200")[1:]] == [
            b"first",
            b"second",
        ]


async def test_server_whose_clients_vanish_in_the_middle_goes_on(tmp_path: Path, logs: LogRecorder) -> None:
    """A connection that ends at any byte of a request is no event for anybody else."""
    whole = request("POST", "/api", b"hello")
    async with open_test_server(tmp_path) as running:
        for length in range(0, len(whole), 7):
            async with await running.connect() as stream:
                await stream.send_all(whole[:length])
        assert (await running.get()).status == 200
    assert not [event for event in logs.events if event["level"] not in {"debug", "info"}]
