"""The server: opens the listeners, serves until its block is left, and ends within 5 s, whatever clients do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import trio
from starlette.types import ASGIApp

from miniclaw.session.logs import get_logger
from miniclaw.web.admission import Admission, BoundedListener, descriptor_limit, plan_connections
from miniclaw.web.config import SOCKET_NAME, WebConfig
from miniclaw.web.limits import DEFAULT_LIMITS, Limits
from miniclaw.web.listening import tcp_listener, unix_listener, url_of
from miniclaw.web.serving import Serving

log = get_logger("miniclaw.web")


class Server:
    """A server that runs.

    Attributes:
        addresses: Its URLs, with the port that it really has; none if the page is not served at an address.
        socket_path: Its Unix socket.
    """

    def __init__(self, addresses: tuple[str, ...], socket_path: Path, admissions: tuple[Admission, ...]) -> None:
        self.addresses = addresses
        self.socket_path = socket_path
        self._admissions = admissions

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return sum(map(len, self._admissions))


@asynccontextmanager
async def open_server(
    config: WebConfig,
    workspace: Path,
    make_app: Callable[[bool], ASGIApp],
    *,
    drain: trio.Event,
    limits: Limits = DEFAULT_LIMITS,
) -> AsyncIterator[Server]:
    """Serve for a block.

    Args:
        config: At which address.
        workspace: Where the Unix socket goes. The caller owns it: a socket that lies there already is a dead one's.
        make_app: Returns what answers; asked with True for the Unix socket, which only the user can reach, and with
            False for the address.
        drain: Set when the block is left: then websockets are to be closed by who answers them, and streams ended.
        limits: What clients may take.

    Raises:
        ConfigError: It cannot listen.

    Cancellation: connections are cut at once. When the block is left in peace, idle ones are closed at once, and the
    others have `Limits.drain_seconds`.
    """
    over_tcp, over_socket = plan_connections(limits, descriptor_limit())
    socket_path = workspace / SOCKET_NAME
    admissions = [Admission(limits, over_socket)]
    addresses: tuple[str, ...] = ()
    with ExitStack() as opened:
        sockets = [opened.enter_context(unix_listener(socket_path))]
        if config.enabled:
            sockets.append(opened.enter_context(tcp_listener(config.host, config.port)))
            admissions.append(Admission(limits, over_tcp))
            addresses = (url_of(sockets[-1]),)
        services = []
        for listening, admission, trusted in zip(sockets, admissions, (True, False), strict=False):
            # A copy, since trio closes its own: the file of the Unix socket goes with ours.
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening.dup()))
            services.append(Serving(make_app(trusted), BoundedListener(listener, admission, limits), limits))
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                for service in services:
                    await accepting.start(service.run, connections)
                log.info("Web server listening", addresses=addresses, socket=str(socket_path))
                try:
                    yield Server(addresses, socket_path, tuple(admissions))
                finally:
                    drain.set()
                accepting.cancel_scope.cancel()
            opened.close()
            last_moment = trio.current_time() + limits.drain_seconds
            connections.cancel_scope.deadline = last_moment
            for service in services:
                await service.stop(last_moment)
