"""Whether a request is meant for this server, and whether a page of this server makes it. Pure.

The first is against DNS rebinding: a stranger's page whose name suddenly means this machine. It needs a name, so an
address is harmless. The second is against pages of strangers that make a browser send requests here.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response

from miniclaw.config.web import WebConfig
from miniclaw.web.addresses import is_same_origin, parse_address, split_host
from miniclaw.web.problems import problem

_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_OWN_SITES: Final = frozenset({"same-origin", "none"})  # none: typed in by the person


class HostRules:
    """By which names this server may be called.

    Args:
        config: Where it listens, and what more it is called.
    """

    def __init__(self, config: WebConfig) -> None:
        self._names = {*_LOOPBACK_NAMES, config.host, *(name.lower().rstrip(".") for name in config.allowed_hosts)}
        self._any_address = ipaddress.ip_address(config.host).is_unspecified

    def check(self, headers: Headers) -> Response | None:
        """Return the refusal of a request that is not meant for this server, or None."""
        values = headers.getlist("host")
        called = split_host(values[0]) if len(values) == 1 else None
        if called is None:
            return problem(400, 'a request has one host header, such as "localhost:8765"')
        host, _ = called
        if host in self._names or (self._any_address and parse_address(host) is not None):
            return None
        detail = f"this server is not called {host}; if it is, name it in web.allowed_hosts of the configuration"
        return problem(421, detail, host=host)


def check_origin(scope_type: str, method: str, headers: Headers) -> Response | None:
    """Return the refusal of a request that a page of somebody else makes, or None.

    Reading is harmless: browsers do not show a stranger's page what it got. Websockets are not covered by that.

    Args:
        scope_type: ``http`` or ``websocket``.
        method: Of the request.
        headers: Of the request; its ``host`` was checked.
    """
    if scope_type == "http" and method in _SAFE_METHODS:
        return None
    origins = headers.getlist("origin")
    if origins:
        if len(origins) == 1 and is_same_origin(origins[0], headers["host"]):
            return None
        return problem(403, "the page that asks for this is not of this server", origin=origins[0][:200])
    if scope_type == "websocket" and ("cookie" in headers or any(name.startswith("sec-fetch-") for name in headers)):
        return problem(403, "a browser has to say in the header origin which page opens a websocket")
    if headers.get("sec-fetch-site", "none") not in _OWN_SITES:
        return problem(403, "the page that asks for this is not of this server")
    return None
