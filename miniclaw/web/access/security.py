"""Checks of each request at an address that others can reach, before the application: host, origin, token."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from miniclaw.config.web import WebConfig
from miniclaw.loggers import get_logger
from miniclaw.secret import Secret, make_private
from miniclaw.web.access.login import Access
from miniclaw.web.access.other_users import other_users
from miniclaw.web.access.token import load_token
from miniclaw.web.hosts import HostRules, check_origin
from miniclaw.web.limits import DEFAULT_LIMITS, Limits

_MAX_NAMED: Final = 5  # users in a warning

log: Final = get_logger("miniclaw.web")


class Security:
    """The access rules of an address. Without a token, a client needs none.

    A reload replaces `hosts`, the names by which the server may be called, on the trio thread.
    """

    def __init__(
        self,
        config: WebConfig,
        token: Secret | None,
        *,
        limits: Limits = DEFAULT_LIMITS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.hosts: HostRules = HostRules(config)
        self.access: Access | None = Access(token, limits, now=now) if token is not None else None

    def check(self, scope: Scope, open_paths: Collection[str]) -> Response | None:
        """Return the refusal of a request, or None. All paths but the open ones need the token or a login."""
        headers = Headers(scope=scope)
        refusal = self.hosts.check(headers) or check_origin(scope["type"], scope.get("method", "GET"), headers)
        if refusal is None and self.access is not None:
            is_open = scope["type"] == "http" and scope["path"] in open_paths
            refusal = self.access.check(scope, is_open=is_open)
        return refusal

    def make_code(self) -> str | None:
        """Return a new one-time code; None if no token is needed."""
        return self.access.codes.make() if self.access is not None else None


def open_security(
    config: WebConfig, workspace: Path, *, find_users: Callable[[], Collection[str]] = other_users
) -> Security:
    """Return the access rules of the configured address, with its token if it needs one. Blocks; may write files.

    The workspace is made private first: the Unix socket in it is served without a token.

    Raises:
        ConfigError: The token's file cannot be used; the server must not start.
        StoreIOError: The token's file or the workspace cannot be made; likewise.
    """
    make_private(workspace)
    if config.needs_token:
        return Security(config, load_token(workspace))
    if config.enabled and (users := sorted(find_users())):
        log.warning(
            "Web page needs no token: every user of this machine can read and delete all chats; "
            "remove `require_token = false` from the table [web]",
            users=", ".join(users[:_MAX_NAMED]) + (", …" if len(users) > _MAX_NAMED else ""),
        )
    return Security(config, None)
