"""Hosts, origins and client addresses: is a request meant for this server, and made by one of its pages? Pure.

The check of the host prevents DNS rebinding, in which the name of a stranger's page suddenly resolves to this machine.
The attack needs a name, so an address is harmless. The check of the origin refuses strangers' pages that make a browser
send requests here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response

from miniclaw.config.web import WebConfig
from miniclaw.web.problems import problem

_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_OWN_SITES: Final = frozenset({"same-origin", "none"})  # none: the person typed the address in


_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# A name, an IPv4 address, or an IPv6 address in brackets; then a port. No user, no path.
_HOST: Final = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?", re.IGNORECASE)

_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}

LOOPBACK_CLIENT: Final = "loopback"
"""The client key of this machine, by any of its loopback addresses."""

IPV6_CLIENT_BITS: Final = 64
"""Prefix length of an IPv6 client's network: one client has all its addresses, so they count as one."""


class HostRules:
    """The names by which this server may be called."""

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
    """Return the refusal of a request that a stranger's page makes, or None; the header ``host`` was checked.

    Reading is harmless: browsers hide the answer from a stranger's page. That protection does not cover websockets.
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


def parse_address(text: str) -> _Address | None:
    """Return an IP address, or None if the text is none; an IPv4 address in IPv6 notation becomes IPv4."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def page_address(served: str, names: Sequence[str]) -> str:
    """Return the address at which a browser opens the page that is served at a URL.

    A browser cannot open an unspecified address (``0.0.0.0``, ``::``); the first of the server's further names, or else
    loopback, replaces it.
    """
    host, port = urlsplit(served).hostname or "", urlsplit(served).port
    if not ipaddress.ip_address(host).is_unspecified:
        return served
    name = names[0] if names else "127.0.0.1"
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def is_loopback(text: str) -> bool:
    """Return whether an address is one of this machine's loopback addresses."""
    address = parse_address(text)
    return address is not None and address.is_loopback


def client_key(text: str) -> str:
    """Return the key by which a client's share is counted: its address, or its IPv6 network.

    All loopback addresses are one client: this machine.
    """
    address = parse_address(text)
    if address is None:
        return text
    if address.is_loopback:
        return LOOPBACK_CLIENT
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address), IPV6_CLIENT_BITS), strict=False))
    return str(address)


def split_host(value: str, scheme: str = "") -> tuple[str, str] | None:
    """Return the host and the port of a ``Host`` header, or of an origin after its scheme.

    Args:
        value: The text, such as ``claw.lan:8765`` or ``[::1]``.
        scheme: ``http`` or ``https``, whose default port is left out.

    Returns:
        The host in lower case, an IPv6 address in its usual form, and the port or an empty text; None if the value is
        no host.
    """
    match = _HOST.fullmatch(value)
    if match is None:
        return None
    host, port = match["host"].lower(), match["port"] or ""
    if int(port or 0) > 65535:
        return None
    if host.startswith("["):
        address = parse_address(host[1:-1])
        if address is None:
            return None
        host = str(address)
    else:
        host = host.removesuffix(".")
    return host, "" if port and port.lstrip("0") == _DEFAULT_PORTS.get(scheme) else port


def is_same_origin(origin: str, host: str) -> bool:
    """Return whether an ``Origin`` header names the server that a ``Host`` header names.

    The schemes may differ, as they do behind a proxy that speaks TLS.
    """
    scheme, separator, rest = origin.partition("://")
    if not separator or scheme.lower() not in _DEFAULT_PORTS:
        return False
    theirs = split_host(rest, scheme.lower())
    return theirs is not None and theirs == split_host(host, scheme.lower())
