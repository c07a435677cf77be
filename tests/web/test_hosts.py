"""Attacks by pages of strangers: names that suddenly mean this machine, and requests that a browser is made to send."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.datastructures import Headers

from miniclaw.config.web import WebConfig
from miniclaw.web.hosts import HostRules
from tests.fakes.web_server import handshake, open_test_server

LOCAL = WebConfig(port=0, allowed_hosts=("claw.lan",))
METHODS = ["POST", "PUT", "PATCH", "DELETE"]


def status(config: WebConfig, *hosts: str) -> int:
    refusal = HostRules(config).check(Headers(raw=[(b"host", host.encode()) for host in hosts]))
    return refusal.status_code if refusal is not None else 200


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8765",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]:8765",
        "[0:0:0:0:0:0:0:1]",
        "claw.lan",
        "CLAW.lan:443",
    ],
)
def test_host_that_is_ours_is_let_in(host: str) -> None:
    """Loopback names and those of the configuration are taken in any case and with any port."""
    assert status(LOCAL, host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "localhost.evil.example",
        "xlocalhost",
        "127.0.0.1.evil.example",
        "192.168.1.5",
        "claw.lan.evil.example",
        "10.0.0.1",
        "[::2]",
    ],
)
def test_host_that_is_not_ours_is_refused_by_421(host: str) -> None:
    """Any other name is refused: DNS rebinding comes with one."""
    assert status(LOCAL, host) == 421


@pytest.mark.parametrize(
    "host",
    [
        "",
        "localhost:",
        "localhost:x",
        "localhost:123456",
        "localhost:70000",
        "user@localhost",
        "localhost/",
        "http://localhost",
        "local host",
        "[::1",
        "[localhost]",
        "localhost, evil",
    ],
)
def test_host_that_is_none_is_refused_by_400(host: str) -> None:
    """What cannot be a host is no host."""
    assert status(LOCAL, host) == 400


def test_host_that_is_missing_or_doubled_is_refused_by_400() -> None:
    """There is exactly one host, so that nobody can mean another one than we."""
    assert status(LOCAL) == 400
    assert status(LOCAL, "localhost", "localhost") == 400


@pytest.mark.parametrize(("host", "expected"), [("192.168.1.5:8765", 200), ("[fe80::1]", 200), ("evil.example", 421)])
def test_host_of_a_server_at_all_addresses_may_be_any_address(host: str, expected: int) -> None:
    """At 0.0.0.0 any address is the server's own, but no name is: rebinding needs a name."""
    assert status(WebConfig(host="0.0.0.0"), host) == expected  # noqa: S104 - that is the case


async def test_server_called_by_a_rebound_name_does_not_answer(tmp_path: Path) -> None:
    """The answer says what the person can do, and no handler was called; over the Unix socket there are no names."""
    async with open_test_server(tmp_path, config=LOCAL) as running:
        answer = await running.get(host="evil.example")
        assert answer.status == 421
        assert "web.allowed_hosts" in answer.json()["detail"]
        assert (await running.refused_websocket(host="evil.example")).status == 421
        assert running.app.entered == 0
        assert (await running.get(host="evil.example", over="unix")).status == 200


FOREIGN: list[dict[str, str]] = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:3000"},
    {"origin": "http://localhost.evil.example"},
    {"origin": "localhost"},
    {"origin": "http://localhost/"},
    {"origin": "file://localhost"},
    {"origin": "http://user@localhost"},
    {"origin": ""},
    {"origin": "http://localhost", "Origin": "https://evil.example"},
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("method", METHODS)
async def test_request_of_a_strangers_page_changes_nothing(
    tmp_path: Path, method: str, headers: dict[str, str]
) -> None:
    """Whatever a page of somebody else sends, a request that changes something is refused by 403."""
    async with open_test_server(tmp_path, config=LOCAL) as running:
        answer = await running.get("/api", method=method, body=b"x", **headers)
        assert answer.status == 403
        assert running.app.entered == 0


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8765", "http://localhost:8765"),
        ("localhost", "http://localhost"),
        ("localhost", "http://localhost:80"),
        ("claw.lan", "https://claw.lan"),
        ("claw.lan:443", "https://claw.lan"),
        ("[::1]:8765", "http://[::1]:8765"),
    ],
)
async def test_request_of_our_own_page_is_served(tmp_path: Path, host: str, origin: str) -> None:
    """Our own page may, also behind a proxy that speaks TLS; so may a program, which sends no origin."""
    async with open_test_server(tmp_path, config=LOCAL) as running:
        own = {"host": host, "origin": origin, "sec_fetch_site": "same-origin"}
        assert (await running.get("/api", method="POST", body=b"x", **own)).status == 200
        assert (await running.get("/api", method="POST", body=b"x")).status == 200
        answer = await running.ask(handshake(host=host, origin=origin, cookie="a=b") + b"\x88\x80\0\0\0\0")
        assert answer.status in {101, 400}  # 400: the close frame came before it was accepted


@pytest.mark.parametrize(
    "headers", [*FOREIGN[:9], {"sec_fetch_site": "same-origin"}, {"sec_fetch_mode": "websocket"}, {"cookie": "a=b"}]
)
async def test_websocket_of_a_strangers_page_is_refused_before_it_opens(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    """A foreign origin, or a browser that hides it, gets 403 in place of a websocket."""
    async with open_test_server(tmp_path, config=LOCAL) as running:
        answer = await running.refused_websocket(**headers)
        assert answer.status == 403
        assert answer.headers["content-type"] == "application/problem+json"
        assert running.app.ended == []


async def test_websocket_of_a_program_needs_no_origin(tmp_path: Path) -> None:
    """What is no browser sends no origin, and is served."""
    async with open_test_server(tmp_path, config=LOCAL) as running, running.websocket() as websocket:
        await websocket.send_message("hello")
        assert await websocket.get_message() == "hello"
