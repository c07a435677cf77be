"""Access by the token: in a header, or once at ``/login`` for a login that the page keeps.

A login is no cookie. Browsers send the cookies of a host to each of its ports, and on a shared machine the next port
may be another user's server. The storage of a page (`localStorage`) belongs to host *and* port. The page sends its
login from there in a header; for a websocket, whose headers a page cannot set, as a subprotocol.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from miniclaw.loggers import get_logger
from miniclaw.secret import Secret
from miniclaw.web.access.codes import OneTimeCodes
from miniclaw.web.access.token import LOGIN_SECONDS, is_login, is_token, make_login
from miniclaw.web.hosts import client_key
from miniclaw.web.limits import Limits
from miniclaw.web.problems import problem
from miniclaw.web.rates import Rates

LOGIN_PATH: Final = "/login"
LOGIN_HEADER: Final = "miniclaw-login"

CHAT_PROTOCOL: Final = "miniclaw"
"""Subprotocol with which a websocket of the page is accepted; the page offers its login beside it."""

LOGIN_PROTOCOL: Final = "miniclaw-login."
"""Prefix of a login that is offered as a subprotocol."""

_STRANGER: Final = "miniclaw.stranger"  # the key in a scope
_MAX_ORDER_BYTES: Final = 16 * 1024
_HEADERS: Final = {"www-authenticate": "Bearer"}
_NO_LOGIN: Final = (
    "this needs the token (authorization: Bearer …) or a login; `miniclaw open` and the page /login log a browser in"
)
_SPENT: Final = (
    "this link was used already, is older than 10 minutes, or is of before the gateway's last start; `miniclaw open` "
    "gives a new one"
)

log: Final = get_logger("miniclaw.web")


class LoginOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The request for a login: the token, or the code of a one-time link."""

    token: str = ""
    code: str = ""


class Login(Struct, frozen=True):
    """A login, and its lifetime in seconds."""

    login: str
    seconds: int


class Access:
    """Admission of requests that show the token, or a login that was given for it. `now` is in seconds of the epoch."""

    def __init__(self, token: Secret, limits: Limits, *, now: Callable[[], float] = time.time) -> None:
        self.codes: OneTimeCodes = OneTimeCodes()
        self._token = token
        self._now = now
        most = limits.wrong_tokens_per_minute
        self._wrong = Rates(most / 60, most, limits.max_clients)

    def check(self, scope: Scope, *, is_open: bool = False) -> Response | None:
        """Return the refusal of a request that shows neither the token nor a login, or None.

        If `is_open`, its path needs neither. A wrong token is refused even there, since it may be a guess.
        """
        headers = Headers(scope=scope)
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._look_at(shown.strip(), scope)
        if is_login(self._token, _login_of(scope, headers), self._now()):
            return None
        if is_open:
            scope[_STRANGER] = True
            return None
        return problem(401, _NO_LOGIN, headers=_HEADERS)

    def routes(self) -> list[BaseRoute]:
        """Return the route that gives logins."""
        return [Route(LOGIN_PATH, self._log_in, methods=["POST"])]

    def _look_at(self, shown: str, scope: Scope) -> Response | None:
        """Return the refusal of a token, or None if it is right. Beyond the rate of wrong ones, it is not compared."""
        host = _host(scope)
        client = client_key(host)
        if self._wrong.left(client) < 1:
            wait = self._wrong.take(client)
            detail = f"too many wrong tokens; try again in {wait} s"
            return problem(429, detail, headers={"retry-after": str(wait)})
        if is_token(self._token, shown):
            return None
        self._wrong.take(client)
        log.warning("Wrong web token", client=host)
        return problem(401, "that is not the token", headers=_HEADERS)

    async def _log_in(self, request: Request) -> Response:
        body = await request.body()
        if len(body) > _MAX_ORDER_BYTES:
            return problem(413, f"the body has {_MAX_ORDER_BYTES} bytes at most")
        try:
            order = msgspec.json.decode(body, type=LoginOrder)
        except (ValueError, RecursionError):
            return problem(400, 'the body is JSON: {"token": TOKEN}, or {"code": CODE} with the code of a link')
        if order.code:
            # A code has 256 bits, so guesses need no rate limit; and a used code is no guess.
            refusal = None if self.codes.take(order.code) else problem(410, _SPENT)
        else:
            refusal = self._look_at(order.token.strip(), request.scope)
        if refusal is not None:
            return refusal
        log.info("Browser logged in", client=_host(request.scope), by="link" if order.code else "token")
        login = Login(make_login(self._token, self._now()), LOGIN_SECONDS)
        return Response(msgspec.json.encode(login), media_type="application/json")


def is_stranger(scope: Scope) -> bool:
    """Return whether a request has shown neither the token nor a login, and was admitted because its path is open."""
    return bool(scope.get(_STRANGER, False))


def _login_of(scope: Scope, headers: Headers) -> str:
    """Return the login that a request shows, or an empty text."""
    if scope["type"] == "http":
        return headers.get(LOGIN_HEADER, "")
    offered = (name for name in scope.get("subprotocols", ()) if name.startswith(LOGIN_PROTOCOL))
    return next(offered, "").removeprefix(LOGIN_PROTOCOL)


def _host(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else "socket"
