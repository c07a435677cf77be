"""The end of the server: 0.1 s with clients of good will, under five seconds with any."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import trio
import trio_websocket
from trio.testing import MockClock, wait_all_tasks_blocked

from miniclaw.web.limits import DEFAULT_LIMITS, Limits
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.threads import until, wait_in_thread
from tests.fakes.web_server import Running, handshake, open_test_server, read_all, read_head, request

LONGEST_SECONDS = 5.0
LEFT = "Gateway's socket could not be removed, the disk does not answer; the next start removes it"
TENTH = Limits(
    drain_seconds=DEFAULT_LIMITS.drain_seconds / 10,
    drain_send_seconds=DEFAULT_LIMITS.drain_send_seconds / 10,
    linger_seconds=DEFAULT_LIMITS.linger_seconds / 10,
)


async def test_server_with_fifty_websockets_and_one_stalled_ends_in_time(
    tmp_path: Path, jumping_clock: MockClock
) -> None:
    """One client with a full pipe delays the end by its second; all others are told 1001."""
    codes: list[int] = []
    async with trio.open_nursery() as nursery:

        async def chat(running: Running, task_status: trio.TaskStatus[None]) -> None:
            async with running.websocket() as websocket:
                await websocket.send_message("hello")
                await websocket.get_message()
                task_status.started()
                with pytest.raises(trio_websocket.ConnectionClosed) as closed:
                    await websocket.get_message()
                assert closed.value.reason is not None
                codes.append(closed.value.reason.code)
                # trio-websocket leaves it open when it is the server that closes.
                await trio.aclose_forcefully(websocket._stream)

        async with open_test_server(tmp_path) as running:
            for _ in range(49):
                await nursery.start(chat, running)
            stalled = await running.connect()
            await stalled.send_all(handshake("/ws/flood"))
            await read_head(stalled)
            await wait_all_tasks_blocked(0.05)
            began = trio.current_time()
        took = trio.current_time() - began
    await trio.aclose_forcefully(stalled)
    assert codes == [1001] * 49
    assert took < LONGEST_SECONDS


@pytest.mark.parametrize("over", ["tcp", "unix"])
async def test_server_with_idle_connections_ends_at_once(tmp_path: Path, over: str, jumping_clock: MockClock) -> None:
    """Connections that wait for a request are closed without any grace, fresh ones and kept ones."""
    async with open_test_server(tmp_path) as running:
        streams = [await running.connect(over) for _ in range(20)]
        for stream in streams[:10]:
            await stream.send_all(request(connection="keep-alive"))
            await read_head(stream)
        await streams[15].send_all(b"GET / HT")
        await running.has_connections(20)
        began = trio.current_time()
    assert trio.current_time() - began < 1
    for stream in streams:
        with trio.fail_after(PATIENCE_SECONDS):
            await read_all(stream)
        await stream.aclose()


async def test_server_waits_for_a_request_that_is_being_answered(tmp_path: Path, jumping_clock: MockClock) -> None:
    """A handler at work has until the deadline; its answer is still sent."""
    async with trio.open_nursery() as nursery:
        answers: list[bytes] = []
        async with open_test_server(tmp_path) as running:
            stream = await running.connect()
            await stream.send_all(request(path="/hold", connection="keep-alive"))
            await running.app.held.wait()

            async def release() -> None:
                await running.app.drain.wait()
                running.app.release.set()
                answers.append(await read_all(stream))

            nursery.start_soon(release)
        await stream.aclose()
    assert answers[0].endswith(b"released")


async def test_server_cuts_a_request_that_takes_too_long(tmp_path: Path, jumping_clock: MockClock) -> None:
    """A handler that does not end is cancelled at the deadline."""
    async with open_test_server(tmp_path, limits=Limits(drain_seconds=0.3)) as running:
        stream = await running.connect()
        await stream.send_all(request(path="/hold"))
        await running.app.held.wait()
        began = trio.current_time()
    assert 0.3 <= trio.current_time() - began < 1
    await stream.aclose()


@pytest.mark.parametrize("over", ["tcp", "unix"])
@pytest.mark.parametrize("asked", [request(path="/endless"), handshake("/ws/flood"), handshake("/ws/deaf")])
async def test_server_with_stalled_clients_ends_in_time(
    tmp_path: Path, asked: bytes, over: str, jumping_clock: MockClock
) -> None:
    """Ten clients with full pipes, and handlers that do not know of the end, do not hold it up together."""
    async with open_test_server(tmp_path, limits=TENTH) as running:
        streams = [await running.connect(over) for _ in range(10)]
        for stream in streams:
            await stream.send_all(asked)
        await running.app.held.wait()
        await wait_all_tasks_blocked(0.05)
        began = trio.current_time()
    assert trio.current_time() - began < LONGEST_SECONDS / 10
    for stream in streams:
        await trio.aclose_forcefully(stream)


async def test_server_that_is_cancelled_ends_at_once(tmp_path: Path, jumping_clock: MockClock) -> None:
    """Cancellation cuts everybody and leaves no socket behind."""
    with trio.CancelScope() as scope:
        async with open_test_server(tmp_path) as running:
            stream = await running.connect()
            await stream.send_all(request(path="/hold"))
            await running.app.held.wait()
            began = trio.current_time()
            scope.cancel()
            await trio.sleep_forever()
    assert trio.current_time() - began < 1
    assert not (tmp_path / "gateway.sock").exists()
    await stream.aclose()


async def test_server_accepts_nobody_after_its_end(tmp_path: Path) -> None:
    """The address and the path are free again when the block is left."""
    async with open_test_server(tmp_path) as running:
        pass
    with pytest.raises(OSError, match="connect"):
        await trio.open_tcp_stream("127.0.0.1", running.port)
    async with open_test_server(tmp_path) as again:
        assert (await again.get(over="unix")).status == 200


def test_limits_add_up_to_less_than_the_longest_shutdown() -> None:
    """What each step may take at the end is, together, within five seconds."""
    limits = DEFAULT_LIMITS
    assert limits.drain_seconds + limits.drain_send_seconds < LONGEST_SECONDS
    assert limits.linger_seconds < limits.drain_seconds


async def test_server_ends_while_the_disk_holds_up_the_removal_of_its_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: LogRecorder
) -> None:
    """The file is removed by a thread, which the end does not wait for; nobody can connect meanwhile."""
    began, answers, threads = threading.Event(), threading.Event(), []
    unlink = os.unlink

    def hang(path: Path) -> None:
        threads.append(threading.get_ident())
        began.set()
        assert answers.wait(PATIENCE_SECONDS)
        unlink(path)

    monkeypatch.setattr("miniclaw.web.server.server.CLOSING_SECONDS", 0.01)
    async with open_test_server(tmp_path) as running:
        path = running.server.socket_path
        assert path is not None
        monkeypatch.setattr("miniclaw.web.server.listening.os.unlink", hang)
    await wait_in_thread(began)
    assert threads != [threading.get_ident()]
    assert logs.one(LEFT)["level"] == "warning"
    with pytest.raises(ConnectionRefusedError):
        await trio.open_unix_socket(path)
    answers.set()
    await until(lambda: not path.exists())
