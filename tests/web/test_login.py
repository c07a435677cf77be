"""Attacks on logins: links that are used again, and logins that were not given."""

from __future__ import annotations

import hmac
from pathlib import Path

import msgspec
import pytest

from miniclaw.web.access.login import CHAT_PROTOCOL, LOGIN_HEADER, LOGIN_PROTOCOL
from miniclaw.web.access.security import Security
from miniclaw.web.access.token import LOGIN_SECONDS, is_login, load_token, make_login
from tests.fakes.guarded import BEARER, LOGIN, NOW, OPEN, OTHER, TOKEN, ask, guarded, log_in
from tests.fakes.logs import LogRecorder
from tests.fakes.web_server import handshake, open_test_server


async def test_log_in_gives_a_login_that_is_neither_the_token_nor_a_cookie(tmp_path: Path) -> None:
    """The login opens requests and websockets; no browser sends it by itself, so no other port of the host gets it."""
    async with open_test_server(tmp_path, security=guarded()) as running:
        answer = await log_in(running, token=f" {TOKEN.reveal()}\n")
        assert (answer.status, answer.json()["seconds"]) == (200, LOGIN_SECONDS)
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
        assert TOKEN.reveal() not in answer.raw.decode()
        login = answer.json()["login"]
        assert await ask(running, login) == 200
        offered = f"{CHAT_PROTOCOL}, {LOGIN_PROTOCOL}{login}"
        own = {"sec_websocket_protocol": offered, "origin": "http://localhost"}
        opened = await running.ask(handshake(**own) + b"\x88\x80\0\0\0\0")
        assert opened.status in {101, 400}  # 400: the close frame came before it was accepted
        assert (await running.refused_websocket(**own | {"origin": "http://localhost:9999"})).status == 403


async def test_request_with_a_cookie_is_not_let_in(tmp_path: Path) -> None:
    """A cookie, which browsers send to every port of a host, opens nothing, whatever it holds."""
    async with open_test_server(tmp_path, security=guarded()) as running:
        for value in (LOGIN, TOKEN.reveal()):
            for key in (LOGIN_HEADER, "miniclaw_session", "authorization"):
                assert (await running.get("/api", cookie=f"{key}={value}")).status == 401
        for query in (f"?token={TOKEN.reveal()}", f"?login={LOGIN}", f"?authorization=Bearer%20{TOKEN.reveal()}"):
            assert (await running.get(f"/api{query}")).status == 401


async def test_log_in_from_a_strangers_page_is_refused(tmp_path: Path) -> None:
    """A foreign page cannot use up a code, or guess."""
    security = guarded()
    async with open_test_server(tmp_path, security=security) as running:
        code = security.make_code()
        assert code is not None
        for origin in ("https://evil.example", "http://localhost:9999", "null"):
            body = msgspec.json.encode({"code": code})
            assert (await running.get("/login", method="POST", body=body, origin=origin)).status == 403
        assert (await log_in(running, code=code)).status == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"token=x", 400),
        (b"[]", 400),
        (b'{"token": 1}', 400),
        (b'{"tokens": "x"}', 400),
        (b'{"token": "\xff"}', 400),
        (b"[" * 10_000, 400),
        (b"{}", 401),
        (b'{"token": ""}', 401),
        (b'{"code": ""}', 401),
        (b'{"code": "x"}', 410),
        (b'{"code": "\\ud800"}', 400),
        (b'{"token": "' + b"x" * 20_000 + b'"}', 413),
    ],
)
async def test_log_in_with_a_strange_body_is_refused(tmp_path: Path, body: bytes, status: int) -> None:
    """Whatever the body holds, there is no login, and no failure."""
    async with open_test_server(tmp_path, security=guarded()) as running:
        answer = await running.get("/login", method="POST", body=body)
        assert answer.status == status
        assert b"v2." not in answer.raw


