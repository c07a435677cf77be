"""The gateway's Unix socket, whose file is deleted or replaced while it runs: commands find it again."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from miniclaw.web.server import server as server_module
from miniclaw.web.server.listening import SocketState, UnixListener, unix_listener
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.threads import until
from tests.fakes.web_server import open_test_server, read_head, request

AGAIN = "Gateway's socket was deleted; it is made again"
NOT_IN_PLACE = "Commands cannot reach the gateway at its socket"


look = UnixListener.look


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> threading.RLock:
    """Look all the time, but not while a test holds this lock: the server sees what a test does as one step."""
    lock = threading.RLock()

    def look_between_steps(self: UnixListener) -> SocketState:
        with lock:
            return look(self)

    monkeypatch.setattr(server_module, "SOCKET_CHECK_SECONDS", 0)
    monkeypatch.setattr(UnixListener, "look", look_between_steps)
    return lock


async def logged(logs: LogRecorder, event: str, times: int = 1) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        await until(lambda: len(logs.named(event)) >= times)


def leave_dead_socket(path: Path) -> None:
    """Put a socket there at which nobody listens, as a restored backup has."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


@pytest.mark.parametrize("replace", [lambda path: None, leave_dead_socket], ids=["deleted", "restored"])
async def test_socket_that_was_deleted_is_made_again(
    tmp_path: Path, logs: LogRecorder, at_once: threading.RLock, replace: Callable[[Path], None]
) -> None:
    """It is served again, as private as before, however often, and who is connected stays so."""
    path = tmp_path / "gateway.sock"
    descriptors = 0
    async with open_test_server(tmp_path) as running:
        async with await running.connect("unix") as kept:
            for times in range(1, 6):
                with at_once:
                    path.unlink()
                    replace(path)
                await logged(logs, AGAIN, times)
                assert (await running.get(over="unix")).status == 200
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
                if times == 2:
                    descriptors = len(os.listdir("/proc/self/fd"))
            assert len(os.listdir("/proc/self/fd")) <= descriptors + 1
            await kept.send_all(request(connection="close"))
            assert b"200" in await read_head(kept)
        assert (await running.get()).status == 200
    assert not path.exists()
    assert logs.named(NOT_IN_PLACE) == []


def make_file(path: Path) -> None:
    path.write_text("mine")


def make_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [make_file, Path.mkdir, make_link, os.mkfifo])
async def test_socket_that_was_replaced_by_something_else_leaves_that_alone(
    tmp_path: Path, logs: LogRecorder, at_once: threading.RLock, make: Callable[[Path], None]
) -> None:
    """What is no socket is not removed; one WARNING says so, and the socket is there again when that is gone."""
    path = tmp_path / "gateway.sock"
    async with open_test_server(tmp_path) as running:
        with at_once:
            path.unlink()
            make(path)
        before = path.lstat()
        await logged(logs, NOT_IN_PLACE)
        assert path.lstat() == before
        path.rmdir() if path.is_dir() else path.unlink()
        await logged(logs, AGAIN)
        assert (await running.get(over="unix")).status == 200
        assert len(logs.named(NOT_IN_PLACE)) == 1


async def test_socket_of_another_program_that_runs_is_left_to_it(
    tmp_path: Path, logs: LogRecorder, at_once: threading.RLock
) -> None:
    """A socket at which somebody answers is not stolen, while this gateway runs and when it ends."""
    path = tmp_path / "gateway.sock"
    async with open_test_server(tmp_path) as running:
        with ExitStack() as program:
            with at_once:
                other = program.enter_context(unix_listener(path))
            await logged(logs, NOT_IN_PLACE)
            assert other.look() == "ours"
        await logged(logs, AGAIN)
        assert (await running.get(over="unix")).status == 200


async def test_socket_whose_workspace_is_gone_waits_for_it(
    tmp_path: Path, logs: LogRecorder, at_once: threading.RLock
) -> None:
    """A workspace that was moved or unmounted is not made anew in its place; when it is back, so is the socket."""
    workspace = tmp_path / "workspace"
    async with open_test_server(workspace) as running:
        workspace.rename(tmp_path / "elsewhere")
        await logged(logs, NOT_IN_PLACE)
        assert not workspace.exists()
        with at_once:
            (tmp_path / "elsewhere").rename(workspace)
            (workspace / "gateway.sock").unlink()
        await logged(logs, AGAIN)
        assert (await running.get(over="unix")).status == 200
