"""``chat`` through a gateway that runs: the same conversation, also when the gateway is killed in its middle."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from miniclaw.session.names import make_session_id
from tests.fakes.gateway_process import TIMEOUT_SECONDS, GatewayProcess
from tests.fakes.program import Program
from tests.fakes.samples import said_in
from tests.fakes.told_model import HOLDING, REST, ToldModel, open_told_model


@pytest.fixture
def model() -> Iterator[ToldModel]:
    with open_told_model() as model:
        yield model


@pytest.fixture
def gateway(program: Program, model: ToldModel) -> Iterator[GatewayProcess]:
    """A gateway that runs on the program's home."""
    gateway = GatewayProcess(program.home, model.base_url)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.kill()


def read_until(process: subprocess.Popen[bytes], text: str) -> None:
    """Wait until a program has printed just this."""
    assert process.stdout is not None
    shown = b""
    while shown != text.encode():
        assert select.select([process.stdout], [], [], TIMEOUT_SECONDS)[0], shown
        chunk = os.read(process.stdout.fileno(), 65_536)
        assert chunk, shown
        shown += chunk


def test_chat_through_a_gateway_is_the_same_conversation(program: Program, gateway: GatewayProcess) -> None:
    """One message, lines from a pipe, what was said before: all as without a gateway, and the gateway's agent answers."""
    first = program.run("chat", "--as", "me", "-m", "hello")
    assert (first.code, first.out, first.err) == (0, "You said: hello \n", "")
    second = program.run("chat", "--as", "me", stdin="one\n\ntwo")
    assert second.code == 0
    assert [line.rstrip() for line in second.lines] == [
        "> hello", "  You said: hello", "You said: one", "You said: two",
    ]  # fmt: skip
    assert gateway.said("me", "console") == [
        pair for text in ("hello", "one", "two") for pair in (("user", text), ("assistant", f"You said: {text}"))
    ]


