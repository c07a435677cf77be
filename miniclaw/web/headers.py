"""The security headers of every answer: they permit a browser little."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

STRICT_HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    # Not `no-referrer`: with that one, browsers send `Origin: null` with a form, which we refuse.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


def with_strict_headers(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return an answer's headers, and each strict header that it does not set itself."""
    given = [(bytes(name), bytes(value)) for name, value in headers]
    names = {name.lower() for name, _ in given}
    return given + [header for header in STRICT_HEADERS if header[0] not in names]


class StrictHeaders:
    """Adds the strict headers to each answer of an application, including the refusal of a websocket."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def sending(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                message = {**message, "headers": with_strict_headers(message.get("headers", []))}
            await send(message)

        await self._app(scope, receive, sending)
