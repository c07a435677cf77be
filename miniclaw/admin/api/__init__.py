"""The JSON API below ``/api/v1``: what the commands do and show, for programs.

Each request works on the running gateway's own parts; looking at the disk is done in threads, and saves before what is
in memory only. Errors are problem details (`miniclaw.web.problems`).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from starlette.routing import BaseRoute

from miniclaw.admin.api.cleanup import CLEANUP
from miniclaw.admin.api.endpoints import Call, Endpoint, NoQuery, RawJson, make_routes
from miniclaw.admin.api.gateway import ENTRANCE, GATEWAY
from miniclaw.admin.api.openapi import make_document
from miniclaw.admin.api.quarantine import QUARANTINE
from miniclaw.admin.api.sessions import SESSIONS
from miniclaw.admin.api.trash import TRASH
from miniclaw.admin.context import AdminContext

__all__ = ["ENDPOINTS", "api_routes"]


@cache
def _document() -> bytes:
    return msgspec.json.encode(make_document(ENDPOINTS))


async def _openapi(_: Call[NoQuery, None]) -> RawJson:
    return RawJson(_document())


ENDPOINTS: tuple[Endpoint, ...] = (
    *SESSIONS,
    *CLEANUP,
    *TRASH,
    *QUARANTINE,
    *GATEWAY,
    Endpoint("GET", "/openapi.json", _openapi, dict[str, Any], "Return this document."),
)
"""All endpoints of the API at both places; the socket has `ENTRANCE` besides."""


def api_routes(context: AdminContext, *, trusted: bool) -> list[BaseRoute]:
    """Return the routes of the API, but for the chat.

    Args:
        context: What they work on.
        trusted: Whether they are for the Unix socket, over which the commands come; else for an address.
    """
    endpoints = (*ENDPOINTS, *ENTRANCE) if trusted else ENDPOINTS
    return make_routes(context, endpoints, by="command" if trusted else "api")
