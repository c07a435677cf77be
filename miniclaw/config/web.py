"""The table ``[web]`` of the configuration: the server of the page and the API, and the access to it."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from msgspec import Struct

from miniclaw.config.values import ValueRule, count_rule, typed

DEFAULT_PORT: Final = 8765

SOCKET_NAME: Final = "gateway.sock"
"""The socket in the workspace at which a running gateway accepts commands."""

# A string, compiled only if a file names a host: few do, and it takes a millisecond.
_HOST_NAME: Final = r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,62})(\.[a-z0-9]([a-z0-9-]{0,62}))*"


class WebConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[web]``.

    Attributes:
        enabled: If true, the page and the API are served at an address; the Unix socket in the workspace always is.
        host: The address to listen at. Any but a loopback one needs the token, even without `require_token`.
        port: From 0 to 65535; 0 takes any free one.
        allowed_hosts: More names and addresses by which a browser may call this server, without port.
        require_token: If true, a loopback address needs the token, too: every user of the machine can reach it.
    """

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    allowed_hosts: tuple[str, ...] = ()
    require_token: bool = True

    @property
    def needs_token(self) -> bool:
        """True if there is an address at which clients have to present the token."""
        return self.enabled and (self.require_token or not ipaddress.ip_address(self.host).is_loopback)


def _address_rule() -> ValueRule:
    def read(value: object) -> str:
        text = typed(value, str)
        return str(ipaddress.ip_address("127.0.0.1" if text == "localhost" else text))

    return ValueRule('an IP address such as "127.0.0.1", "::1" or "0.0.0.0"', read, str)


def _hosts_rule() -> ValueRule:
    def read(value: object) -> tuple[str, ...]:
        return tuple(_host(typed(entry, str)) for entry in typed(value, list))

    return ValueRule('a list of host names, without port and without "*", such as ["claw.lan"]', read, list)


def _host(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        if not re.fullmatch(_HOST_NAME, value, re.IGNORECASE):
            raise
        return value.lower()


WEB_RULES: Final[dict[str, ValueRule]] = {
    "host": _address_rule(),
    "port": count_rule(0, 65535),
    "allowed_hosts": _hosts_rule(),
}