def test_chat_through_a_gateway_that_is_killed_and_comes_back_loses_and_doubles_nothing(
    program: Program, gateway: GatewayProcess, model: ToldModel
) -> None:
    """An answer that a kill -9 cut off goes on where it was; the message is there once, and so is its answer."""
    command = [sys.executable, "-m", "miniclaw", "chat", "--as", "me", "-m", "hold"]
    environment = os.environ | {"MINICLAW_HOME": str(program.home)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        read_until(process, HOLDING)
        gateway.kill()
        model.go_on.set()
        gateway.start()
        out, err = process.communicate(timeout=TIMEOUT_SECONDS)
        assert (process.returncode, out.decode(), err.decode()) == (0, REST + "\n", "")
    assert gateway.said("me", "console") == [("user", "hold"), ("assistant", HOLDING + REST)]


IMPATIENT = """
import os
from miniclaw.cli.chat.gateway_socket import GatewaySocket
silence = property(lambda self: 1 if os.path.exists({mark!r}) else 20, lambda self, seconds: None)
GatewaySocket._silence_seconds = silence
from miniclaw.cli import main; main()
"""
"""The program, which bears less silence once a file is there: until then its gateway is only slow."""


def test_chat_through_a_gateway_that_is_stopped_in_an_answer_gives_up(
    program: Program, gateway: GatewayProcess, model: ToldModel, tmp_path: Path
) -> None:
    """An answer may take its time, but a stopped process answers no ping; the sentence names it."""
    mark = tmp_path / "stopped"
    command = [sys.executable, "-c", IMPATIENT.format(mark=str(mark)), "chat", "--as", "me", "-m", "hold"]
    environment = os.environ | {"MINICLAW_HOME": str(program.home)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        read_until(process, HOLDING)
        os.kill(gateway.pid, signal.SIGSTOP)
        mark.touch()
        _, err = process.communicate(timeout=TIMEOUT_SECONDS)
    model.go_on.set()
    assert process.returncode == 1
    assert err.decode().startswith(f"miniclaw: The gateway (process {gateway.pid}) does not answer; is it stopped?")


def test_chat_through_a_gateway_failed_answer_is_exit_code_1(program: Program, gateway: GatewayProcess) -> None:
    """A sorry is no answer, and neither is a message that is too long to be sent."""
    broken = program.run("chat", "--as", "me", "-m", "break off")
    assert broken.code == 1
    assert broken.out.startswith("Half\n\nThe answer ends here")
    too_long = program.run("chat", "--as", "me", stdin="x" * 100_001 + "\nhello\n")
    assert too_long.code == 1
    assert too_long.lines[-2:] == [
        "The message was not sent: 100,000 characters can be sent at once.", "You said: hello ",
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["\x04", "\x03"], ids=["ctrl-d", "ctrl-c"])
def test_chat_through_a_gateway_on_a_terminal_ends_quietly(program: Program, gateway: GatewayProcess, end: str) -> None:
    """The prompt is there, a line is answered below it, and Ctrl-D and Ctrl-C end the conversation well."""
    result = program.run_on_terminal("chat", "--as", "me", prompt="> ", answer=end)
    assert result.code == 0
    assert result.out.startswith("> ")


@pytest.mark.parametrize("name", ["a\nb", "x" * 992, "\U0001f600" * 992, "\x1b[31m"])
def test_chat_through_a_gateway_odd_name_is_a_session_of_its_own(
    program: Program, gateway: GatewayProcess, name: str
) -> None:
    """Whatever a person is called, they have their conversation here as well."""
    result = program.run("chat", "--as", name, "-m", "hello")
    assert (result.code, result.out) == (0, "You said: hello \n")
    assert said_in(program.sessions_dir, make_session_id("console", name))[0] == ("user", "hello")


def test_chat_too_long_name_is_refused_either_way(program: Program, model: ToldModel) -> None:
    """The sentence is the same with a gateway and without, and no session is made."""
    alone = program.run("chat", "--as", "x" * 993, "-m", "hello")
    gateway = GatewayProcess(program.home, model.base_url)
    gateway.start()
    try:
        through = program.run("chat", "--as", "x" * 993, "-m", "hello")
    finally:
        gateway.kill()
    assert (alone.code, alone.err) == (through.code, through.err)
    assert alone.err.endswith("a session id has 1,000 characters at the most here\n")
    assert program.files() == set()


def test_chat_through_a_gateway_in_a_deep_directory_works(tmp_path: Path, model: ToldModel) -> None:
    """A socket whose path is longer than an address can be is found all the same."""
    program = Program(tmp_path.joinpath(*["a long name of a directory"] * 8))
    gateway = GatewayProcess(program.home, model.base_url)
    gateway.start()
    try:
        assert program.run("chat", "--as", "me", "-m", "hello").out == "You said: hello \n"
    finally:
        gateway.kill()


def test_chat_with_a_dead_gateways_socket_is_carried_on_alone(program: Program) -> None:
    """A socket that nobody listens at is no gateway."""
    path = program.home / "workspace" / "gateway.sock"
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    result = program.run("chat", "--as", "me", "-m", "hello")
    assert (result.code, result.out, result.err) == (0, "hello\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_chat_message_that_is_ended_before_its_answer_has_failed(
    program: Program, gateway: GatewayProcess, number: signal.Signals
) -> None:
    """Half an answer is no success to a script."""
    command = [sys.executable, "-m", "miniclaw", "chat", "--as", "me", "-m", "hold"]
    environment = os.environ | {"MINICLAW_HOME": str(program.home)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        read_until(process, HOLDING)
        process.send_signal(number)
        assert process.wait(TIMEOUT_SECONDS) == 1


def test_chat_message_that_is_no_utf8_is_said_as_far_as_it_is(program: Program, gateway: GatewayProcess) -> None:
    """Bytes that are no text are one replacement character each, as in a line that is piped in."""
    done = program.run("chat", "--as", "me", "-m", os.fsdecode(b"\xffhello"))
    assert (done.code, done.out) == (0, "You said: \ufffdhello \n")


def test_chat_through_a_gateway_that_is_killed_right_after_it_has_what_was_said(
    program: Program, gateway: GatewayProcess
) -> None:
    """The command ends only when its message is durable: no tick of the gateway is needed for it."""
    for number in range(3):
        assert program.run("chat", "--as", "me", "-m", f"precious {number}").code == 0
        gateway.kill()
        said = [text for role, text in said_in(program.sessions_dir, "console_me") if role == "user"]
        assert said == [f"precious {each}" for each in range(number + 1)]
        gateway.start()
