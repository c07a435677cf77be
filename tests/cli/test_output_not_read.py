"""The real program with outputs that are not read: full pipes, a terminal that is stopped by Ctrl-S."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import httpx2
import pytest

from miniclaw.admin.client.client import GatewayClient
from miniclaw.web.access.token import TOKEN_NAME
from tests.fakes.gateway_beside import gateway_beside
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.program import Program
from tests.fakes.samples import said_in
from tests.fakes.stalled_pipe import StalledPipe, read_soon, stalled_pipe

SMALL_QUEUE = "from miniclaw import output_queue; output_queue.MAX_BYTES = 2000"
CTRL_S = b"\x13"


@pytest.fixture
def pipe() -> Iterator[StalledPipe]:
    with stalled_pipe() as pipe:
        yield pipe


def get(url: str, **headers: str) -> str:
    answer = httpx2.get(url, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False)
    assert answer.status_code == 200
    return answer.text


def test_gateway_whose_log_is_not_read_serves_saves_counts_and_ends(program: Program, pipe: StalledPipe) -> None:
    """Nothing waits for the log; what it has lost is counted, and told in it once it is read."""
    program.write_config("[log]\nlevel = 'debug'\n")
    with gateway_beside(program, prepared_by=SMALL_QUEUE, log=pipe.writer) as process:
        (url,) = GatewayClient(program.home / "workspace").gateway().addresses
        get(f"{url}/healthz")
        assert program.run("chat", "--as", "me", "-m", "precious").out == "precious\n"
        assert said_in(program.sessions_dir, "console_me")[0] == ("user", "precious")
        for _ in range(20):
            get(f"{url}/healthz")
        dropped = program.run("status", "--json").json["gateway"]["log_records_dropped"]
        assert dropped > 10
        token = (program.home / "workspace" / TOKEN_NAME).read_text().strip()
        metrics = get(f"{url}/metrics", authorization=f"Bearer {token}")
        counted = re.search(r"^miniclaw_log_records_dropped_total (\S+)$", metrics, re.MULTILINE)
        assert counted is not None
        assert float(counted[1]) >= dropped
        lines = pipe.read_until(b'"records":').splitlines()
        (told,) = [json.loads(line)["records"] for line in lines if b'"records":' in line]
        assert told >= dropped
        get(f"{url}/healthz")
        pipe.read_until(b'"/healthz"')  # and the log goes on
        pipe.fill()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


@contextmanager
def called(
    program: Program, module: str, function: str, *args: str, prepared_by: str = "", **streams: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program around a block, which begins when it calls a function. It is killed after the block."""
    reader, writer = os.pipe()
    prepared_by += (
        f"\nimport os, {module} as module\ncalled = module.{function}\n"
        f"module.{function} = lambda *args: (os.write({writer}, b'!'), called(*args))[1]\n"
    )
    command = [sys.executable, "-c", f"{prepared_by}from miniclaw.cli import main; main()", *args]
    with subprocess.Popen(command, pass_fds=[writer], env=program._environment({}), **streams) as process:
        try:
            os.close(writer)
            assert read_soon(reader) == b"!", "it has ended before"
            yield process
        finally:
            os.close(reader)
            process.kill()


STARTED = ("miniclaw.gateway", "_log_started")
PRINTS = ("miniclaw.channels.console", "write_all")
GATEWAY = ("gateway", "--port", "0")


def test_gateway_whose_standard_output_is_not_read_runs_and_ends(program: Program, pipe: StalledPipe) -> None:
    """The address that it prints holds up nothing."""
    with called(program, *STARTED, *GATEWAY, stdout=pipe.writer, stderr=subprocess.DEVNULL) as process:
        assert program.run("chat", "--as", "me", "-m", "hello").out == "hello\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0


def test_gateway_on_a_terminal_that_is_stopped_runs_and_ends(program: Program) -> None:
    """Ctrl-S stops what is shown, and nothing else."""
    master, terminal = pty.openpty()
    try:
        os.write(master, CTRL_S)
        with called(program, *STARTED, *GATEWAY, stdin=terminal, stdout=terminal, stderr=terminal) as process:
            assert program.run("chat", "--as", "me", "-m", "hello").out == "hello\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_SECONDS) == 0
            os.set_blocking(master, False)
            with pytest.raises(BlockingIOError):  # it was really stopped
                os.read(master, 1)
    finally:
        os.close(terminal)
        os.close(master)


CRASHES = """
import miniclaw.gateway as gateway
def crash(*_): raise RuntimeError("a bug")
gateway._warn_of_strange_channels = crash
"""


@pytest.mark.parametrize(
    ("config", "prepared_by", "code"), [("[session]\nttl = 0\n", "", 2), ("", CRASHES, 1)], ids=["refused", "crash"]
)
def test_gateway_that_fails_ends_though_nothing_reads_why(
    program: Program, pipe: StalledPipe, config: str, prepared_by: str, code: int
) -> None:
    """A sentence for the person, or a traceback, waits for its reader as long as the log does: a second."""
    program.write_config(config)
    command = [sys.executable, "-c", f"{prepared_by}\nfrom miniclaw.cli import main; main()", *GATEWAY]
    with subprocess.Popen(command, stderr=pipe.writer, env=program._environment({})) as process:
        try:
            assert process.wait(PATIENCE_SECONDS) == code
        finally:
            process.kill()


@pytest.mark.parametrize("remote", [False, True], ids=["alone", "through a gateway"])
def test_chat_whose_answers_are_not_read_is_saved_and_ends(program: Program, pipe: StalledPipe, remote: bool) -> None:
    """A terminal that is stopped holds up its conversation; what was said is on the disk, and a signal ends it."""
    with gateway_beside(program) if remote else nullcontext():
        chat = ("chat", "--as", "me", "-m", "precious")
        with called(program, *PRINTS, *chat, stdout=pipe.writer, stderr=pipe.writer) as process:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_SECONDS) == 1
    assert said_in(program.sessions_dir, "console_me")[0] == ("user", "precious")
