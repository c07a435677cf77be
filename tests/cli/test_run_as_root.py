"""Commands that root runs in another person's workspace: that person goes on using it. Needs root itself."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_open_command import OPEN_WITH
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.program import TIMEOUT_SECONDS, Program, Result

UID, GID = 12345, 23456

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="giving files away needs root; tests/session/disk/test_files_of_root.py has the rules for everybody",
)

# Python may be where only root can read: the person may read all, and write only what is theirs.
AS_PERSON = (
    *("setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A person's home for miniclaw, without a workspace in it."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, UID, GID)
    return home


def owners(home: Path) -> dict[str, tuple[int, int]]:
    """Return who owns what is below a home, and is not the person's."""
    found = {str(path.relative_to(home)): path.lstat() for path in home.rglob("*")}
    assert found
    return {
        path: (status.st_uid, status.st_gid)
        for path, status in found.items()
        if (status.st_uid, status.st_gid) != (UID, GID)
    }


def run_as_person(home: Path, *args: str) -> Result:
    done = subprocess.run(
        [*AS_PERSON, sys.executable, "-m", "miniclaw", *args],
        env=os.environ | {"MINICLAW_HOME": str(home), "LOGNAME": "tester", "TERM": "dumb", "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False,
    )  # fmt: skip
    return Result(done.returncode, done.stdout, done.stderr)


def test_commands_that_root_runs_leave_nothing_of_roots(home: Path) -> None:
    """Chat, pin, cleanup and restoring, from an empty home on: all that they make is the person's, who goes on."""
    program = Program(home)
    program.write_config('[session]\ntrash_for = "7d"\n')
    os.chown(program.config_path, UID, GID)
    assert program.run("chat", "-m", "hello").code == 0
    assert owners(home) == {}
    assert program.run("sessions", "pin", "console_tester").code == 0
    for session_id in ("web_a", "web_b"):
        path = program.add(session_id, days=31)
        os.chown(path, UID, GID)
    assert program.run("sessions", "cleanup", "--yes").code == 0
    assert {path.name for path in program.sessions_dir.glob("*.json")} == {"console_tester.json"}
    assert program.run("trash", "restore", "web_a").code == 0
    damaged = program.sessions_dir / "console_other.json"
    damaged.write_text("{")
    os.chown(damaged, UID, GID)
    assert program.run("chat", "-m", "hello", "--as", "other").code == 0  # the damaged file goes to quarantine
    assert owners(home) == {}
    assert run_as_person(home, "chat", "-m", "and now I").code == 0
    assert "and now I" in (program.sessions_dir / "console_tester.json").read_text()
    assert run_as_person(home, "sessions", "cleanup", "--yes").code == 0
    assert run_as_person(home, "sessions", "delete", "web_a", "--yes").code == 0


def test_gateway_that_root_runs_leaves_nothing_of_roots_and_answers_its_person(home: Path) -> None:
    """Also its socket is the person's, who can ask it, and who can start a gateway when it is gone."""
    gateway = GatewayProcess(home, "http://127.0.0.1:9", forked=False)
    os.chown(home / "config.toml", UID, GID)
    (home / "log").touch()
    os.chown(home / "log", UID, GID)
    gateway.start()
    try:
        path = home / "workspace" / "gateway.sock"
        assert (path.stat().st_uid, path.stat().st_gid) == (UID, GID)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        assert owners(home) == {}
        assert run_as_person(home, "chat", "-m", "are you there", "--as", "me").code in {0, 1}  # it has no model
        assert "no gateway answers" not in gateway.log
        opening = OPEN_WITH.format(browser="/bin/true %s", users={"eve"})
        assert Program(home).run_python(opening, "open", "--at", "http://claw.lan").code == 0
        assert (home / "workspace" / "open.html").exists()
        assert owners(home) == {}
    finally:
        assert gateway.end(signal.SIGTERM) == 0
    assert owners(home) == {}
    assert "are you there" in (home / "workspace" / "sessions" / "console_me.json").read_text()
    assert run_as_person(home, "sessions", "pin", "console_me").code == 0


@pytest.mark.parametrize(
    "command", [("gateway", "--port", "0"), ("chat", "-m", "x"), ("sessions", "pin", "web_1"), ("sessions", "list")]
)
def test_command_of_root_is_not_led_astray_by_a_persons_link(
    home: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """A link in the place of the workspace is named and refused, and the directory it leads to stays as it was."""
    victim, link = tmp_path / "victim", home / "workspace"
    victim.mkdir(mode=0o755)
    before = victim.stat().st_mode
    link.symlink_to(victim)
    os.chown(link, UID, GID, follow_symlinks=False)
    result = Program(home).run(*command)
    assert result.code == 1
    assert f"{link}: it is a symbolic link of another user (uid {UID})" in result.err
    assert victim.stat().st_mode == before
    assert list(victim.iterdir()) == []
