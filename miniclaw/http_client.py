"""The common parts of all HTTP clients of the program: set-up, and the reading and logging of foreign answers.

Importing this needs httpx2, which comes with the extras ``openai`` and ``telegram``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx2
import trio

from miniclaw.formats import one_line
from miniclaw.secret import redact

UNREACHABLE: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)
"""The errors of a call for which there is no connection."""

END_SECONDS: Final = 0.1
"""Longest time for which the end of a response is read, after all of its content."""

_CLOSING_SECONDS: Final = 1
_KEPT_CONNECTIONS: Final = 8
_DETAIL_CHARS: Final = 500

# These libraries log full addresses at INFO and headers at DEBUG to every handler.
for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@asynccontextmanager
async def open_http_client(*, connect_seconds: float, direct: bool) -> AsyncIterator[httpx2.AsyncClient]:
    """Open an HTTP client for a block. It keeps no cookies and follows no redirects, which would carry a secret along.

    `connect_seconds` limits connections; all other limits are the caller's. If `direct`, it uses no proxy of the
    environment.
    """
    client = httpx2.AsyncClient(
        timeout=httpx2.Timeout(None, connect=connect_seconds),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=_KEPT_CONNECTIONS),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=not direct,
        headers={"user-agent": "miniclaw"},
    )
    try:
        yield client
    finally:
        with trio.move_on_after(_CLOSING_SECONDS, shield=True):
            await client.aclose()


@asynccontextmanager
async def open_post(
    client: httpx2.AsyncClient, url: str, body: bytes, headers: Mapping[str, str]
) -> AsyncIterator[tuple[httpx2.Response, AsyncGenerator[bytes, None]]]:
    """Post JSON, and give the response and its bytes for a block, which need not read them all.

    The bytes are not decompressed, since their size would then have no bound; the request allows no compression.
    """
    headers = {"content-type": "application/json", "accept-encoding": "identity", **headers}
    async with (
        client.stream("POST", url, content=body, headers=headers) as response,
        aclosing(response.aiter_raw()) as chunks,
    ):
        try:
            yield response, chunks
        finally:
            # httpx2's inner generators end only by a further read: one that reaches the end, or one that is cancelled.
            with trio.move_on_after(END_SECONDS, shield=True) as scope, suppress(httpx2.HTTPError):
                scope.cancel()
                async for _ in chunks:
                    pass


async def read_some(chunks: AsyncGenerator[bytes, None], most: int) -> tuple[bytes, bool]:
    """Read up to `most` bytes; return them, and whether that is all there is."""
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > most:
            return bytes(data[:most]), False
    return bytes(data), True


def describe(error: Exception) -> str:
    """Return a text for the log about an exception."""
    return shorten(f"{type(error).__name__}: {error}")


def shorten(text: str) -> str:
    """Return a server's text for the log: on one line, shortened, without secrets."""
    return one_line(" ".join(redact(text).split()))[:_DETAIL_CHARS]
