"""Signals: which end the gateway, which mean nothing, and which are not received at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from miniclaw.config import Config, Home
from miniclaw.daemon import signals
from miniclaw.daemon.early_signals import STRAY
from miniclaw.gateway import Running, run_gateway
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.program import Program
from tests.fakes.signalled import Signalled, ignoring, signalled_gateway


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "home")


def test_every_signal_ends_means_nothing_or_is_known_to_kill() -> None:
    """No signal of this system was forgotten."""
    crashes = {"SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGSEGV", "SIGSYS", "SIGKILL", "SIGEMT"}
    # What does not kill: the interpreter ignores the first two, the system stops for some and ignores the others.
    harmless = {"SIGPIPE", "SIGXFSZ", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGCHLD", "SIGCONT", "SIGURG"}
    harmless |= {"SIGWINCH", "SIGINFO"} | ({"SIGIO"} if sys.platform == "darwin" else set())
    received = {signals.name_of(number) for number in (*signals.ENDING, *STRAY)} | {"SIGHUP"}
    assert {signals.name_of(number) for number in signal.valid_signals()} <= received | crashes | harmless
    assert not received & (crashes | harmless)


def test_gateway_stray_signals_mean_nothing(program: Program) -> None:
    """An administrator's slip kills nothing: what was said and is not saved yet is saved at the end."""
    program.write_config("[session]\npersistence_interval = '1h'\n")
    with signalled_gateway(program) as gateway:
        for number in sorted(STRAY):
            name = signals.name_of(number)
            assert gateway.send(number, "Signal ignored")["signal"] == name
        assert program.run("chat", "--as", "me", "-m", "precious").out == "precious\n"
        assert gateway.end() == 0
    assert "precious" in (program.sessions_dir / "console_me.json").read_text()


@pytest.mark.parametrize("number", sorted(signals.ENDING - {signal.SIGTERM, signal.SIGINT}), ids=signals.name_of)
def test_gateway_signals_that_ask_for_the_end_end_it_cleanly(program: Program, number: int) -> None:
    """Ctrl-\\ as well as a power supply that fails: the sessions are flushed."""
    with signalled_gateway(program) as gateway:
        assert gateway.end(number) == 0


EARLY = """
import os, sys

class Sender:
    def find_spec(self, name, *_):
        if name == "miniclaw.cli":
            for number in sys.argv.pop().split(","):
                os.kill(os.getpid(), int(number))

sys.meta_path.insert(0, Sender())
from miniclaw.__main__ import main
main()
"""
"""The program, which sends itself the signals of its last argument when it imports the first of its parts."""


def early_gateway(program: Program, *numbers: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", EARLY, "gateway", "--port", "0", ",".join(str(int(number)) for number in numbers)],
        env=program._environment({}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def test_gateway_signals_during_its_imports_mean_what_they_mean_later(program: Program) -> None:
    """SIGHUP and a stray signal do not kill a gateway that is only starting, and are not forgotten."""
    with early_gateway(program, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR1) as process:
        try:
            gateway = Signalled(process)
            gateway.read_until("Gateway started")
            barrier(gateway)
            if "Configuration reloaded" not in [event["event"] for event in gateway.events]:
                gateway.read_until("Configuration reloaded")
            assert gateway.end() == 0
        finally:
            process.kill()
    assert [event["signal"] for event in gateway.events if event["event"] == "Signal ignored"] == ["SIGUSR1"] * 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_gateway_signals_that_ask_for_the_end_end_it_during_its_imports(program: Program, number: int) -> None:
    """A gateway that has opened nothing yet ends at once."""
    with early_gateway(program, number) as process:
        assert process.wait(PATIENCE_SECONDS) == -number


IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def barrier(gateway: Signalled) -> None:
    """Return when the signals that were sent before have been received, if they are."""
    gateway.send(signal.SIGUSR1, "Signal ignored")


def test_gateway_signals_that_were_ignored_at_the_start_stay_ignored(program: Program) -> None:
    """As ``nohup`` and the background jobs of a shell want it."""
    with signalled_gateway(program, ignored=IGNORED) as gateway:
        for number in IGNORED:
            gateway.process.send_signal(number)
        barrier(gateway)
        assert "Signal received" not in [event["event"] for event in gateway.events]
        assert gateway.end(signal.SIGQUIT) == 0


def test_gateway_under_nohup_outlives_its_terminal(program: Program) -> None:
    """The command of that name, not only what it does."""
    command = ["nohup", sys.executable, "-m", "miniclaw", "gateway", "--port", "0"]
    with subprocess.Popen(
        command,
        env=program._environment({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            gateway = Signalled(process)
            gateway.read_until("Gateway started")
            process.send_signal(signal.SIGHUP)
            barrier(gateway)
            assert gateway.end() == 0
        finally:
            process.kill()
    assert "SIGHUP" not in [event.get("signal") for event in gateway.events]


def test_chat_in_the_background_is_not_ended_by_the_shells_ctrl_c(program: Program) -> None:
    """SIGINT that was ignored at the start stays so, for a chat too; SIGTERM ends it."""
    program.write_config("[log]\nlevel = 'debug'\n")
    command = ignoring([signal.SIGINT], sys.executable, "-m", "miniclaw", "chat", "--as", "me")
    with subprocess.Popen(
        command, env=program._environment({}), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            chat = Signalled(process)
            chat.read_until("Gateway started")
            process.send_signal(signal.SIGINT)
            barrier(chat)
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"precious\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"precious\n"
            assert chat.end() == 0
        finally:
            process.kill()
    assert "precious" in (program.sessions_dir / "console_me.json").read_text()


# In a program of one's own -------------------------------------------------------------------------------------


async def test_run_gateway_without_a_reload_ends_by_sighup(tmp_path: Path, logs: LogRecorder) -> None:
    """A program that does not say how to reload keeps what it had."""
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: trio.TaskStatus[Running]) -> None:
            await run_gateway(Config(), Home(tmp_path), task_status=task_status)

        await nursery.start(run)
        os.kill(os.getpid(), signal.SIGHUP)
    assert logs.one("Signal received")["signal"] == "SIGHUP"
    assert logs.one("Gateway stopped")


async def test_run_gateway_leaves_the_programs_own_handlers_alone(
    tmp_path: Path, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that uses SIGUSR1 itself goes on hearing it; after the end all is as it was."""
    heard = trio.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.set())
    try:
        async with trio.open_nursery() as nursery:

            async def run(*, task_status: trio.TaskStatus[Running]) -> None:
                await run_gateway(Config(), Home(tmp_path), task_status=task_status)

            await nursery.start(run)
            os.kill(os.getpid(), signal.SIGUSR1)
            with trio.fail_after(PATIENCE_SECONDS):
                await heard.wait()
            os.kill(os.getpid(), signal.SIGUSR2)
            os.kill(os.getpid(), signal.SIGTERM)
        assert [event["signal"] for event in logs.named("Signal ignored")] == ["SIGUSR2"]
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR1, before)
