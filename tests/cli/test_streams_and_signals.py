"""The program without somebody at the other end: closed and full outputs, a terminal that goes away, Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.fakes.program import TIMEOUT_SECONDS, Program
from tests.fakes.samples import write_session
from tests.fakes.work_folder import left_in_work


def shell(program: Program, command: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command in which ``$M`` is the program."""
    environment = {**os.environ, "MINICLAW_HOME": str(program.home), "M": f"{sys.executable} -m miniclaw"}
    return subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("$M chat --as me -m hello >&-", 0),
        ("$M chat --as me -m hello 2>&-", 0),
        ("$M sessions list >&-", 0),
        ("$M chat --as me -m hello >/dev/full", 1),
        ("$M sessions list >/dev/full", 1),
        ("$M sessions show web_a --json >/dev/full", 1),
        ("$M chat --as me <&-", 2),
        ("$M config show | true", 0),
    ],
)
def test_output_that_goes_nowhere_is_no_traceback(program: Program, command: str, code: int) -> None:
    """Closed and full outputs are told by the exit code and a sentence, where there is somewhere to say it."""
    program.add("web_a", days=1)
    result = shell(program, command)
    assert result.returncode == code, result
    assert "Traceback" not in result.stderr


def test_log_that_cannot_be_written_ends_nothing(program: Program) -> None:
    """With standard error on a full disk the conversation is held and saved all the same."""
    program.add("telegram_bad", days=1).write_text("{bad")
    assert shell(program, "echo hello | $M chat --as me 2>/dev/full").returncode == 0
    assert "console_me.json" in program.files()


def test_chat_that_could_not_be_saved_fails(program: Program) -> None:
    """An answer is no success where the message is lost: the exit code says so, and the sentence which."""
    program.add("console_me", days=1)
    (program.sessions_dir / "console_me.json").rename(program.sessions_dir / "kept")
    obstacle = program.sessions_dir / "console_me.json"
    command = f"(echo hello; until [ -e {program.sessions_dir}/go ]; do :; done) | $M chat --as me"
    environment = {**os.environ, "MINICLAW_HOME": str(program.home), "M": f"{sys.executable} -m miniclaw"}
    with subprocess.Popen(
        ["bash", "-c", command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as chat:
        assert chat.stdout is not None
        assert chat.stdout.readline() == "hello\n"
        (program.sessions_dir / ".quarantine").touch()  # nothing can be moved there
        obstacle.mkdir()
        shutil.rmtree(program.sessions_dir / ".journal", ignore_errors=True)
        (program.sessions_dir / ".journal").touch()
        (program.sessions_dir / "go").touch()
        _, error = chat.communicate(timeout=TIMEOUT_SECONDS)
    assert chat.returncode == 1
    assert "could not be saved: console_me" in error
    assert "Traceback" not in error


def test_chat_on_a_terminal_that_is_closed_is_saved(program: Program) -> None:
    """SIGHUP ends a chat as every other signal does: what was said is saved."""
    environment = {**os.environ, "MINICLAW_HOME": str(program.home)}
    with subprocess.Popen(
        [sys.executable, "-m", "miniclaw", "chat", "--as", "me"],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as chat:  # fmt: skip
        assert chat.stdin is not None
        assert chat.stdout is not None
        chat.stdin.write("precious\n")
        chat.stdin.flush()
        assert chat.stdout.readline() == "precious\n"
        chat.send_signal(signal.SIGHUP)
        assert chat.wait(TIMEOUT_SECONDS) == 0
    assert "precious" in (program.sessions_dir / "console_me.json").read_text()


def test_cleanup_interrupted_says_what_it_did(program: Program) -> None:
    """Ctrl-C ends a cleanup after its batch: the counts are told, nothing stays half done, the exit code is 1."""
    old = datetime.now(UTC) - timedelta(days=31)
    for number in range(4000):
        write_session(program.sessions_dir, f"web_{number}", old)
    program.write_config("[log]\nlevel = 'debug'\n")
    environment = {**os.environ, "MINICLAW_HOME": str(program.home)}
    with subprocess.Popen(
        [sys.executable, "-m", "miniclaw", "sessions", "cleanup", "--yes"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as cleanup:  # fmt: skip
        assert cleanup.stderr is not None
        assert next(line for line in cleanup.stderr if "Session removed" in line)
        cleanup.send_signal(signal.SIGINT)
        out, error = cleanup.communicate(timeout=TIMEOUT_SECONDS)
    assert cleanup.returncode == 1
    assert "Interrupted" in error
    removed = 4000 - len(list(program.sessions_dir.glob("*.json")))
    assert 0 < removed < 4000
    assert f"{removed:,} removed" in out
    assert left_in_work(program.sessions_dir) == []


def test_chat_cleans_nothing_up(program: Program) -> None:
    """A chat is not there to stay: it leaves other people's expired sessions to the gateway and to the command."""
    program.add("web_old", days=400)
    (program.home / "config.toml").write_text('[session]\nnotice = "off"\n')
    assert program.run("chat", "--as", "me", "-m", "hello").code == 0
    assert "web_old.json" in program.files()


def test_config_home_that_is_no_unicode_is_shown(tmp_path: Path) -> None:
    """A home whose name is not UTF-8 is shown escaped."""
    home = os.fsencode(tmp_path) + b"/h\xff"
    environment = {**os.environ, "MINICLAW_HOME": os.fsdecode(home)}
    result = subprocess.run(
        [sys.executable, "-m", "miniclaw", "config", "show", "--json"],
        env=environment, capture_output=True, timeout=TIMEOUT_SECONDS, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result
    assert b"Traceback" not in result.stderr


def test_terminal_without_unicode_gets_escapes(program: Program) -> None:
    """A locale whose encoding lacks a character ends no command."""
    ids = ["web_\u00e9", "web_\U0001f600", *(f"web_{number}" for number in range(25))]
    for session_id in ids:
        program.add(session_id, days=1)
    command = ["-m", "miniclaw", "sessions", "delete", "--yes", "--channel", "web"]
    environment = {**os.environ, "MINICLAW_HOME": str(program.home), "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
    )
    assert (done.returncode, program.files()) == (0, set()), done
    assert b"\\u2026 and " in done.stdout
    done = subprocess.run(
        [sys.executable, "-m", "miniclaw", "trash", "list"],
        env=environment, capture_output=True, timeout=TIMEOUT_SECONDS, check=False,
    )  # fmt: skip
    assert b"web_\xe9" in done.stdout
    assert b"web_\\U0001f600" in done.stdout
