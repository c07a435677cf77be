"""Errors over HTTP: one JSON object, after RFC 9457 (problem details).

Besides ``title``, ``status`` and ``detail``, it has ``error`` for an error of miniclaw's own: the name of its class, by
which a client raises the same error again.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from miniclaw.formats import encodable, escaped_json

MEDIA_TYPE: Final = "application/problem+json"


def problem(
    status: int, detail: str, *, error: str = "", headers: Mapping[str, str] | None = None, **members: object
) -> Response:
    """Return the answer to a request that cannot be fulfilled; `detail` names the mistake and its correction.

    `error` is the class of the error, such as ``SessionNotFoundError``, and `members` are more members of the object.
    """
    document: dict[str, object] = {
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": encodable(detail),
    }
    if error:
        document["error"] = error
    return Response(escaped_json(msgspec.json.encode(document | members)), status, headers, media_type=MEDIA_TYPE)


async def refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or a websocket's handshake, which then is not accepted."""
    if scope["type"] == "http":
        await response(scope, receive, send)
        return
    # The messages by which ASGI refuses a handshake; hypercorn sends status, headers and body as they are.
    start = {"type": "websocket.http.response.start", "status": response.status_code, "headers": response.raw_headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": response.body})
