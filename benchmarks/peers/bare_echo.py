"""A bare websocket echo on the same libraries: hypercorn on trio, Starlette. Prints its port."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


async def echo(socket: WebSocket) -> None:
    """Send everything back."""
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        return


async def main() -> None:
    """Serve until killed."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.backlog = 1000
    config.loglevel = "ERROR"
    app = cast("Any", Starlette(routes=[WebSocketRoute("/", echo)]))  # the libraries' types of an application differ
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(partial(serve, app, config))
        print(bound[0].rpartition(":")[2], flush=True)


if __name__ == "__main__":
    trio.run(main)