async def test_link_logs_in_once(tmp_path: Path, logs: LogRecorder) -> None:
    """A code gives one login; the second time the person is told how to get another, and no log has the code."""
    security = guarded()
    async with open_test_server(tmp_path, security=security) as running:
        code, other = security.make_code(), security.make_code()
        assert code is not None
        assert other is not None
        for _ in range(3):  # a preview or a prefetch of the link: what follows the # is not sent
            assert (await running.get("/login")).status in {404, 405}
        answer = await log_in(running, code=code)
        assert answer.status == 200
        assert await ask(running, answer.json()["login"]) == 200
        again = await log_in(running, code=code)
        assert again.status == 410
        assert "`miniclaw open`" in again.json()["detail"]
        assert (await log_in(running, code=other)).status == 200
        assert (await running.get("/api", authorization=f"Bearer {security.make_code()}")).status == 401
    assert [event["by"] for event in logs.named("Browser logged in")] == ["link", "link"]
    assert code not in repr(logs.events)


async def test_link_still_works_when_wrong_tokens_are_looked_at_no_more(tmp_path: Path) -> None:
    """Another user of the machine cannot keep its owner out by guessing."""
    security = guarded()
    async with open_test_server(tmp_path, security=security) as running:
        for number in range(12):
            await running.get("/api", authorization=f"Bearer guess{number}")
        code = security.make_code()
        assert code is not None
        assert (await log_in(running, code=code)).status == 200


def test_make_code_without_a_token_makes_none() -> None:
    """A link needs no code if no token is required."""
    assert Security(OPEN, None).make_code() is None


def test_login_is_good_for_thirty_days() -> None:
    """Until the bound, and not at it."""
    assert is_login(TOKEN, LOGIN, NOW)
    assert is_login(TOKEN, LOGIN, NOW + LOGIN_SECONDS - 1)
    assert not is_login(TOKEN, LOGIN, NOW + LOGIN_SECONDS)


def test_login_is_good_while_the_clock_is_behind() -> None:
    """A machine that starts in 1970 until it has found the time asks for no new login."""
    assert is_login(TOKEN, LOGIN, 0)
    assert is_login(TOKEN, LOGIN, NOW - 10 * LOGIN_SECONDS)


def test_login_that_was_not_given_opens_nothing() -> None:
    """Another time, another token, another form or another alphabet: none is a login."""
    version, until, code = LOGIN.split(".")
    old_purpose = b"miniclaw web session 1\n" + until.encode()
    forged = [
        f"{version}.{int(until) + 1}.{code}",
        f"{version}.0{until}.{code}",
        f"{version}.{until}.{'0' * 64}",
        f"{version}.{until}.{code.upper()}",
        f"{version}.{until}.{code}\n",
        f"{version}.{until}.",
        f"v1.{until}.{code}",
        f"{version}.{until}.{hmac.new(TOKEN.reveal().encode(), old_purpose, 'sha256').hexdigest()}",  # a cookie of old
        make_login(OTHER, NOW),
        TOKEN.reveal(),
        "",
        "v2.١٢٣." + code,
    ]
    assert [login for login in forged if is_login(TOKEN, login, NOW)] == []


async def test_request_with_an_expired_or_forged_login_is_refused(tmp_path: Path) -> None:
    """The server looks at the time and the code; such logins are no guesses, for they come from old pages."""
    moment = NOW
    async with open_test_server(tmp_path, security=guarded(now=lambda: moment)) as running:
        assert await ask(running, LOGIN) == 200
        for _ in range(12):
            assert await ask(running, make_login(OTHER, NOW)) == 401
        moment = NOW + LOGIN_SECONDS
        assert await ask(running, LOGIN) == 401
        assert (await running.get("/api", authorization=BEARER)).status == 200


async def test_login_outlives_the_gateway_and_not_the_token(tmp_path: Path) -> None:
    """A restart keeps all logins; a new token ends them."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    login = make_login(load_token(workspace), NOW)
    assert is_login(load_token(workspace), login, NOW)
    (workspace / "web-token").unlink()
    assert not is_login(load_token(workspace), login, NOW)
