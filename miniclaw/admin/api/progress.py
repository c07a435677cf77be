"""Signs of life for a client that waits: one byte each second, until its answer is there.

An answer that takes longer than a second begins before its status is known. Its body is then a `Delayed`, with white
space before it. Only a client that sends `PROGRESS_HEADER` gets such an answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from miniclaw.admin.client.messages import API_VERSION, PROGRESS_HEADER, PROGRESS_SECONDS, VERSION_HEADER, Delayed

_SIGN = b"\n"
_HEADERS = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (VERSION_HEADER.encode(), str(API_VERSION).encode()),
    (PROGRESS_HEADER.encode(), b"1"),
]


async def respond(work: Callable[[Request], Awaitable[Response]], scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, with signs of life if the client wants them.

    Cancellation: as `work`; the answer remains incomplete.
    """
    request = Request(scope, receive)
    if PROGRESS_HEADER not in request.headers:
        response = await work(request)
        await response(scope, receive, send)
        return
    done, begun = trio.Event(), False

    async def tell() -> None:
        # Ended by an event and not cancelled: a message sent in part would break the connection.
        nonlocal begun
        while True:
            with trio.move_on_after(PROGRESS_SECONDS):
                await done.wait()
                return
            if not begun:
                begun = True
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": _SIGN, "more_body": True})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell)
        try:
            response = await work(request)
        finally:
            done.set()
    if not begun:
        await response(scope, receive, send)
        return
    body = msgspec.json.encode(Delayed(response.status_code, msgspec.Raw(bytes(response.body))))
    await send({"type": "http.response.body", "body": body, "more_body": False})
