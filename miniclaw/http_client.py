"""What every HTTP client of the program has in common: one set-up, and how foreign answers are read and told.

Importing this needs httpx2, which comes with the extras ``openai`` and ``telegram``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx2
import trio

from miniclaw.formats import one_line
from miniclaw.secret import redact

_CLOSING_SECONDS: Final = 1
_KEPT_CONNECTIONS: Final = 8
_DETAIL_CHARS: Final = 500

# They log whole addresses at INFO and headers at DEBUG, to whoever listens.
for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@asynccontextmanager
async def open_http_client(*, connect_seconds: float, direct: bool) -> AsyncIterator[httpx2.AsyncClient]:
    """Give an HTTP client for a block. It keeps no cookies and follows no redirects, since a secret would go along.

    Args:
        connect_seconds: The deadline for connections; all others are the caller's.
        direct: Never through a proxy of the environment.
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


async def read_some(chunks: AsyncGenerator[bytes, None], most: int) -> tuple[bytes, bool]:
    """Read up to so many bytes; return them, and whether that is all there is."""
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > most:
            return bytes(data[:most]), False
    return bytes(data), True


def describe(error: Exception) -> str:
    """Return an exception for the log."""
    return shorten(f"{type(error).__name__}: {error}")


def shorten(text: str) -> str:
    """Return what a server said for the log: on one line, not too long, without secrets."""
    return one_line(" ".join(redact(text).split()))[:_DETAIL_CHARS]
