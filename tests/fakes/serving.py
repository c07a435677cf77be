"""A gateway that serves its API only: on the Unix socket of its workspace, and at an address if it is configured."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from starlette.types import ASGIApp

from miniclaw.admin.api import api_routes
from miniclaw.admin.client.messages import Entrance
from miniclaw.admin.context import AdminContext
from miniclaw.admin.monitoring.health import Health
from miniclaw.admin.monitoring.live_status import LiveStatus, live_status
from miniclaw.admin.monitoring.metrics import Metrics
from miniclaw.agent.inbox import Inbox
from miniclaw.agent.stats import TurnStats
from miniclaw.clock import Clock, Now
from miniclaw.config import Config, Home
from miniclaw.config.in_force import ConfigInForce
from miniclaw.config.web import WebConfig
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.runtime import open_runtime
from miniclaw.web.access.codes import CODE_SECONDS
from miniclaw.web.access.security import open_security
from miniclaw.web.app import build_app
from miniclaw.web.server.server import open_server

NOT_AT_AN_ADDRESS = WebConfig(enabled=False)
AT_ANY_PORT = WebConfig(port=0)


@asynccontextmanager
async def open_gateway(
    home: Home,
    config: Config | None = None,
    *,
    web: WebConfig = NOT_AT_AN_ADDRESS,
    clock: Clock | Now | None = None,
    fs: OsCalls | None = None,
) -> AsyncIterator[AdminContext]:
    """Run the sessions and the API around a block; nothing is cleaned up or saved by itself."""
    config = config or Config()
    async with open_runtime(
        home.sessions_dir,
        policy=config.session.retention_policy(),
        earlier=home.earlier,
        cleanup_interval_seconds=None,
        persistence_interval_seconds=3600,
        clock=clock,
        fs=fs,
    ) as runtime:
        addresses: list[str] = []
        metrics = Metrics(Health(runtime, ()), TurnStats(()), Inbox())

        def live() -> LiveStatus:
            return live_status(metrics, model="echo", addresses=addresses)

        security = open_security(web, home.workspace)
        context = AdminContext(
            in_force=ConfigInForce(config),
            home=home,
            runtime=runtime,
            operations=runtime.operations(by="command"),
            live=live,
            entrance=lambda: Entrance(addresses[0] if addresses else None, security.make_code(), CODE_SECONDS),
        )

        def make_app(trusted: bool) -> ASGIApp:
            return build_app(api_routes(context, trusted=trusted), security=None if trusted else security)

        async with open_server(web, home.workspace, make_app, drain=trio.Event()) as server:
            addresses += server.addresses
            yield context
