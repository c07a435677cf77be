"""What the gateway serves follows the configuration."""

from __future__ import annotations

from typing import Any

from miniclaw.config.web import WebConfig
from miniclaw.daemon.frontend import Front
from miniclaw.web.access.security import Security


def test_front_links_by_the_name_that_it_was_given_last() -> None:
    """At all addresses of the machine, a link needs one of the names; a reload may change them."""
    web = WebConfig(host="0.0.0.0", allowed_hosts=("old.lan",))  # noqa: S104 - nothing listens
    health: Any = None
    front = Front(health, web, Security(web, None))
    front.addresses = ("http://0.0.0.0:8765",)
    front._security.make_code = lambda: "code"  # type: ignore[method-assign]
    assert front.entrance().link().startswith("http://old.lan:8765/")
    front.change(WebConfig(host="0.0.0.0", allowed_hosts=("new.lan",)))  # noqa: S104 - likewise
    assert front.entrance().link().startswith("http://new.lan:8765/")
