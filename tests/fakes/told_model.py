"""A model's server for a gateway in a process of its own: it says what it is told to, word by word."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.talk import ANSWERS

HOLDING = "Half of it"
REST = " and the rest."
TIMEOUT_SECONDS = PATIENCE_SECONDS


class ToldModel:
    """Answers from `ANSWERS`, and says everything else again.

    Attributes:
        go_on: The message "hold" is answered as far as `HOLDING`, and then no further until this is set.
        asked: What it was asked, in that order.
    """

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.asked: list[str] = []
        self.base_url = ""

    def pieces(self, text: str) -> Iterator[str]:
        self.asked.append(text)
        if text == "hold":
            yield HOLDING
            assert self.go_on.wait(TIMEOUT_SECONDS)
            yield REST
            return
        if text == "break off":
            yield "Half"
            raise BrokenPipeError
        for word in ANSWERS.get(text, f"You said: {text}").split(" "):
            yield word + " "


def _handler(model: ToldModel) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            with suppress(OSError):  # the gateway was killed
                for piece in model.pieces(question["messages"][-1]["content"]):
                    self._event({"choices": [{"index": 0, "delta": {"content": piece}}]})
                self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
                self.wfile.write(b"data: [DONE]\n\n")

        def _event(self, data: dict[str, Any]) -> None:
            self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    return Handler


@contextmanager
def open_told_model(model: ToldModel | None = None) -> Iterator[ToldModel]:
    """Serve a model, one of these unless told otherwise, on loopback for a block."""
    model = model or ToldModel()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(model)) as server:
        server.daemon_threads = True
        model.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield model
        finally:
            model.go_on.set()
            server.shutdown()
            thread.join()
