"""The web application: the routes of all parts, behind the limits and the access rules, with one form of error."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from miniclaw.loggers import get_logger
from miniclaw.web.access.guard import Guard
from miniclaw.web.access.login import LOGIN_PATH
from miniclaw.web.access.security import Security
from miniclaw.web.limits import DEFAULT_LIMITS, Limits
from miniclaw.web.problems import problem, refuse
from miniclaw.web.server.bodies import UnreadBodies, WholeBodies

log: Final = get_logger("miniclaw.web")


def build_app(
    routes: Sequence[BaseRoute],
    *,
    security: Security | None,
    open_paths: Collection[str] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> ASGIApp:
    """Return an application of the routes of all parts.

    Without `security` only the user can reach the server. The `open_paths` need no token.
    """
    own = security.access.routes() if security is not None and security.access is not None else []
    starlette = Starlette(
        routes=[*own, *routes],
        exception_handlers={HTTPException: _answer_exception, Exception: _answer_failure},
    )
    starlette.router.redirect_slashes = False
    default = starlette.router.default

    async def answer_nothing(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await refuse(problem(404, f"there is no websocket at {scope['path']}"), scope, receive, send)
        else:
            await default(scope, receive, send)

    starlette.router.default = answer_nothing
    whole = WholeBodies(starlette, limits)
    exempt = frozenset({LOGIN_PATH, *open_paths})

    async def admit(scope: Scope, receive: Receive, send: Send) -> None:
        # A Unix socket has no rules, and a lifespan no headers.
        checks = security.check if security is not None and scope["type"] != "lifespan" else None
        if checks is not None and (refusal := checks(scope, exempt)):
            await refuse(refusal, scope, receive, send)
        else:
            await whole(scope, receive, send)

    return UnreadBodies(Errors(Guard(admit, limits)), limits)


class Errors:
    """Logs an uncaught exception once. The client learns only that the request failed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer, and the log the details
            log.bug("Web request failed", error, method=scope.get("method", "WEBSOCKET"), path=scope["path"])
            if not begun:  # otherwise the answer is incomplete, and the server breaks the connection off
                await refuse(_failure(), scope, receive, send)


def _failure() -> Response:
    return problem(500, "something went wrong in the gateway; its log says what")


async def _answer_failure(_request: Request, _error: Exception) -> Response:
    return _failure()  # Starlette raises the error again after this, so that `Errors` logs it


async def _answer_exception(request: Request, error: Exception) -> Response:
    """Answer a request that Starlette refuses: an unknown path, or a method that the path does not have."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is installed for these only
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == 404:
        detail = f"there is nothing at {request.url.path}"
    elif error.status_code == 405:
        allowed = _allowed_methods(request)
        headers["allow"] = ", ".join(allowed)
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=headers)
        detail = f"{request.method} is not possible here; what is: {headers['allow']}"
    else:
        detail = str(error.detail) or HTTPStatus(error.status_code).phrase
    return problem(error.status_code, detail, headers=headers)


def _allowed_methods(request: Request) -> list[str]:
    """Return the methods of all routes with the path; Starlette names only those of the first route."""
    methods = {"OPTIONS"}
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return sorted(methods)
