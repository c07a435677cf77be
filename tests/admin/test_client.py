"""The client of a running gateway: it says what is wrong in one sentence, whatever answers at the socket, or does not."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from miniclaw import errors
from miniclaw.admin.client import client as client_module
from miniclaw.admin.client.client import GatewayClient
from miniclaw.admin.client.messages import Failure, error_of, failure
from miniclaw.admin.client.remote import RemoteOperations
from miniclaw.errors import (
    ConfigError,
    GatewayBusyError,
    GatewayError,
    GatewayStalledError,
    MiniclawError,
    NoGatewayError,
    SessionExistsError,
    SessionNotFoundError,
)
from tests.fakes.patience import PATIENCE_SECONDS


@contextmanager
def answering(workspace: Path, answer: bytes, *, stays: bool = False) -> Iterator[list[bytes]]:
    """Answer at the socket with these bytes, whatever is asked, and close, unless it stays. Gives what was asked."""
    asked: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    folder = os.open(workspace, os.O_RDONLY)
    listener.bind(f"/proc/self/fd/{folder}/gateway.sock")
    os.close(folder)
    listener.listen()
    done = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(65_536))
            with suppress(BrokenPipeError):  # a client that has given up already
                connection.sendall(answer)
            if stays:
                done.wait(PATIENCE_SECONDS)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
    finally:
        done.set()
        thread.join(PATIENCE_SECONDS)
        listener.close()


def http(status: int, body: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body.encode())}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


OURS = "miniclaw-api: 1"


def test_client_without_a_socket_says_that_nobody_answers(tmp_path: Path) -> None:
    """No socket, and no workspace at all."""
    for workspace in (tmp_path, tmp_path / "none"):
        client = GatewayClient(workspace)
        with pytest.raises(NoGatewayError, match=r"gateway\.sock: no gateway answers there"):
            client.config()


def test_client_at_a_socket_that_was_left_behind_says_that_nobody_answers(tmp_path: Path) -> None:
    """A gateway that was killed leaves its socket."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "gateway.sock"))
    client = GatewayClient(tmp_path)
    with pytest.raises(NoGatewayError):
        client.save()


def test_client_of_what_is_no_socket_says_what_the_system_says(tmp_path: Path) -> None:
    """Whatever lies there, it is one sentence."""
    (tmp_path / "gateway.sock").write_text("no socket")
    with pytest.raises(GatewayError, match=r"no gateway answers there|could not connect"):
        GatewayClient(tmp_path).config()


