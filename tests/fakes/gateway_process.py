"""The real gateway, in a process of its own, which can be killed and started again at the same address."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from miniclaw.admin.client.client import GatewayClient
from miniclaw.web.access.token import TOKEN_NAME
from tests.fakes.bot_api import TOKEN
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.program import CALL
from tests.fakes.samples import said_in
from tests.fakes.starter import Started, can_start, starter
from tests.fakes.states import UP_FOR_LONG

TOKEN_VARIABLE = "MINICLAW_TEST_BOT_TOKEN"  # noqa: S105 - the variable's name
TIMEOUT_SECONDS = PATIENCE_SECONDS


class GatewayProcess:
    """``miniclaw gateway`` with a home of its own.

    Args:
        home: Where it lives; must not exist yet, or hold sessions only.
        model_url: Where its model's server is; None: the home has its configuration already.
        more_config: Behind the table of the model in its configuration.
        forked: False for an interpreter of its own: what it needs and shows is its own, then.

    Attributes:
        url: Where it is served; the same after a restart.
    """

    def __init__(self, home: Path, model_url: str | None = None, more_config: str = "", *, forked: bool = True) -> None:
        self.home = home
        self._forked = forked and can_start({})
        self.environment: Mapping[str, str] = os.environ | {"MINICLAW_HOME": str(home), TOKEN_VARIABLE: TOKEN}
        self._port = 0
        self._process: subprocess.Popen[bytes] | Started | None = None
        self.url = ""
        if model_url is None:
            return
        home.mkdir(parents=True, exist_ok=True)
        config = f'[model]\nprovider = "openai"\nbase_url = "{model_url}"\nmodel = "told"\nmax_retries = 0\n'
        (home / "config.toml").write_text(config + more_config)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        reading, writing = os.pipe()
        with open(reading) as said:
            with open(writing, "wb") as out, (self.home / "log").open("a") as log, open(os.devnull) as stdin:
                self._process = self._start([stdin.fileno(), out.fileno(), log.fileno()])
            readable, _, _ = select.select([said], [], [], TIMEOUT_SECONDS)
            line = said.readline() if readable else ""
        match = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert match, f"{line!r}; {self.log}"
        self._port, self.url = int(match[1]), match[0]

    def _start(self, streams: Sequence[int]) -> subprocess.Popen[bytes] | Started:
        args = ["gateway", "--port", str(self._port)]
        if self._forked:
            return starter().start(args, self.environment, streams, prepared_by=UP_FOR_LONG)
        stdin, stdout, stderr = streams
        return subprocess.Popen(
            [sys.executable, "-c", f"{UP_FOR_LONG}{CALL}", *args],
            stdin=stdin, stdout=stdout, stderr=stderr, env=self.environment,
        )  # fmt: skip

    def end(self, number: int) -> int:
        """End it by a signal; return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(TIMEOUT_SECONDS)
        finally:
            process.kill()  # without effect on one that has ended

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    @property
    def token(self) -> str:
        """The token that a program shows at `url`."""
        return (self.home / "workspace" / TOKEN_NAME).read_text().strip()

    @property
    def authorization(self) -> dict[str, str]:
        """The header by which it shows it."""
        return {"authorization": f"Bearer {self.token}"}

    def link(self) -> str:
        """Return a link by which one browser logs in."""
        return GatewayClient(self.home / "workspace").entrance().link()

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    @property
    def sessions_dir(self) -> Path:
        return self.home / "workspace" / "sessions"

    def said(self, chat: str, channel: str = "web") -> list[tuple[str, str]]:
        """Return who said what, by the session's file and the journal."""
        return [(role, text.strip()) for role, text in said_in(self.sessions_dir, f"{channel}_{chat}")]


def telegram_config(api_base: str, *users: int) -> str:
    """Return the table of a bot, for a configuration; its token is in the environment."""
    return f'[telegram]\napi_base = "{api_base}"\nbot_token_env = "{TOKEN_VARIABLE}"\nallowed_users = {list(users)}\n'
