"""The rules of an address that needs a token, and who shows it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from miniclaw.config.web import WebConfig
from miniclaw.secret import Secret
from miniclaw.web.access.security import Security
from miniclaw.web.access.token import make_login
from miniclaw.web.limits import Limits
from tests.fakes.web_server import Answer, Running

TOKEN = Secret("correct-horse-battery-staple-0123456789")
OTHER = Secret("another-horse-battery-staple-0123456789")
NOW = 1_800_000_000.0
BEARER = f"Bearer {TOKEN.reveal()}"
SHARED = WebConfig(port=0)
LOGIN = make_login(TOKEN, NOW)
OPEN = WebConfig(port=0, require_token=False)


def guarded(limits: Limits | None = None, now: Callable[[], float] = lambda: NOW) -> Security:
    return Security(SHARED, TOKEN, limits=limits or Limits(), now=now)


async def log_in(running: Running, **order: str) -> Answer:
    return await running.get("/login", method="POST", body=msgspec.json.encode(order))


async def ask(running: Running, login: str) -> int:
    """Return the status of a request that shows a login."""
    return (await running.get("/api", miniclaw_login=login)).status
