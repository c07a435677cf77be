"""What stands before the application at an address that others can reach: host, origin, token."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from starlette.datastructures import Headers
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from miniclaw.redaction import Secret
from miniclaw.web.config import WebConfig
from miniclaw.web.hosts import HostRules, check_origin
from miniclaw.web.limits import DEFAULT_LIMITS, Limits
from miniclaw.web.login import Access
from miniclaw.web.refusal import refuse
from miniclaw.web.token import load_token


class Security:
    """The rules of an address.

    Args:
        config: Where the server listens.
        token: What a client has to show; None: nothing.
        limits: How many wrong tokens are looked at.
        now: The wall clock, in seconds of the epoch.
    """

    def __init__(
        self,
        config: WebConfig,
        token: Secret | None,
        *,
        limits: Limits = DEFAULT_LIMITS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.hosts = HostRules(config)
        self.access = Access(token, limits, now=now) if token is not None else None

    def routes(self) -> list[BaseRoute]:
        """Return the routes that the rules need themselves."""
        return self.access.routes() if self.access is not None else []


def open_security(config: WebConfig, workspace: Path) -> Security:
    """Return the rules of the configured address, with its token if it needs one. Reads and writes, synchronously.

    Raises:
        ConfigError: The token's file cannot be used; the server must not start.
    """
    return Security(config, load_token(workspace) if config.needs_token else None)


class SecurityMiddleware:
    """Refuses what the rules refuse.

    Args:
        app: What answers the rest.
        security: The rules.
    """

    def __init__(self, app: ASGIApp, security: Security) -> None:
        self._app = app
        self._security = security

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] in {"http", "websocket"}:
            headers = Headers(scope=scope)
            refusal = self._security.hosts.check(headers)
            refusal = refusal or check_origin(scope["type"], scope.get("method", "GET"), headers)
            if refusal is None and self._security.access is not None:
                refusal = self._security.access.check(scope)
            if refusal is not None:
                await refuse(refusal, scope, receive, send)
                return
        await self._app(scope, receive, send)
