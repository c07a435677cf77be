"""The JSON API below ``/api/v1``: the functions of the commands, for programs.

Each request uses the running gateway's own parts. The disk is read in worker threads, after a save of dirty sessions
if the answer depends on them. Errors are problem details (`miniclaw.web.problems`).
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
def _document() -> RawJson:
    return RawJson(msgspec.json.encode(make_document(ENDPOINTS)))


async def _openapi(_: Call[NoQuery, None]) -> RawJson:
    """Return this document."""
    return _document()


ENDPOINTS: tuple[Endpoint, ...] = (
    *SESSIONS,
    *CLEANUP,
    *TRASH,
    *QUARANTINE,
    *GATEWAY,
    Endpoint("GET", "/openapi.json", _openapi, dict[str, Any]),
)
"""Endpoints at the addresses and at the Unix socket; the socket has `ENTRANCE` as well."""


def api_routes(context: AdminContext, *, trusted: bool) -> list[BaseRoute]:
    """Return the routes of the API without the chat: of the Unix socket if `trusted`, else of an address."""
    endpoints = (*ENDPOINTS, *ENTRANCE) if trusted else ENDPOINTS
    return make_routes(context, endpoints, by="command" if trusted else "api")
