"""The load of a chat: many websocket clients in one process, each sends, waits for its answer, and sends again.

Frames are written and parsed by hand over plain sockets, since a client of a library would be slower than the servers
that are measured, and hide what they cost. A frame's mask is zero, which is a mask like any other. The token of a
gateway comes in the environment, as MINICLAW_BENCH_TOKEN: a command line can be read by other users.

Run as a program it prints one JSON object: ``python -m benchmarks.chat_client PORT PATH KIND CLIENTS SECONDS PACE``.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["echo", "chat"]
"""What the server speaks: any text comes back as it is, or the gateway's chat protocol."""

WARM_UP_SECONDS: Final = 1.0
TEXT: Final = "How will the weather be in the afternoon, and should I take an umbrella?"

_HANDSHAKE: Final = (
    "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nauthorization: Bearer {token}\r\n\r\n"
)
TOKEN_VARIABLE: Final = "MINICLAW_BENCH_TOKEN"


def text_frame(text: str) -> bytes:
    """Return a client's text frame of at most 65,535 bytes, masked with zeros."""
    payload = text.encode()
    if len(payload) < 126:
        return bytes([0x81, 0x80 | len(payload)]) + b"\0\0\0\0" + payload
    return bytes([0x81, 0xFE]) + len(payload).to_bytes(2, "big") + b"\0\0\0\0" + payload


class Client:
    """A connection, and the message that it waits for an answer to."""

    def __init__(self, number: int, port: int, path: str, kind: Kind) -> None:
        self._number = number
        self._kind = kind
        self._sent = 0
        self._buffer = bytearray()
        self.sent_at = 0.0
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        token = os.environ.get(TOKEN_VARIABLE, "none")
        self.socket.sendall(_HANDSHAKE.format(path=path.format(number=number), port=port, token=token).encode())
        while b"\r\n\r\n" not in self._buffer:
            data = self.socket.recv(65_536)
            if not data:
                raise ConnectionError("the server hung up during the handshake")
            self._buffer += data
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(head.decode(errors="replace"))
        self._buffer = bytearray(rest)

    def send(self) -> None:
        """Send the next message."""
        self._sent += 1
        text = TEXT
        if self._kind == "chat":
            text = json.dumps({"type": "message", "id": f"{self._number}-{self._sent}", "text": TEXT})
        self.sent_at = time.perf_counter()
        self.socket.sendall(text_frame(text))

    def receive(self) -> bool:
        """Read what is there; return whether the answer is."""
        data = self.socket.recv(65_536)
        if not data:
            raise ConnectionError("the server hung up")
        self._buffer += data
        answered = False
        for payload in self._frames():
            answered |= self._answers(payload)
        return answered

    def _answers(self, payload: bytes) -> bool:
        if self._kind == "echo":
            return True
        if b'"type":"error"' in payload:
            raise ConnectionError(payload.decode())
        return b'"type":"reply"' in payload  # also among others, in an array

    def _frames(self) -> Iterator[bytes]:
        while len(self._buffer) >= 2:
            size, start = self._buffer[1], 2
            if size == 126:
                size, start = int.from_bytes(self._buffer[2:4], "big"), 4
            elif size == 127:
                size, start = int.from_bytes(self._buffer[2:10], "big"), 10
            if len(self._buffer) < start + size:
                return
            is_text = self._buffer[0] & 0x0F == 1
            payload = bytes(self._buffer[start : start + size])
            del self._buffer[: start + size]
            if is_text:
                yield payload


def run(port: int, path: str, kind: Kind, clients: int, seconds: float, *, pace: float = 0) -> dict[str, float]:
    """Keep all clients busy; return messages per second and the latencies' percentiles in milliseconds.

    Args:
        port: Of the loopback address.
        path: Of the websocket; ``{number}`` is the client's.
        kind: What the server speaks.
        clients: How many there are.
        seconds: How long it is measured, after `WARM_UP_SECONDS`.
        pace: Messages a second of all clients together; 0: each sends its next one when it has its answer.
    """
    selector = selectors.DefaultSelector()
    everybody = [Client(number, port, path, kind) for number in range(clients)]
    for client in everybody:
        selector.register(client.socket, selectors.EVENT_READ, client)
    idle = deque(everybody)
    latencies: list[float] = []
    start = time.perf_counter()
    begin, end = start + WARM_UP_SECONDS, start + WARM_UP_SECONDS + seconds
    sent, now = 0, start
    while now < end:
        due = int((now - start) * pace) - sent if pace else len(idle)
        for _ in range(min(due, len(idle))):
            idle.popleft().send()
            sent += 1
        waiting = 0.001 if pace else 10
        for key, _ in selector.select(waiting) or _silence(pace):
            client = key.data
            if client.receive():
                now = time.perf_counter()
                if now >= begin:
                    latencies.append(now - client.sent_at)
                idle.append(client)
        now = time.perf_counter()
    latencies.sort()
    return {
        "messages": len(latencies),
        "per_second": len(latencies) / (now - begin),
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[len(latencies) * 99 // 100],
    }


def _silence(pace: float) -> list[tuple[selectors.SelectorKey, int]]:
    if pace:
        return []
    raise TimeoutError("no client got an answer within 10 s")


if __name__ == "__main__":
    _port, _path, _kind, _clients, _seconds, _pace = sys.argv[1:]
    if _kind not in {"echo", "chat"}:
        sys.exit("KIND is echo or chat")
    _spoken: Kind = "echo" if _kind == "echo" else "chat"
    print(json.dumps(run(int(_port), _path, _spoken, int(_clients), float(_seconds), pace=float(_pace))))
