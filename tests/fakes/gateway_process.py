"""The real gateway, in a process of its own, which can be killed and started again at the same address."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from miniclaw.session.names import file_name
from tests.fakes.bot_api import TOKEN

TIMEOUT_SECONDS: Final = 30
TOKEN_VARIABLE: Final = "MINICLAW_TEST_BOT_TOKEN"  # noqa: S105 - the variable's name


class GatewayProcess:
    """``miniclaw gateway`` with a home of its own.

    Args:
        home: Where it lives; made here.
        config: Its configuration.

    Attributes:
        url: Where it is served; the same after a restart.
    """

    def __init__(self, home: Path, config: str) -> None:
        self.home = home
        self.environment: Mapping[str, str] = os.environ | {"MINICLAW_HOME": str(home), TOKEN_VARIABLE: TOKEN}
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        home.mkdir()
        (home / "config.toml").write_text(config)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with (self.home / "log").open("a") as log:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "miniclaw", "gateway", "--port", str(self._port)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
            )
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], TIMEOUT_SECONDS)
        line = process.stdout.readline() if readable else ""
        match = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert match, f"{line!r}; {self.log}"
        self._port, self.url = int(match[1]), match[0]

    def end(self, number: int) -> int:
        """End it by a signal; return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        assert process.stdout is not None
        with process:
            process.send_signal(number)
            try:
                return process.wait(TIMEOUT_SECONDS)
            finally:
                process.kill()  # without effect on one that has ended

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    @property
    def sessions_dir(self) -> Path:
        return self.home / "workspace" / "sessions"

    def messages(self, session_id: str) -> list[dict[str, Any]]:
        """Return the messages in the session's file."""
        session = json.loads((self.sessions_dir / file_name(session_id)).read_bytes())
        messages: list[dict[str, Any]] = session["messages"]
        return messages

    def said(self, session_id: str) -> list[tuple[str, str]]:
        """Return who said what, by the session's file."""
        return [(message["role"], message["content"].strip()) for message in self.messages(session_id)]


def model_config(base_url: str, **values: Any) -> str:
    """Return the table of a model's server, for a configuration."""
    table = {"provider": "openai", "base_url": base_url, "model": "told", "max_retries": 0, **values}
    return "\n".join(["[model]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""])


def telegram_config(api_base: str, *users: int) -> str:
    """Return the table of a bot, for a configuration; its token is in the environment."""
    return f'[telegram]\napi_base = "{api_base}"\nbot_token_env = "{TOKEN_VARIABLE}"\nallowed_users = {list(users)}\n'
