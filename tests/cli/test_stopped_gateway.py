"""Commands beside a gateway that was stopped (SIGSTOP): each gives up after some seconds of silence, and says why.

How many seconds is shortened here; the real limit is `miniclaw.admin.client.messages.SILENCE_SECONDS`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from miniclaw.admin.client.messages import SILENCE_SECONDS
from tests.fakes.gateway_beside import gateway_beside
from tests.fakes.program import Program, Result
from tests.fakes.samples import write_session

_IMPATIENT = """
from miniclaw.admin.client import messages
messages.SILENCE_SECONDS = 0.3
from miniclaw.cli import main; main()
"""
LOOKING = [
    ["status"], ["sessions", "list"], ["sessions", "show", "web_a"], ["sessions", "stats"],
    ["sessions", "export", "web_a"], ["sessions", "forecast"], ["sessions", "cleanup", "--dry-run"],
    ["sessions", "delete", "--dry-run", "web_a"], ["config", "show"], ["quarantine", "list"],
]  # fmt: skip
ACTING = [
    ["sessions", "delete", "--yes", "web_a"], ["sessions", "delete", "--yes", "--erase", "--channel", "web"],
    ["sessions", "delete", "web_a"], ["sessions", "cleanup", "--yes"], ["sessions", "cleanup"],
    ["sessions", "pin", "web_a"], ["sessions", "unpin", "web_a"], ["trash", "restore", "web_gone"],
    ["trash", "empty", "--yes"], ["trash", "empty", "--yes", "--expired"], ["chat", "-m", "hi"],
    ["open", "--print"], ["quarantine", "restore", "web_q"], ["quarantine", "delete", "--yes", "web_q"],
    ["quarantine", "add", "web_a.json"],
]  # fmt: skip


class Stopped:
    """A program whose gateway is stopped.

    Attributes:
        program: The program.
        pid: The gateway's process.
    """

    def __init__(self, program: Program, pid: int) -> None:
        self.program = program
        self.pid = pid

    def run(self, *command: str) -> Result:
        return self.program.run_python(_IMPATIENT, *command)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stopped]:
    program = Program(tmp_path_factory.mktemp("stopped") / "home")
    program.add("web_a", days=1)
    program.add("web_gone", days=1)
    assert program.run("sessions", "delete", "--yes", "web_gone").code == 0
    folder = program.sessions_dir / ".quarantine"
    folder.mkdir(mode=0o700)
    write_session(folder, "web_q", datetime.now(UTC)).rename(folder / "web_q.json.20261001T083015Z-0a1b2c3d")
    with gateway_beside(program) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)  # it is stopped now
        yield Stopped(program, process.pid)


def test_silence_that_a_command_bears_is_five_seconds() -> None:
    """Long enough for a slow board, short enough for a person."""
    assert SILENCE_SECONDS == 5


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_looking_beside_a_stopped_gateway_shows_the_files_with_one_warning(
    stopped: Stopped, command: list[str]
) -> None:
    """What is on the disk is shown, and the warning says that memory was not seen."""
    result = stopped.run(*command)
    assert result.code == 0
    assert result.out
    assert result.err.startswith(
        f"miniclaw: warning: The gateway (process {stopped.pid}) does not answer; is it stopped?"
    )
    assert "What it has in memory was not seen" in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("command", [["trash", "list"], ["history"], ["quarantine", "show", "web_q"]], ids=" ".join)
def test_looking_that_needs_no_gateway_does_not_ask_it(stopped: Stopped, command: list[str]) -> None:
    """What is on the disk only is shown at once."""
    result = stopped.run(*command)
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize("command", ACTING, ids=" ".join)
def test_acting_beside_a_stopped_gateway_is_exit_code_1_and_changes_nothing(
    stopped: Stopped, command: list[str]
) -> None:
    """One sentence that names the process; no command owns a workspace that a stopped process owns."""
    before = stopped.program.content()
    result = stopped.run(*command)
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        f"miniclaw: The gateway (process {stopped.pid}) does not answer; is it stopped? "
        f"`kill -CONT {stopped.pid}` continues a stopped one.\n"
    )
    assert stopped.program.content() == before


def test_config_check_beside_a_stopped_gateway_compares_with_the_file(stopped: Stopped) -> None:
    """The file can be checked all the same."""
    result = stopped.run("config", "check")
    assert (result.code, "is valid." in result.out) == (0, True)
    assert f"process {stopped.pid}" in result.err
