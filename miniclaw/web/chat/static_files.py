"""The pages with their scripts, styles and icon: files of the package, served from memory.

They hold no data and need no token: the page fetches its data over the API and the websocket.

A browser caches them, and revalidates them by their ETag on each load: a new version is used at once, and an unchanged
file costs an empty answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from miniclaw.web.access.login import LOGIN_PATH

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""A page loads and calls nothing but its own server."""

_PAGES: Final = {"index.html": "/", "login.html": LOGIN_PATH}

_MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


def static_routes() -> list[Route]:
    """Return a route for each file: the pages at ``/`` and ``/login``, the others below ``/static``."""
    routes = []
    for file in sorted(files(__package__).joinpath("static").iterdir(), key=lambda file: file.name):
        suffix = file.name[file.name.rfind(".") :]
        path = _PAGES.get(file.name, f"/static/{file.name}")
        routes.append(Route(path, _serve(file.read_bytes(), _MEDIA_TYPES[suffix]), methods=["GET"]))
    return routes


def static_paths() -> frozenset[str]:
    """Return the paths of `static_routes`."""
    return frozenset(route.path for route in static_routes())


def _serve(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {
        "etag": etag,
        "cache-control": "no-cache",
        "content-security-policy": CONTENT_SECURITY_POLICY,
        "x-content-type-options": "nosniff",
    }

    async def serve(request: Request) -> Response:
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    return serve
