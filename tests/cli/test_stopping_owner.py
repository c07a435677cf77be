"""Commands and a second gateway beside an owner that is stopping: they wait for it, and say so once."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from miniclaw.session.files.directory import SessionDirectory
from tests.fakes.program import TIMEOUT_SECONDS, Program

COMMANDS = {
    "gateway": ("gateway", "--port", "0"),
    "chat": ("chat", "-m", "hello"),
    "cleanup": ("sessions", "cleanup", "--yes"),
    "pin": ("sessions", "pin", "web_1"),
}


PATIENT = f"""
from miniclaw.session.ownership import patience
patience.STOPPING_SECONDS = {TIMEOUT_SECONDS}
from miniclaw.cli import main; main()
"""
"""The program, which waits for other commands as long as a test does."""


@pytest.mark.parametrize("name", COMMANDS)
def test_command_waits_for_an_owner_that_is_stopping(tmp_path: Path, name: str) -> None:
    """It says for whom it waits, and does its work as soon as that one has ended."""
    program = Program(tmp_path / "home")
    program.write_config("")
    program.add("web_1", days=1)
    with SessionDirectory.open(program.sessions_dir) as owner:
        owner.own()
        owner.say_stopping()
        process = subprocess.Popen(
            [sys.executable, "-m", "miniclaw", *COMMANDS[name]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=program._environment({}),
        )  # fmt: skip
        with process:
            assert process.stderr is not None
            said = process.stderr.readline()
            assert re.search(r"Waiting for process \d+, which is stopping", said), said
            assert process.poll() is None
            owner.close()
            if name == "gateway":
                assert process.stdout is not None
                assert "miniclaw is at" in process.stdout.readline()
                process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=TIMEOUT_SECONDS)
        assert process.returncode == 0, said + err
        assert "Waiting for" not in err


@pytest.mark.parametrize("name", COMMANDS)
def test_command_does_not_wait_for_an_owner_that_stays(tmp_path: Path, name: str) -> None:
    """An owner that has not said that it is stopping, and cannot be asked, is named at once, with exit code 1."""
    program = Program(tmp_path / "home")
    program.write_config("")
    program.add("web_1", days=1)
    with SessionDirectory.open(program.sessions_dir) as owner:
        owner.own()
        result = program.run(*COMMANDS[name])
    assert result.code == 1
    assert re.search(r"is held by process \d+; stop it first", result.err)
    assert "Waiting" not in result.err


def test_commands_that_change_something_at_once_all_succeed(tmp_path: Path) -> None:
    """Without a gateway, commands of the same moment do their work one after another."""
    program = Program(tmp_path / "home")
    program.write_config("")
    ids = [f"web_{number}" for number in range(5)]
    for session_id in ids:
        program.add(session_id, days=1)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PATIENT, "sessions", "pin", session_id],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=program._environment({}),
        )
        for session_id in ids
    ]  # fmt: skip
    ended = [(process.communicate(timeout=TIMEOUT_SECONDS)[1], process.returncode) for process in processes]
    assert [code for _, code in ended] == [0] * 5, ended
    assert all(b'"pinned":true' in (program.sessions_dir / f"{session_id}.json").read_bytes() for session_id in ids)