def test_client_reaches_a_socket_whose_path_is_too_long(tmp_path: Path) -> None:
    """A workspace may lie as deep as it likes."""
    workspace = tmp_path / ("x" * 100) / ("y" * 100)
    workspace.mkdir(parents=True)
    with answering(workspace, http(200, '{"config": {"a": {"b": 1}}}', OURS)) as asked:
        assert GatewayClient(workspace).config() == {"a": {"b": 1}}
    assert asked[0].startswith(b"GET /api/v1/config HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "the gateway ended before it had answered; `miniclaw history` shows what it removed until then"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", "the gateway ended before it had answered"),
        (b"SSH-2.0\r\n", "the gateway ended before it had answered"),
        (http(200, "{}"), "has another version of miniclaw than this command (its API is none that this command knows"),
        (http(200, "{}", "miniclaw-api: 2"), "(its API is version 2, not version 1); restart it"),
        (http(404, "Not Found"), "has another version of miniclaw"),
        (http(200, "[]", OURS), "the answer of the gateway is not understood"),
        (http(200, "\x00", OURS), "the answer of the gateway is not understood"),
        (http(500, "oops"), "the gateway refuses: it answers 500, and does not say why"),
        (http(429, '{"title":"","status":429,"detail":"too many"}'), "the gateway refuses: too many"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_client_of_a_gateway_that_answers_wrongly(tmp_path: Path, answer: bytes, says: str) -> None:
    """One sentence that says what is wrong with the gateway, and what to do where something can be done."""
    with answering(tmp_path, answer), pytest.raises(GatewayError) as caught:
        GatewayClient(tmp_path).config()
    assert says in str(caught.value)


def test_client_of_a_gateway_that_only_gives_signs_of_life_waits_for_a_save_so_long_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person who looks does not wait for ever, though the gateway is no stopped one."""
    monkeypatch.setattr(client_module, "SAVE_SECONDS", 0)
    signs = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nminiclaw-progress: 1\r\n\r\n1\r\n\n\r\n"
    with answering(tmp_path, signs, stays=True), pytest.raises(GatewayBusyError, match="still at work after 0 s"):
        GatewayClient(tmp_path).save()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"], ids=["nothing", "a part"])
def test_client_of_a_gateway_that_is_silent_gives_up_and_does_not_ask_again(tmp_path: Path, answer: bytes) -> None:
    """Silence counts from the last byte; the second call ends at once, though the server takes no more."""
    with answering(tmp_path, answer, stays=True) as asked:
        client = GatewayClient(tmp_path, silence_seconds=0.05)
        for _ in range(2):
            with pytest.raises(GatewayStalledError, match=r"does not answer; is it stopped\?") as caught:
                client.config()
            assert caught.value.pid == os.getpid()
    assert len(asked) == 1


def test_client_of_an_answer_that_was_delayed_takes_its_real_status(tmp_path: Path) -> None:
    """White space before it counts as life, and a refusal is raised as the error that it is."""
    problem = '{"title":"","status":404,"detail":"no session \'web_a\'","error":"SessionNotFoundError"}'
    late = f'\n\n{{"status":404,"body":{problem}}}'
    with answering(tmp_path, http(200, late, OURS, "miniclaw-progress: 1")), pytest.raises(SessionNotFoundError):
        trio.run(RemoteOperations(GatewayClient(tmp_path)).set_pinned, "web_a", True)


@pytest.mark.parametrize("call", ["delete", "config"])
def test_client_of_a_silent_gateway_says_what_may_still_happen(tmp_path: Path, call: str) -> None:
    """An order that reached a stopped process is carried out when that goes on; a question is not."""
    client = GatewayClient(tmp_path, silence_seconds=0.05)
    ask = partial(trio.run, RemoteOperations(client).delete, ["web_a"]) if call == "delete" else client.config
    with answering(tmp_path, b"", stays=True), pytest.raises(GatewayStalledError) as caught:
        ask()
    assert ("It may still carry out the order" in str(caught.value)) == (call == "delete")


def test_client_raises_again_what_the_gateway_tells(tmp_path: Path) -> None:
    """The same class, so that the exit code is the same, and the same text."""
    problem = '{"title":"","status":404,"detail":"no session \'web_a\'","error":"SessionNotFoundError"}'
    with answering(tmp_path, http(404, problem, OURS)), pytest.raises(SessionNotFoundError) as caught:
        trio.run(RemoteOperations(GatewayClient(tmp_path)).set_pinned, "web_a/b", True)
    assert str(caught.value) == "no session 'web_a'"


@pytest.mark.parametrize(
    "kind",
    [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MiniclawError)],
)
def test_every_error_is_itself_again(kind: type[MiniclawError]) -> None:
    """Also those that take more than a text."""
    error = error_of(Failure(kind.__name__, "a sentence"))
    assert type(error) is kind
    assert str(error) == "a sentence"
    assert failure(error) == Failure(kind.__name__, "a sentence")


@pytest.mark.parametrize("name", ["", "ValueError", "SystemExit", "annotations", "Path", "NoSuchError"])
def test_what_is_no_error_of_ours_is_a_plain_one(name: str) -> None:
    """A name from outside makes nothing but errors."""
    error = error_of(Failure(name, "a sentence"))
    assert type(error) is MiniclawError
    assert str(error) == "a sentence"


def test_failure_is_safe_to_show() -> None:
    """Names of strangers are in the texts of errors."""
    assert failure(SessionExistsError(Path("x"), "web_\x1b[31m")).detail.count("\x1b") == 0
    assert failure(ConfigError(None, "wrong", key="a")) == Failure("ConfigError", "a: wrong")
