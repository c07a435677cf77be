"""Showing the token: as a header, or once at ``/login`` for a cookie."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Scope

from miniclaw.redaction import Secret
from miniclaw.session.logs import get_logger
from miniclaw.web.addresses import client_key
from miniclaw.web.limits import Limits
from miniclaw.web.problems import problem
from miniclaw.web.rates import Rates
from miniclaw.web.token import COOKIE_SECONDS, is_cookie, is_token, make_cookie

COOKIE_NAME: Final = "miniclaw_session"
LOGIN_PATH: Final = "/login"

_OPEN_PATHS: Final = frozenset({"/healthz", LOGIN_PATH, "/login.css", "/logout"})
_MAX_FORM_BYTES: Final = 16 * 1024
_HEADERS: Final = {"www-authenticate": "Bearer"}

_STYLE: Final = """\
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 26rem; margin: 12vh auto; padding: 0 1rem; }
input, button { font: inherit; box-sizing: border-box; width: 100%; padding: 0.5rem; margin-top: 0.5rem; }
.wrong { color: #b00020; }
@media (prefers-color-scheme: dark) { body { background: #16181c; color: #e6e6e6; } .wrong { color: #ff8a80; } }
"""
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>miniclaw</title>
<link rel="stylesheet" href="/login.css">
</head>
<body>
<h1>miniclaw</h1>
<p>The token is in the file <code>web-token</code> of the workspace.</p>
{note}<form method="post" action="/login">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button>
</form>
</body>
</html>
"""
_WRONG: Final = '<p class="wrong" role="alert">That is not the token.</p>\n'

log = get_logger("miniclaw.web")


class Access:
    """Who may come in: who shows the token, or a cookie that was given for it.

    Args:
        token: The token.
        limits: How many wrong ones of a client are looked at.
        now: The wall clock, in seconds of the epoch.
    """

    def __init__(self, token: Secret, limits: Limits, *, now: Callable[[], float] = time.time) -> None:
        self._token = token
        self._now = now
        most = limits.wrong_tokens_per_minute
        self._wrong = Rates(most / 60, most, limits.max_clients)

    def check(self, scope: Scope) -> Response | None:
        """Return the refusal of a request that may not come in, or None."""
        if scope["type"] == "http" and scope["path"] in _OPEN_PATHS:
            return None
        headers = Headers(scope=scope)
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            refusal = self._look_at(shown.strip(), scope)
            return refusal or None
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE_NAME, "")
        if is_cookie(self._token, cookie, self._now()):
            return None
        if scope["type"] == "http" and scope["method"] in {"GET", "HEAD"} and "text/html" in headers.get("accept", ""):
            return RedirectResponse(LOGIN_PATH, 303)
        return problem(401, "this needs the token: authorization: Bearer …, or log in at /login", headers=_HEADERS)

    def routes(self) -> list[BaseRoute]:
        """Return what a browser needs for it."""
        return [
            Route(LOGIN_PATH, self._show, methods=["GET"]),
            Route(LOGIN_PATH, self._log_in, methods=["POST"]),
            Route("/login.css", _style, methods=["GET"]),
            Route("/logout", _log_out, methods=["POST"]),
        ]

    def _look_at(self, shown: str, scope: Scope) -> Response | None:
        """Return the refusal of a token, or None if it is the right one. Beyond the rate, it is not looked at."""
        host = scope["client"][0] if scope.get("client") else "socket"
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

    async def _show(self, _request: Request) -> Response:
        return HTMLResponse(_PAGE.format(note=""))

    async def _log_in(self, request: Request) -> Response:
        body = await request.body()
        if len(body) > _MAX_FORM_BYTES:
            return problem(413, f"the form has {_MAX_FORM_BYTES} bytes at most")
        shown = parse_qs(body.decode("latin1"), max_num_fields=10).get("token", [""])[0]
        refusal = self._look_at(shown.strip(), request.scope)
        if refusal is not None:
            if refusal.status_code == 401:
                return HTMLResponse(_PAGE.format(note=_WRONG), 401)
            return refusal
        answer = RedirectResponse("/", 303)
        cookie = make_cookie(self._token, self._now())
        answer.set_cookie(COOKIE_NAME, cookie, max_age=COOKIE_SECONDS, path="/", httponly=True, samesite="strict")
        return answer


async def _style(_request: Request) -> Response:
    return Response(_STYLE, media_type="text/css", headers={"cache-control": "max-age=3600"})


async def _log_out(_request: Request) -> Response:
    answer = RedirectResponse(LOGIN_PATH, 303)
    answer.delete_cookie(COOKIE_NAME, path="/", httponly=True, samesite="strict")
    return answer
