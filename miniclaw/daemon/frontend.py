"""The gateway's front end: its own channels, and the HTTP server.

The page, the API, health and metrics are one application, built twice from the same parts: for the Unix socket in the
workspace, which only the owner can reach, and for the configured address, where a client has to prove its permissions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from miniclaw.admin.api import api_routes
from miniclaw.admin.client.messages import Entrance
from miniclaw.admin.context import AdminContext
from miniclaw.admin.monitoring.health import HEALTH_PATHS, Health, health_routes
from miniclaw.admin.monitoring.live_status import LiveStatus, live_status
from miniclaw.admin.monitoring.metrics import Metrics, metrics_routes
from miniclaw.agent.inbox import Inbox
from miniclaw.agent.loop import AgentLoop
from miniclaw.channels.base import Channel
from miniclaw.channels.live import LiveChannel
from miniclaw.channels.telegram.opening import open_telegram
from miniclaw.config import Config, Home
from miniclaw.config.in_force import ConfigInForce
from miniclaw.config.web import WebConfig
from miniclaw.plugins import CHANNELS, open_plugin
from miniclaw.session.runtime import SessionRuntime
from miniclaw.web.access.codes import CODE_SECONDS
from miniclaw.web.access.security import Security, open_security
from miniclaw.web.app import build_app
from miniclaw.web.chat.endpoint import ChatEndpoint
from miniclaw.web.chat.static_files import static_paths
from miniclaw.web.hosts import HostRules, page_address
from miniclaw.web.server.server import open_server

if TYPE_CHECKING:
    from miniclaw.channels.telegram.channel import TelegramChannel  # needs httpx2

LIVE_CHANNELS: Final = ("web", "console")
"""The channels of connected clients: the page, and `miniclaw chat`."""


class OwnChannels:
    """The channels that the configuration switches on: the gateway's own, and those of plugins."""

    def __init__(
        self, live: Mapping[str, LiveChannel], telegram: TelegramChannel | None, plugins: Sequence[Channel]
    ) -> None:
        self.live = live
        self._telegram = telegram
        self.all: tuple[Channel, ...] = (*live.values(), *([telegram] if telegram is not None else []), *plugins)

    def change(self, config: Config) -> None:
        """Apply the part of a configuration that can be exchanged: the users that may talk to the bot."""
        if self._telegram is not None:
            self._telegram.allow(config.telegram.allowed_users)


class Front:
    """The HTTP server, for users and administrators."""

    def __init__(self, health: Health, web: WebConfig, security: Security) -> None:
        self.addresses: tuple[str, ...] = ()
        self.health = health
        self._web = web
        self._security = security

    def entrance(self) -> Entrance:
        """Make a one-time code for a browser."""
        address = page_address(self.addresses[0], self._web.allowed_hosts) if self.addresses else None
        return Entrance(address, self._security.make_code() if address else None, CODE_SECONDS)

    def change(self, web: WebConfig) -> None:
        """Apply the part of a table that can be exchanged: more names by which a browser may call the server."""
        self._web = web
        self._security.hosts = HostRules(web)


@asynccontextmanager
async def open_channels(config: Config) -> AsyncIterator[OwnChannels]:
    """Open the configured channels for a block; raises `ConfigError` if one cannot be opened as configured."""
    live = {name: LiveChannel(name) for name in LIVE_CHANNELS}
    async with AsyncExitStack() as opened:
        telegram = None
        if config.telegram.enabled:
            telegram = await opened.enter_async_context(open_telegram(config.telegram))
        plugins: list[Channel] = [
            await opened.enter_async_context(open_plugin(CHANNELS, name, table, f"channels.{name}"))
            for name, table in config.channels.items()
        ]
        yield OwnChannels(live, telegram, plugins)


@asynccontextmanager
async def open_front(
    in_force: ConfigInForce,
    home: Home,
    runtime: SessionRuntime,
    *,
    channels: OwnChannels,
    inbox: Inbox,
    loop: AgentLoop,
) -> AsyncIterator[Front]:
    """Serve for a block. On leaving, connections have a few seconds to end; websockets are closed with 1001.

    Raises:
        ConfigError: The server cannot be opened as configured.
        StoreIOError: Token or socket cannot be created.
    """
    web = in_force.config.web
    health = Health(runtime, loop.ports.values())
    metrics = Metrics(health, loop.stats, inbox)
    security = await trio.to_thread.run_sync(partial(open_security, web, home.workspace))
    front = Front(health, web, security)
    drain = trio.Event()
    operations = runtime.operations()

    def live() -> LiveStatus:
        return live_status(metrics, model=loop.model_name, addresses=front.addresses)

    admin = AdminContext(
        in_force=in_force, home=home, runtime=runtime, operations=operations, live=live, entrance=front.entrance
    )
    open_paths = static_paths().union(HEALTH_PATHS)

    def make_app(trusted: bool) -> ASGIApp:
        chat = ChatEndpoint(channels.live, runtime.manager, drain=drain, trusted=trusted, model_name=loop.model_name)
        routes: list[BaseRoute] = [
            *chat.routes(),
            *api_routes(admin, trusted=trusted),
            *health_routes(health),
            *metrics_routes(metrics),
        ]
        return build_app(routes, security=None if trusted else security, open_paths=open_paths)

    async with trio.open_nursery() as nursery:
        await nursery.start(metrics.run)
        async with open_server(web, home.workspace, make_app, drain=drain) as server:
            front.addresses = server.addresses
            yield front
            operations.stop_cleanup()  # a cleanup that an administrator started ends after its batch
        nursery.cancel_scope.cancel()
