"""A stopped process behind the socket: the client gives up by its own clock, and says which process it is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from miniclaw.admin.client.client import GatewayClient
from miniclaw.admin.client.messages import Stopping
from miniclaw.admin.client.remote import RemoteOperations, RemoteQuarantine
from miniclaw.errors import GatewayError, GatewayStalledError
from miniclaw.session.files.directory import SessionDirectory

SILENCE_SECONDS = 0.2
BACKLOG = 1

_LISTEN = """
import socket, sys
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen(int(sys.argv[2]))
    print("listening", flush=True)
    sys.stdin.read()
"""


@contextmanager
def stopped_listener(path: Path) -> Iterator[int]:
    """Have a process listen at a socket, and stop it; gives its id."""
    with subprocess.Popen(
        [sys.executable, "-c", _LISTEN, str(path), str(BACKLOG)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"listening\n"
            process.send_signal(signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)  # it is stopped now
            yield process.pid
        finally:
            process.kill()


@pytest.fixture
def pid(tmp_path: Path) -> Iterator[int]:
    """A stopped process at the socket of the workspace."""
    with stopped_listener(tmp_path / "gateway.sock") as pid:
        yield pid


CALLS: dict[str, Callable[[GatewayClient], object]] = {
    "config": GatewayClient.config,
    "gateway": GatewayClient.gateway,
    "save": GatewayClient.save,
    "delete": lambda client: trio.run(RemoteOperations(client).delete, ["web_a"]),
    # More than the buffers of a socket take, so that it cannot even be sent.
    "delete many": lambda client: trio.run(RemoteOperations(client).delete, ["x" * 1000] * 1000),
    "pin": lambda client: trio.run(RemoteOperations(client).set_pinned, "web_a", True),
    "cleanup": lambda client: trio.run(RemoteOperations(client).cleanup),
    "stop": lambda client: client.ask("POST", "/cleanup/stop", Stopping),
    "restore": lambda client: trio.run(RemoteOperations(client).restore, "web_a"),
    "empty": lambda client: trio.run(RemoteOperations(client).empty_trash, ["a"]),
    "add": lambda client: trio.run(RemoteQuarantine(client).add, ["web_a.json"]),
    "restore quarantined": lambda client: trio.run(RemoteQuarantine(client).restore, "web_a"),
    "delete quarantined": lambda client: trio.run(RemoteQuarantine(client).delete, ["web_a"]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_client_of_a_stopped_process_gives_up_and_names_it(
    tmp_path: Path, pid: int, call: Callable[[GatewayClient], object]
) -> None:
    """The kernel takes connections for it, and some bytes; no call waits longer than its silence."""
    with pytest.raises(GatewayStalledError) as caught:
        call(GatewayClient(tmp_path, silence_seconds=SILENCE_SECONDS))
    assert caught.value.pid == pid
    assert str(caught.value).startswith(
        f"The gateway (process {pid}) does not answer; is it stopped? `kill -CONT {pid}`"
    )


def test_client_of_a_stopped_process_with_a_full_backlog_gives_up_and_names_the_owner(tmp_path: Path, pid: int) -> None:
    """No connection tells the process then; the lock of the workspace does."""
    with SessionDirectory.open(tmp_path / "sessions", create=True) as directory:
        directory.own()
        waiting = []
        try:
            while True:
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].setblocking(False)
                try:
                    waiting[-1].connect(str(tmp_path / "gateway.sock"))
                except BlockingIOError:
                    break
            with pytest.raises(GatewayStalledError) as caught:
                GatewayClient(tmp_path, silence_seconds=SILENCE_SECONDS).config()
        finally:
            for each in waiting:
                each.close()
    assert caught.value.pid == os.getpid() != pid


def test_client_of_a_process_that_has_gone_meanwhile_says_that_it_ended(
    tmp_path: Path, pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process may leave a connection that says nothing any more: it is not a stopped one."""

    def gone(asked: int, number: int) -> None:
        assert (asked, number) == (pid, 0)
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", gone)
    with pytest.raises(GatewayError, match="the gateway ended before it had answered") as caught:
        GatewayClient(tmp_path, silence_seconds=SILENCE_SECONDS).config()
    assert not isinstance(caught.value, GatewayStalledError)
