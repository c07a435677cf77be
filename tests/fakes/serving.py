"""A gateway that serves its API on the Unix socket of its workspace, in this process."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from miniclaw.admin.api import api_routes
from miniclaw.admin.context import AdminContext
from miniclaw.config import Config, Home
from miniclaw.session.clock import Clock, utc_now
from miniclaw.session.fs import OsCalls
from miniclaw.session.runtime import open_runtime

SOCKET_NAME = "gateway.sock"


@asynccontextmanager
async def open_gateway(
    home: Home,
    config: Config | None = None,
    *,
    trusted: bool = True,
    clock: Clock = utc_now,
    fs: OsCalls | None = None,
) -> AsyncIterator[AdminContext]:
    """Run the sessions and the API on the socket around a block; nothing is cleaned up by itself."""
    config = config or Config()
    async with open_runtime(
        home.sessions_dir,
        policy=config.session.retention_policy(),
        state_dir=home.state_dir,
        trash_dir=home.trash_dir,
        cleanup_interval_seconds=None,
        persistence_interval_seconds=3600,
        clock=clock,
        fs=fs,
    ) as runtime:
        context = AdminContext(
            config=config,
            home=home,
            runtime=runtime,
            operations=runtime.operations(by="command"),
            started_at=clock(),
            clock=clock,
            addresses=lambda: ("http://127.0.0.1:8765",),
        )
        async with serving(api_routes(context, trusted=trusted), home.workspace):
            yield context


@asynccontextmanager
async def serving(routes: Sequence[BaseRoute], workspace: Path) -> AsyncIterator[None]:
    """Serve routes on the socket of a workspace around a block."""
    stop = trio.Event()
    with listening(workspace) as listener:
        config = HypercornConfig()
        config.bind = [f"fd://{listener.detach()}"]  # hypercorn closes it
        config.graceful_timeout = 0.2
        config.errorlog = logging.getLogger("hypercorn.quiet")
        config.errorlog.addHandler(logging.NullHandler())
        config.errorlog.propagate = False
        async with trio.open_nursery() as nursery:
            app = Starlette(routes=routes)
            await nursery.start(partial(serve, app, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
            try:
                yield
            finally:
                stop.set()


@contextmanager
def listening(workspace: Path) -> Iterator[socket.socket]:
    """Listen at the socket; a path may be too long for it, so it is bound by the folder's descriptor."""
    path = workspace / SOCKET_NAME
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        folder = os.open(workspace, os.O_PATH | os.O_DIRECTORY)
        try:
            listener.bind(f"/proc/self/fd/{folder}/{SOCKET_NAME}")
        finally:
            os.close(folder)
        listener.listen(64)
        listener.setblocking(False)
        yield listener
    finally:
        listener.close()
        path.unlink(missing_ok=True)
