"""The real program, in a process of its own."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import write_session
from tests.fakes.starter import Started, can_start, starter

TIMEOUT_SECONDS = PATIENCE_SECONDS

TERMINAL_COLUMNS = 80

CALL = "from miniclaw.cli import main; main()"
"""The program, as the end of a script."""

# Makes the pseudo-terminal the controlling one, so that Ctrl-C typed on it is a signal, and becomes the program.
_ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "miniclaw", *sys.argv[1:]])
"""


class Result:
    """What a run of the program left: exit code, standard output, standard error."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err
        assert "Traceback" not in out + err, out + err

    def __repr__(self) -> str:
        return f"<Result {self.code} out={self.out!r} err={self.err!r}>"

    @property
    def json(self) -> Any:
        """Standard output, decoded."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """Standard output, line by line."""
        return self.out.splitlines()


class Program:
    """Runs ``python -m miniclaw`` with a MINICLAW_HOME of its own. No run may ever show a traceback.

    Each run is a process, forked by `tests.fakes.starter`; `run_python` starts an interpreter.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.config_path = home / "config.toml"
        self.sessions_dir = home / "workspace" / "sessions"
        self.state_dir = self.sessions_dir / ".state"
        self.trash_dir = self.sessions_dir / ".trash"

    def write_config(self, text: str) -> None:
        """Write the configuration file."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.config_path.write_text(text, encoding="utf-8")

    def add(self, session_id: str, *, days: float, **fields: Any) -> Path:
        """Write a session that was last used so many days ago."""
        return write_session(self.sessions_dir, session_id, datetime.now(UTC) - timedelta(days=days), **fields)

    def files(self) -> set[str]:
        """Return the names in the sessions directory, but for what is hidden."""
        return {path.name for path in self.sessions_dir.iterdir() if not path.name.startswith(".")}

    def content(self) -> dict[str, bytes]:
        """Return all files of the home, with their contents."""
        return {str(path): path.read_bytes() for path in self.home.rglob("*") if path.is_file()}

    def _environment(self, overrides: dict[str, str]) -> dict[str, str]:
        return os.environ | {"MINICLAW_HOME": str(self.home), "LOGNAME": "tester", "TERM": "dumb"} | overrides

    def run(self, *args: str, stdin: str | bytes = b"", **environment: str) -> Result:
        """Run to the end, with pipes for the three standard streams."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        if not can_start(environment):
            return self._run(["-m", "miniclaw", *args], data, environment)
        return self._run_forked(args, data, environment)

    def run_interpreter(self, *args: str) -> Result:
        """Run to the end, as `run`, in an interpreter that is started for it."""
        return self._run(["-m", "miniclaw", *args], b"", {})

    def run_prepared(self, prepared_by: str, *args: str, **environment: str) -> Result:
        """Run to the end, as `run`, after some Python in the same process, which has imported everything already."""
        if not can_start(environment):
            return self.run_python(f"{prepared_by}\n{CALL}", *args, **environment)
        return self._run_forked(args, b"", environment, prepared_by)

    def run_python(self, script: str, *args: str, **environment: str) -> Result:
        """Run a script with these arguments, as `run`; it may prepare the process and then call the program."""
        return self._run(["-c", script, *args], b"", environment)

    def _run_forked(
        self, args: Sequence[str], stdin: bytes, environment: dict[str, str], prepared_by: str = ""
    ) -> Result:
        environment = self._environment(environment)
        code, out, err = starter().run(args, environment, stdin, TIMEOUT_SECONDS, prepared_by=prepared_by)
        return Result(code, out.decode(), err.decode())

    def _run(self, args: list[str], stdin: bytes, environment: dict[str, str]) -> Result:
        done = subprocess.run(
            [sys.executable, *args],
            input=stdin,
            capture_output=True,
            env=self._environment(environment),
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def run_on_terminal(self, *args: str, prompt: str = "", answer: str = "", **environment: str) -> Result:
        """Run to the end on a pseudo-terminal, and type the answer once the prompt is there.

        Both outputs come as one, in `Result.out`.
        """
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, TERMINAL_COLUMNS))
        try:
            process = self._start_on_terminal(args, slave, environment)
            os.close(slave)
            try:
                shown = _converse(master, prompt.encode(), answer.encode())
                code = process.wait(TIMEOUT_SECONDS)
            finally:
                process.kill()  # without effect on one that has ended
                process.wait()
        finally:
            os.close(master)
        return Result(code, shown.decode().replace("\r\n", "\n"), "")

    def _start_on_terminal(
        self, args: Sequence[str], slave: int, environment: dict[str, str]
    ) -> subprocess.Popen[bytes] | Started:
        if can_start(environment):
            return starter().start(args, self._environment(environment), [slave] * 3, terminal=True)
        return subprocess.Popen(
            [sys.executable, "-c", _ON_TERMINAL, *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=self._environment(environment),
            start_new_session=True,
        )


def refusing_rename(name: str) -> str:
    """Return a script that is the program on a system that does not rename the file of this name."""
    return (
        "import os, sys; rename = os.rename\n"
        "def refuse(source, *args, **kwargs):\n"
        f"    if source == {name!r}: raise OSError(1, 'Operation not permitted')\n"
        "    return rename(source, *args, **kwargs)\n"
        "os.rename = refuse\n"
        f"{CALL}"
    )


def _converse(master: int, prompt: bytes, answer: bytes) -> bytes:
    """Return all that is shown until the program ends; the answer is typed once the prompt is there."""
    shown = b""
    answered = not prompt
    while chunk := _read_terminal(master, shown):
        shown += chunk
        if not answered and prompt in shown:
            os.write(master, answer)
            answered = True
    assert answered, f"{prompt!r} was not asked: {shown!r}"
    return shown


def _read_terminal(master: int, shown: bytes) -> bytes:
    readable, _, _ = select.select([master], [], [], TIMEOUT_SECONDS)
    assert readable, f"the program neither says anything more nor ends: {shown!r}"
    try:
        return os.read(master, 65_536)
    except OSError:  # EIO: the other side has closed
        return b""
