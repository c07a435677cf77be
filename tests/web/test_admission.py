"""Who is let in: connections are fewer than descriptors, and no client takes the places of the others."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from miniclaw.web.hosts import client_key, is_loopback, page_address
from miniclaw.web.limits import DEFAULT_LIMITS, Limits
from miniclaw.web.rates import Rates
from miniclaw.web.server.admission import RESERVED_DESCRIPTORS, Admission, plan_connections
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.web_server import open_test_server, read_all


@pytest.mark.parametrize("descriptors", [0, 64, 200, 256, 512, 1024, 2**20])
def test_plan_connections_leaves_a_reserve(descriptors: int) -> None:
    """However few files the process may open, connections take what is beyond the reserve, or sixteen."""
    over_tcp, over_socket = plan_connections(DEFAULT_LIMITS, descriptors)
    assert over_tcp + over_socket <= max(16, descriptors - RESERVED_DESCRIPTORS)
    assert over_tcp >= 1
    assert over_socket >= 1


def test_plan_connections_with_the_usual_limit_has_room_for_hundreds() -> None:
    """With 1,024 descriptors all of the default connections fit."""
    assert plan_connections(DEFAULT_LIMITS, 1024) == (
        DEFAULT_LIMITS.max_connections,
        DEFAULT_LIMITS.max_socket_connections,
    )


async def test_admission_bounds_each_client_and_all() -> None:
    """One client has its share, all together the whole, and who leaves makes room."""
    admission = Admission(Limits(max_connections_per_client=2), 3)
    first = admission.enter("192.0.2.1")
    assert first is not None
    assert admission.enter("192.0.2.1") is not None
    assert admission.enter("192.0.2.1") is None
    assert admission.enter("192.0.2.2") is not None
    assert admission.enter("192.0.2.3") is None
    admission.leave(first)
    assert admission.enter("192.0.2.3") is not None
    assert len(admission) == 3


async def test_admission_forgets_clients_that_have_left() -> None:
    """Clients that come and go leave nothing behind."""
    admission = Admission(DEFAULT_LIMITS, 10)
    for number in range(1000):
        key = admission.enter(f"10.0.{number // 256}.{number % 256}")
        assert key is not None
        admission.leave(key)
    assert len(admission._clients) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("127.0.0.1", "::1", True),
        ("127.0.0.1", "127.8.8.8", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::1", True),
    ],
)
def test_client_key_stands_for_one_client(one: str, other: str, same: bool) -> None:
    """A client that has many addresses is one; different ones are not."""
    assert (client_key(one) == client_key(other)) is same


@pytest.mark.parametrize(
    ("address", "expected"), [("127.0.0.1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False)]
)
def test_is_loopback_knows_every_form(address: str, expected: bool) -> None:
    """Loopback written as IPv6 is loopback, too."""
    assert is_loopback(address) is expected


@pytest.mark.parametrize(
    ("served", "names", "expected"),
    [
        ("http://127.0.0.1:8765", [], "http://127.0.0.1:8765"),
        ("http://127.0.0.1:8765", ["claw.lan"], "http://127.0.0.1:8765"),
        ("http://[::1]:80", [], "http://[::1]:80"),
        ("http://192.168.1.5:8765", ["claw.lan"], "http://192.168.1.5:8765"),
        ("http://0.0.0.0:8765", [], "http://127.0.0.1:8765"),
        ("http://[::]:8765", [], "http://127.0.0.1:8765"),
        ("http://0.0.0.0:8765", ["claw.lan", "other.lan"], "http://claw.lan:8765"),
        ("http://[::]:8765", ["fd00::5"], "http://[fd00::5]:8765"),
    ],
)
def test_page_address_is_one_that_a_browser_can_open(served: str, names: list[str], expected: str) -> None:
    """Every address of the machine is none to open: the name that the configuration gives it is, or else loopback."""
    assert page_address(served, names) == expected


def test_rates_refill_at_their_pace() -> None:
    """After the burst there is one for each step of time, and never more than the burst."""
    now = 0.0
    rates = Rates(0.5, 2, 10, now=lambda: now)
    assert [rates.take("a") for _ in range(3)] == [0, 0, 2]
    assert rates.take("b") == 0
    now = 2.0
    assert [rates.take("a") for _ in range(2)] == [0, 2]
    now = 1000.0
    assert [rates.take("a") for _ in range(3)] == [0, 0, 2]


def test_rates_remember_a_bounded_number_of_clients() -> None:
    """A flood of addresses takes no memory: the quietest are forgotten."""
    rates = Rates(0.001, 1, 100, now=lambda: 0.0)
    for number in range(10_000):
        assert rates.take(str(number)) == 0
    assert len(rates) == 100
    assert rates.take("9999") > 0


async def test_thousand_idle_connections_leave_room_for_files(
    tmp_path: Path, logs: LogRecorder, jumping_clock: MockClock
) -> None:
    """With few descriptors to spare, 1,000 connections leave enough to save a session and to ask over the socket."""
    _, hard = before = resource.getrlimit(resource.RLIMIT_NOFILE)
    streams: list[trio.SocketStream] = []
    client_side = len(os.listdir("/proc/self/fd")) + 1000
    limits = Limits(max_connections=64)
    assert hard == resource.RLIM_INFINITY or hard >= client_side + 300
    resource.setrlimit(resource.RLIMIT_NOFILE, (client_side + 300, hard))
    try:
        async with open_test_server(tmp_path, limits=limits) as running:
            for _ in range(1000):
                streams.append(await running.connect())
                assert running.server.connections <= 64
            fd = os.open(tmp_path / "session.json", os.O_CREAT | os.O_WRONLY)
            os.close(fd)
            assert (await running.get(over="unix")).status == 200
            with trio.fail_after(PATIENCE_SECONDS):
                assert (await read_all(streams[-1])).startswith(b"HTTP/1.1 503 ")
            for stream in streams:
                await trio.aclose_forcefully(stream)
            await running.forgotten()
            assert (await running.get()).status == 200
    finally:
        for stream in streams:
            await trio.aclose_forcefully(stream)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(logs.named("Too many connections; more are refused")) == 1
