"""The websocket of ``chat``: an answer that refuses its handshake is a sentence, and is not waited for in vain."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from miniclaw.cli.chat import gateway_socket
from miniclaw.cli.chat.gateway_socket import GatewaySocket, SocketClosedError
from miniclaw.errors import ChannelError
from tests.fakes.patience import PATIENCE_SECONDS

ENDS = "it closes the connection without an answer"


def refusal(status: int, detail: str) -> bytes:
    body = b'{"title":"Refused","status":%d,"detail":"%s"}' % (status, detail.encode())
    return b"HTTP/1.1 %d Refused\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (status, len(body), body)


@asynccontextmanager
async def answering(tmp_path: Path, answer: bytes, *, unread: bool) -> AsyncIterator[GatewaySocket]:
    """Have a gateway that answers one connection and closes it, for a block.

    Args:
        tmp_path: Where its socket is.
        answer: What it answers.
        unread: Before the request is sent, and not after it was read.
    """
    path = tmp_path / "gateway.sock"
    answered = trio.Event()

    class Late(GatewaySocket):
        async def _connect(self) -> gateway_socket._Stream:
            stream = await super()._connect()
            if unread:
                await answered.wait()
            return stream

    async def serve() -> None:
        connection, _ = await listener.accept()
        async with trio.SocketStream(connection) as stream:
            request = b""
            while not unread and not request.endswith(b"\r\n\r\n"):
                request += await stream.receive_some()
            await stream.send_all(answer)
        answered.set()

    with trio.socket.socket(socket.AF_UNIX) as listener:
        await listener.bind(str(path))
        listener.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield Late(path, "console", "me", silence_seconds=PATIENCE_SECONDS)


@pytest.mark.parametrize("unread", [False, True], ids=["request read", "turned away"])
@pytest.mark.parametrize(
    ("answer", "may_be_tried_again", "sentence"),
    [
        (refusal(414, "a query is long"), False, "the gateway refuses the chat: a query is long (HTTP status 414)"),
        (b"HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\n{}", False, "it does not say why (HTTP status 403)"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", False, "it does not say why (HTTP status 200)"),
        (refusal(503, "too many connections"), True, "too many connections (HTTP status 503)"),
        (b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", True, "it does not say why (HTTP status 500)"),
        (b"HTTP/1.1 503 Half\r\ncontent-length: 99\r\n\r\n{", True, ENDS),
        (b"HTTP/1.1 5", True, ENDS),
        (b"", True, ENDS),
    ],
)
async def test_refused_handshake_is_a_sentence(
    tmp_path: Path, answer: bytes, may_be_tried_again: bool, sentence: str, unread: bool
) -> None:
    """The gateway's own words, whether it has read the request or not; what may pass is tried again."""
    with trio.fail_after(PATIENCE_SECONDS / 2):
        async with answering(tmp_path, answer, unread=unread) as gateway:
            with pytest.raises(ChannelError) as caught:
                async with gateway.open():
                    pytest.fail("it is refused")
    assert isinstance(caught.value, SocketClosedError) == may_be_tried_again
    assert sentence in str(caught.value)
