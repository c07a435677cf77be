"""Attacks on the token: its file, guesses, and cookies that were not given."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from miniclaw.errors import ConfigError
from miniclaw.redaction import Secret, redact
from miniclaw.web.config import WebConfig
from miniclaw.web.limits import Limits
from miniclaw.web.login import COOKIE_NAME
from miniclaw.web.security import Security, open_security
from miniclaw.web.token import COOKIE_SECONDS, is_cookie, load_token, make_cookie
from tests.fakes.logs import LogRecorder
from tests.fakes.web_server import Running, open_test_server

TOKEN = Secret("correct-horse-battery-staple-0123456789")
OTHER = Secret("another-horse-battery-staple-0123456789")
NOW = 1_800_000_000.0
BEARER = f"Bearer {TOKEN.reveal()}"
SHARED = WebConfig(port=0, require_token=True)


def guarded(limits: Limits | None = None, now: Callable[[], float] = lambda: NOW) -> Security:
    return Security(SHARED, TOKEN, limits=limits or Limits(), now=now)


async def log_in(running: Running, token: str) -> tuple[int, str]:
    answer = await running.get("/login", method="POST", body=f"token={token}".encode())
    return answer.status, answer.headers.get("set-cookie", "")


def test_load_token_makes_one_that_is_private_and_stays(tmp_path: Path, logs: LogRecorder) -> None:
    """The first start makes a token of 256 bits in a file of mode 0600; the next one takes the same; no log has it."""
    workspace = tmp_path / "workspace"
    before = os.umask(0)
    try:
        token = load_token(workspace)
    finally:
        os.umask(before)
    path = workspace / "web-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(token.reveal()) >= 43
    assert load_token(workspace).reveal() == token.reveal() == path.read_text().strip()
    assert [entry.name for entry in workspace.iterdir()] == ["web-token"]
    assert token.reveal() not in repr(logs.events)
    assert redact(f"x {token.reveal()} y") == "x [secret] y"


def test_load_token_after_a_start_that_was_killed_makes_a_whole_one(tmp_path: Path) -> None:
    """Half a file of a start that was killed is no token and no obstacle."""
    (tmp_path / ".web-token.new").write_text("half")
    assert len(load_token(tmp_path).reveal()) >= 43
    assert [entry.name for entry in tmp_path.iterdir()] == ["web-token"]


def private(text: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(text)
        path.chmod(0o600)

    return make


def shared_with(mode: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_text("x" * 40)
        path.chmod(mode)

    return make


def link(path: Path) -> None:
    private(b"x" * 40)(path.with_name("other"))
    path.symlink_to("other")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (shared_with(0o640), r"others can read it \(mode 0640\); chmod 600"),
        (shared_with(0o604), "others can read it"),
        (private(b""), "holds no token: 32 to 4096 visible"),
        (private(b"x" * 31), "holds no token"),
        (private(b"two words " * 9), "holds no token"),
        (private("ä".encode() * 40), "holds no token"),
        (private(b"\0" * 40), "holds no token"),
        (private(b"x" * 5000), "holds no token"),
        (link, "it is a link"),
        (lambda path: path.symlink_to("nowhere"), "it is a link"),
        (lambda path: path.mkdir(), "it is not a file"),
        (lambda path: os.mkfifo(path, 0o600), "it is not a file"),
    ],
)
def test_load_token_from_a_file_that_is_none_refuses_the_start(
    tmp_path: Path, make: Callable[[Path], None], says: str
) -> None:
    """A token that others can read, or that is none, is refused by its file; no other one is made in its place."""
    path = tmp_path / "web-token"
    make(path)
    with pytest.raises(ConfigError, match=rf"web-token: .*{says}"):
        load_token(tmp_path)


def test_open_security_asks_for_a_token_where_others_can_come(tmp_path: Path) -> None:
    """On loopback there is none unless it is asked for; at any other address there always is one."""
    assert open_security(WebConfig(), tmp_path).access is None
    assert not (tmp_path / "web-token").exists()
    assert open_security(WebConfig(host="0.0.0.0"), tmp_path).access is not None  # noqa: S104 - that is the case
    assert open_security(SHARED, tmp_path).access is not None


async def test_request_without_the_token_is_refused(tmp_path: Path) -> None:
    """A program is told how to show it, a person is led to the page for it, a websocket is not opened."""
    async with open_test_server(tmp_path, security=guarded()) as running:
        answer = await running.get("/api")
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        person = await running.get("/", accept="text/html,*/*")
        assert (person.status, person.headers["location"]) == (303, "/login")
        assert (await running.get("/api", method="POST", body=b"x", accept="text/html")).status == 401
        assert (await running.refused_websocket()).status == 401
        assert (await running.get("/nothing")).status == 401
        assert running.app.entered == 0
        assert (await running.get("/healthz")).status == 200
        assert (await running.get("/api", over="unix")).status == 200


@pytest.mark.parametrize(
    "path",
    ["/healthz/", "//healthz", "/healthz/../api", "/HEALTHZ", "/login/../api", "/api?/healthz", "/healthz%2f..%2fapi"],
)
async def test_path_like_an_open_one_needs_the_token(tmp_path: Path, path: str) -> None:
    """Only the very paths that are open are open."""
    async with open_test_server(tmp_path, security=guarded()) as running:
        assert (await running.get(path)).status == 401


async def test_request_with_the_token_is_served(tmp_path: Path) -> None:
    """The token as a bearer opens everything, websockets too."""
    async with open_test_server(tmp_path, security=guarded()) as running:
        assert (await running.get("/api", authorization=BEARER)).status == 200
        assert (await running.get("/api", authorization=BEARER.replace("Bearer", "bearer"))).status == 200
        async with running.websocket(authorization=BEARER) as websocket:
            await websocket.send_message("hello")
            assert await websocket.get_message() == "hello"


@pytest.mark.parametrize(
    "shown", ["", "x", TOKEN.reveal()[:-1], TOKEN.reveal() + "x", TOKEN.reveal().upper(), "\xe4" * 40]
)
async def test_request_with_a_wrong_token_is_refused_and_logged_without_it(
    tmp_path: Path, logs: LogRecorder, shown: str
) -> None:
    """A wrong token is one WARNING that says from where, and not what."""
    async with open_test_server(tmp_path, security=guarded()) as running:
        assert (await running.get("/api", authorization=f"Bearer {shown}")).status == 401
        assert (await running.get("/api", authorization=f"Basic {TOKEN.reveal()}")).status == 401
    event = logs.one("Wrong web token")
    assert event == {"event": "Wrong web token", "level": "warning", "logger": "miniclaw.web", "client": "127.0.0.1"}


async def test_guesses_are_limited(tmp_path: Path) -> None:
    """After ten wrong tokens none is looked at for a while, by whichever way it comes; who is in already stays in."""
    async with open_test_server(tmp_path, security=guarded()) as running:
        cookie = f"{COOKIE_NAME}={make_cookie(TOKEN, NOW)}"
        for number in range(5):
            assert (await running.get("/api", authorization=f"Bearer guess{number}")).status == 401
            assert (await log_in(running, f"guess{number}"))[0] == 401
        answer = await running.get("/api", authorization=BEARER)
        assert answer.status == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 6
        assert (await log_in(running, TOKEN.reveal())) == (429, "")
        assert (await running.refused_websocket(authorization=BEARER)).status == 429
        assert (await running.get("/api", cookie=cookie)).status == 200


async def test_log_in_gives_a_cookie_that_is_not_the_token(tmp_path: Path) -> None:
    """The cookie opens page and websocket, no script can read it, and no other site can make a browser send it."""
    async with open_test_server(tmp_path, security=guarded()) as running:
        page = await running.get("/login")
        assert page.status == 200
        assert b"<script" not in page.body
        assert b"style=" not in page.body
        assert (await running.get("/login.css")).headers["content-type"].startswith("text/css")
        status, cookie = await log_in(running, TOKEN.reveal())
        assert status == 303
        value, *attributes = cookie.split("; ")
        assert {"httponly", "path=/", "samesite=strict", f"max-age={COOKIE_SECONDS}"} <= {a.lower() for a in attributes}
        assert TOKEN.reveal() not in cookie
        assert (await running.get("/api", cookie=f"other=1; {value}")).status == 200
        async with running.websocket(cookie=value, origin=f"http://127.0.0.1:{running.port}") as websocket:
            await websocket.send_message("hello")
            assert await websocket.get_message() == "hello"
        out = await running.get("/logout", method="POST", cookie=value, origin="http://localhost")
        assert out.status == 303
        assert "max-age=0" in out.headers["set-cookie"].lower()


async def test_log_in_from_a_strangers_page_is_refused(tmp_path: Path) -> None:
    """A page of somebody else cannot log a browser in or out."""
    async with open_test_server(tmp_path, security=guarded()) as running:
        body = f"token={TOKEN.reveal()}".encode()
        for path in ("/login", "/logout"):
            answer = await running.get(path, method="POST", body=body, origin="https://evil.example")
            assert answer.status == 403
            assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "body", [b"", b"token", b"token=", b"&" * 2000, b"\xff\xfe", b"token=" + b"x" * 20_000, b"a=1&" * 50]
)
async def test_log_in_with_a_strange_form_is_refused(tmp_path: Path, body: bytes) -> None:
    """Whatever the form holds, there is no cookie, and no failure."""
    async with open_test_server(tmp_path, security=guarded()) as running:
        answer = await running.get("/login", method="POST", body=body)
        assert answer.status in {400, 401, 413}
        assert "set-cookie" not in answer.headers


def test_cookie_is_good_for_thirty_days() -> None:
    """Until the bound, and not at it."""
    cookie = make_cookie(TOKEN, NOW)
    assert is_cookie(TOKEN, cookie, NOW)
    assert is_cookie(TOKEN, cookie, NOW + COOKIE_SECONDS - 1)
    assert not is_cookie(TOKEN, cookie, NOW + COOKIE_SECONDS)


def test_cookie_that_was_not_given_opens_nothing() -> None:
    """Another time, another token, another form or another alphabet: none is a cookie."""
    version, until, code = make_cookie(TOKEN, NOW).split(".")
    forged = [
        f"{version}.{int(until) + 1}.{code}",
        f"{version}.0{until}.{code}",
        f"{version}.{until}.{'0' * 64}",
        f"{version}.{until}.{code.upper()}",
        f"{version}.{until}.{code}\n",
        f"{version}.{until}.",
        f"v2.{until}.{code}",
        make_cookie(OTHER, NOW),
        make_cookie(TOKEN, NOW + 10 * COOKIE_SECONDS),  # from a clock that was wrong
        TOKEN.reveal(),
        "",
        "v1.١٢٣." + code,
    ]
    assert [cookie for cookie in forged if is_cookie(TOKEN, cookie, NOW)] == []


async def test_request_with_an_expired_or_forged_cookie_is_refused(tmp_path: Path) -> None:
    """The server looks at the time and the code; such cookies are no guesses, for they come from old pages."""
    moment = NOW
    async with open_test_server(tmp_path, security=guarded(now=lambda: moment)) as running:
        cookie = f"{COOKIE_NAME}={make_cookie(TOKEN, NOW)}"
        assert (await running.get("/api", cookie=cookie)).status == 200
        for _ in range(12):
            assert (await running.get("/api", cookie=f"{COOKIE_NAME}={make_cookie(OTHER, NOW)}")).status == 401
        moment = NOW + COOKIE_SECONDS
        assert (await running.get("/api", cookie=cookie)).status == 401
        assert (await running.get("/api", authorization=BEARER)).status == 200
