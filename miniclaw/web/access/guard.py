"""Limits on requests: their size, their number at once, and their rate for each client."""

from __future__ import annotations

from collections import Counter
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from miniclaw.web.hosts import LOOPBACK_CLIENT, client_key
from miniclaw.web.limits import Limits
from miniclaw.web.problems import problem, refuse
from miniclaw.web.rates import Rates

SOCKET_CLIENT: Final = "socket"  # only the user can reach the Unix socket
_THIS_MACHINE: Final = frozenset({SOCKET_CLIENT, LOOPBACK_CLIENT})


class Guard:
    """Refuses requests beyond the limits. The number of websockets is not limited here, but as that of connections."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._running: Counter[str] = Counter()  # by client; only the trio thread touches it
        self._rates = Rates(limits.requests_per_second, limits.request_burst, limits.max_clients)
        self._loopback = Rates(limits.loopback_requests_per_second, limits.loopback_request_burst, 1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        client = client_key(scope["client"][0]) if scope.get("client") else SOCKET_CLIENT
        refusal = self._check(scope, client)
        if refusal is not None:
            await refuse(refusal, scope, receive, send)
        elif scope["type"] == "websocket":
            await self._app(scope, receive, send)
        else:
            self._running[client] += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._running[client] -= 1
                if not self._running[client]:
                    del self._running[client]

    def _check(self, scope: Scope, client: str) -> Response | None:
        limits, is_ours = self._limits, client in _THIS_MACHINE
        raw_path = scope.get("raw_path") or scope["path"].encode()
        if len(raw_path) > limits.max_path_bytes:
            return problem(414, f"a path has {limits.max_path_bytes} bytes at most")
        if len(scope["query_string"]) > limits.max_query_bytes:
            return problem(414, f"a query has {limits.max_query_bytes} bytes at most")
        rates = self._loopback if is_ours else self._rates
        if client != SOCKET_CLIENT and (wait := rates.take(client)):
            return problem(429, f"too many requests; try again in {wait} s", headers={"retry-after": str(wait)})
        most = limits.max_requests if is_ours else limits.max_requests_per_client
        is_full = self._running.total() >= limits.max_requests or self._running[client] >= most
        if scope["type"] == "http" and is_full:
            return problem(503, "too many requests are being answered; try again later", headers={"retry-after": "1"})
        return None
