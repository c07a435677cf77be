"""Refusing a request or a websocket, before the application sees it."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


async def refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or a websocket's handshake, which is then not accepted."""
    if scope["type"] == "http":
        await response(scope, receive, send)
        return
    # The answer to a handshake has no room for less: hypercorn sends status and body as they are.
    start = {"type": "websocket.http.response.start", "status": response.status_code, "headers": response.raw_headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": response.body})
