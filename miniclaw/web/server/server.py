"""The server: opens the listeners, serves until its block is left, and ends within 5 s, whatever clients do."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import trio
from starlette.types import ASGIApp

from miniclaw.config.web import SOCKET_NAME, WebConfig
from miniclaw.errors import ConfigError, NoSocketError, StoreIOError
from miniclaw.loggers import get_logger
from miniclaw.web.limits import DEFAULT_LIMITS, Limits
from miniclaw.web.server.admission import Admission, BoundedListener, descriptor_limit, plan_connections
from miniclaw.web.server.connections import Serving
from miniclaw.web.server.listening import tcp_listener, unix_listener, url_of

SOCKET_CHECK_SECONDS: Final = 5
"""Time between two checks of the Unix socket's file."""

CLOSING_SECONDS: Final = 1
"""Longest wait for the disk on which the Unix socket's file is removed at the end."""

log: Final = get_logger("miniclaw.web")


class Server:
    """A running server; without a Unix socket, `socket_path` is None."""

    def __init__(self, addresses: tuple[str, ...], socket_path: Path | None, admissions: tuple[Admission, ...]) -> None:
        self.addresses = addresses
        self.socket_path = socket_path
        self._admissions = admissions

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return sum(map(len, self._admissions))


class UnixSocket:
    """The Unix socket of a server: reached by its path, and made again if the path has no socket any more.

    Raises the errors of `unix_listener`.
    """

    def __init__(self, path: Path, opened: ExitStack) -> None:
        self._opened = opened.enter_context(ExitStack())  # holds the present listener only
        self._listener = self._opened.enter_context(unix_listener(path))
        self._limiter = trio.CapacityLimiter(1)
        self._problem = ""  # the problem that was logged last

    @property
    def listening(self) -> socket.socket:
        """The present listening socket."""
        return self._listener.socket

    async def wait_until_made_again(self) -> None:
        """Return when the file was deleted and another socket was bound, which `listening` then returns."""
        while True:
            await trio.sleep(SOCKET_CHECK_SECONDS)
            try:
                state = await trio.to_thread.run_sync(
                    self._listener.look, abandon_on_cancel=True, limiter=self._limiter
                )
                if state == "gone":
                    self._opened.close()
                    self._listener = self._opened.enter_context(unix_listener(self._listener.path, again=True))
            except (OSError, ConfigError, NoSocketError, StoreIOError) as error:
                self._tell(str(error))
                continue
            if state == "gone":
                log.warning("Gateway's socket was deleted; it is made again", socket=str(self._listener.path))
                return
            self._tell("" if state == "ours" else "something else is in its place; remove it")

    def _tell(self, problem: str) -> None:
        """Log once that the socket is not in its place; an empty problem means that it is."""
        if problem and problem != self._problem:
            path = str(self._listener.path)
            log.warning("Commands cannot reach the gateway at its socket", socket=path, problem=problem)
        self._problem = problem


async def _serve_socket(
    unix: UnixSocket,
    serving: Callable[[socket.socket], Serving],
    connections: trio.Nursery,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    """Serve at a Unix socket until cancelled, and at its successor when it is made again."""
    is_started = False
    while True:
        async with trio.open_nursery() as accepting:
            await accepting.start(serving(unix.listening).run, connections)
            if not is_started:
                is_started = True
                task_status.started()
            await unix.wait_until_made_again()
            accepting.cancel_scope.cancel()


def _open_socket(path: Path, opened: ExitStack) -> UnixSocket | None:
    """Return the Unix socket; None, with a WARNING, if there can be none: the server works without it."""
    try:
        return UnixSocket(path, opened)
    except NoSocketError as error:
        log.warning(
            "Commands cannot reach this gateway, for it can have no socket; stop it to use them, or set MINICLAW_HOME "
            "to another file system or a shorter path",
            socket=str(path), problem=error.reason,
        )  # fmt: skip
        return None


@asynccontextmanager
async def _closed_in_thread() -> AsyncIterator[ExitStack]:
    opened = ExitStack()
    try:
        yield opened
    finally:
        await _close(opened)  # noqa: ASYNC102 - it has a shield and a deadline of its own


async def _close(opened: ExitStack) -> None:
    """Close the listeners in a thread: the removal of the socket's file waits for the disk, for `CLOSING_SECONDS`.

    Cancellation: without effect.
    """
    closing = opened.pop_all()
    with trio.move_on_after(CLOSING_SECONDS, shield=True) as scope:
        await trio.to_thread.run_sync(closing.close, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
    if scope.cancelled_caught:
        log.warning("Gateway's socket could not be removed, the disk does not answer; the next start removes it")


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
        config: The address.
        workspace: The folder of the Unix socket. The caller owns it: a socket that exists already is stale.
        make_app: Returns an application: called with True for the Unix socket, which only the user can reach, and with
            False for the address.
        drain: Set when the block is left; the applications then have to close their websockets and end their streams.
        limits: The limits on clients.

    The Unix socket is made again within `SOCKET_CHECK_SECONDS` if its file is deleted. If its file system has no
    sockets, or its path is too long for one, the server works without it.

    Raises:
        ConfigError: The server cannot listen.
        StoreIOError: The Unix socket cannot be made for another reason.

    Cancellation: connections are cut at once. When the block is left without cancellation, idle ones are closed at
    once, and the others have `Limits.drain_seconds`.
    """
    over_tcp, over_socket = plan_connections(limits, descriptor_limit())
    admissions = [Admission(limits, over_socket)]
    addresses: tuple[str, ...] = ()
    async with _closed_in_thread() as opened:
        services: list[Serving] = []

        def serving(listening: socket.socket, admission: Admission, app: ASGIApp) -> Serving:
            # A duplicate, since trio closes its socket: the Unix socket's file is removed along with ours.
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening.dup()))
            service = Serving(app, BoundedListener(listener, admission, limits), limits)
            services[:] = [*(earlier for earlier in services if not earlier.is_over), service]
            return service

        unix = _open_socket(workspace / SOCKET_NAME, opened)
        socket_path = None if unix is None else workspace / SOCKET_NAME
        trusted = make_app(True)
        tcp: socket.socket | None = None
        if config.enabled:
            tcp = opened.enter_context(tcp_listener(config.host, config.port))
            admissions.append(Admission(limits, over_tcp))
            addresses = (url_of(tcp),)
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                if unix is not None:
                    over_unix = partial(serving, admission=admissions[0], app=trusted)
                    await accepting.start(_serve_socket, unix, over_unix, connections)
                if tcp is not None:
                    over_tcp_too = serving(tcp, admissions[1], make_app(False))
                    await accepting.start(over_tcp_too.run, connections)
                log.info("Web server listening", addresses=addresses, socket=socket_path and str(socket_path))
                try:
                    yield Server(addresses, socket_path, tuple(admissions))
                finally:
                    drain.set()
                accepting.cancel_scope.cancel()
            await _close(opened)
            last_moment = trio.current_time() + limits.drain_seconds
            connections.cancel_scope.deadline = last_moment
            for service in services:
                await service.stop(last_moment)
