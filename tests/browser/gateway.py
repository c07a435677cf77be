"""The real gateway, in a process of its own, which can be killed and started again at the same address."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 30


class GatewayProcess:
    """``miniclaw gateway`` with a home of its own.

    Attributes:
        url: Where it is served; the same after a restart.
    """

    def __init__(self, home: Path, model_url: str) -> None:
        self._home = home
        self._port = 0
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        home.mkdir()
        config = f'[model]\nprovider = "openai"\nbase_url = "{model_url}"\nmodel = "told"\nmax_retries = 0\n'
        (home / "config.toml").write_text(config)

    def start(self) -> None:
        with (self._home / "log").open("a") as log:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "miniclaw", "gateway", "--port", str(self._port)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"MINICLAW_HOME": str(self._home)},
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
        return (self._home / "log").read_text()

    def said(self, chat: str) -> list[tuple[str, str]]:
        """Return who said what, by the session's file."""
        session: dict[str, Any] = json.loads((self._home / "workspace" / "sessions" / f"web_{chat}.json").read_bytes())
        return [(message["role"], message["content"].strip()) for message in session["messages"]]
