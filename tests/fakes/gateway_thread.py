"""A gateway in a thread of this process, for commands that are processes of their own."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import trio

from miniclaw.admin.context import AdminContext
from miniclaw.config import Config, Home, load_config
from miniclaw.config.web import WebConfig
from miniclaw.errors import MiniclawError
from miniclaw.session.disk.syscalls import OsCalls
from tests.fakes.program import TIMEOUT_SECONDS, Program, Result
from tests.fakes.serving import NOT_AT_AN_ADDRESS, open_gateway

T = TypeVar("T")

_OF_A_GATEWAY = {".lock", "last-seen", "retention.json", "landmark"}


class GatewayThread:
    """Runs `open_gateway` until it is stopped.

    Attributes:
        address: Where it is served, if it is at one; once it is started.
        context: What it works on; likewise.
    """

    context: AdminContext

    def __init__(
        self,
        home: Home,
        config: Config | None = None,
        *,
        web: WebConfig = NOT_AT_AN_ADDRESS,
        fs: OsCalls | None = None,
    ) -> None:
        self.address = ""
        self._home = home
        self._config = config
        self._fs = fs
        self._web = web
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop: trio.Event | None = None
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Return when it serves, or raise what kept it from that."""
        self._thread.start()
        assert self._ready.wait(TIMEOUT_SECONDS)
        if self._error is not None:
            self._thread.join()
            raise self._error

    def stop(self) -> None:
        """Return when it has ended."""
        assert self._token is not None
        assert self._stop is not None
        self._token.run_sync_soon(self._stop.set)
        self._thread.join(TIMEOUT_SECONDS)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error

    def do(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do some work in the gateway, and return what it returns."""
        assert self._token is not None
        return trio.from_thread.run(work, trio_token=self._token)

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:  # noqa: BLE001 - raised in the test's thread
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._token, self._stop = trio.lowlevel.current_trio_token(), trio.Event()
        async with open_gateway(self._home, self._config, web=self._web, fs=self._fs) as self.context:
            self.address = "".join(self.context.live().addresses)
            self._ready.set()
            await self._stop.wait()


class GatewayProgram(Program):
    """The program, beside a gateway that owns the workspace while a command runs.

    There is none where there is no workspace to own yet, and where the workspace or the configuration lets none start.
    """

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.gateways = 0  # how many were started

    def content(self) -> dict[str, bytes]:
        """As `Program.content`, without what a gateway leaves by being there."""
        return {path: data for path, data in super().content().items() if Path(path).name not in _OF_A_GATEWAY}

    def run(self, *args: str, stdin: str | bytes = b"", **environment: str) -> Result:
        with self._gateway(args):
            return super().run(*args, stdin=stdin, **environment)

    def run_prepared(self, prepared_by: str, *args: str, **environment: str) -> Result:
        with self._gateway(args):
            return super().run_prepared(prepared_by, *args, **environment)

    def run_python(self, script: str, *args: str, **environment: str) -> Result:
        with self._gateway(args):
            return super().run_python(script, *args, **environment)

    def run_on_terminal(self, *args: str, prompt: str = "", answer: str = "", **environment: str) -> Result:
        with self._gateway(args):
            return super().run_on_terminal(*args, prompt=prompt, answer=answer, **environment)

    @contextmanager
    def _gateway(self, args: tuple[str, ...]) -> Iterator[None]:
        gateway = None
        if self.sessions_dir.exists():
            try:
                gateway = GatewayThread(Home(self.home), self._config(args))
                gateway.start()
            except MiniclawError:
                gateway = None
        if gateway is None:
            yield
            return
        self.gateways += 1
        try:
            yield
        finally:
            gateway.stop()

    def _config(self, args: tuple[str, ...]) -> Config:
        named = "--config" in args
        path = Path(args[args.index("--config") + 1]) if named else self.config_path
        return load_config(path, required=named)
