"""Attacks on the token: its file, guesses, and addresses that need none."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from miniclaw.config.web import WebConfig
from miniclaw.errors import ConfigError, StoreIOError
from miniclaw.secret import redact
from miniclaw.web.access.security import open_security
from miniclaw.web.access.token import load_token, make_login
from miniclaw.web.server.listening import unix_listener
from tests.fakes.guarded import BEARER, LOGIN, NOW, OPEN, OTHER, TOKEN, ask, guarded, log_in
from tests.fakes.logs import LogRecorder
from tests.fakes.web_server import open_test_server

WARNED = (
    "Web page needs no token: every user of this machine can read and delete all chats; "
    "remove `require_token = false` from the table [web]"
)


def test_load_token_makes_one_that_is_private_and_stays(tmp_path: Path, logs: LogRecorder) -> None:
    """The first start makes a token of 256 bits in a file of mode 0600; the next one takes the same; no log has it."""
    workspace = tmp_path / "workspace"
    workspace.mkdir(mode=0o700)
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other users")
def test_load_token_of_another_user_refuses_the_start(tmp_path: Path) -> None:
    """A user who put the token there knows it; the owner of the directory may, for whom root starts the gateway."""
    path = tmp_path / "web-token"
    private(b"x" * 40)(path)
    os.chown(path, 12345, 12345)
    with pytest.raises(ConfigError, match=r"web-token: it belongs to another user \(uid 12345\); remove it"):
        load_token(tmp_path)
    os.chown(tmp_path, 12345, 12345)
    assert load_token(tmp_path).reveal() == "x" * 40
    path.unlink()
    load_token(tmp_path)
    assert path.stat().st_uid == 12345


def test_open_security_follows_no_link_that_comes_after_its_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that is put in the workspace's place once that was found to be none leads nowhere."""
    victim, workspace = tmp_path / "victim", tmp_path / "workspace"
    victim.mkdir(mode=0o755)
    before = victim.stat().st_mode

    def swap(*_args: object, **_named: object) -> None:
        workspace.symlink_to(victim)

    monkeypatch.setattr(Path, "mkdir", swap)
    with pytest.raises(StoreIOError, match="workspace: could not make this directory"):
        open_security(WebConfig(), workspace)
    assert (victim.stat().st_mode, list(victim.iterdir())) == (before, [])


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o777, 0o1777, 0o701])
def test_open_security_keeps_other_users_out_of_the_workspace(tmp_path: Path, logs: LogRecorder, mode: int) -> None:
    """No other user can put a socket or a token in the place of ours, however the workspace was made."""
    for config in (WebConfig(), WebConfig(enabled=False)):
        tmp_path.chmod(mode)
        open_security(config, tmp_path)
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    assert {event["was"] for event in logs.named("Directory made private")} == {f"{mode:04o}"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make links of other users")
def test_workspace_that_is_another_users_link_is_refused(tmp_path: Path) -> None:
    """Neither is the directory made private that it leads to, nor is a token or a socket made there."""
    victim, link = tmp_path / "victim", tmp_path / "workspace"
    victim.mkdir(mode=0o755)
    before = victim.stat().st_mode
    link.symlink_to(victim)
    os.chown(link, 12345, 12345, follow_symlinks=False)
    for opening in (
        lambda: open_security(WebConfig(), link),
        lambda: unix_listener(link / "gateway.sock").__enter__(),
        lambda: unix_listener(link / "gateway.sock", again=True).__enter__(),
    ):
        with pytest.raises(ConfigError, match=r"workspace: it is a symbolic link of another user \(uid 12345\)"):
            opening()
    assert (victim.stat().st_mode, list(victim.iterdir())) == (before, [])


def test_open_security_in_a_workspace_that_stays_open_warns(
    tmp_path: Path, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a directory of another user the gateway runs, and the log says how to make it private."""

    def refuse(_fd: int, _mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    tmp_path.chmod(0o777)
    monkeypatch.setattr(os, "fchmod", refuse)
    assert open_security(WebConfig(), tmp_path).access is not None
    event = logs.one("Directory is open to other users; its owner should make it private: chmod 700")
    assert (event["path"], event["mode"]) == (str(tmp_path), "0777")


def test_open_security_asks_for_a_token_everywhere_unless_told_otherwise(tmp_path: Path, logs: LogRecorder) -> None:
    """Every user of the machine reaches loopback, so it needs the token as well; no other address can do without."""
    assert open_security(WebConfig(), tmp_path / "a").access is not None
    assert open_security(WebConfig(host="::1"), tmp_path / "b").access is not None
    assert open_security(OPEN, tmp_path / "c", find_users=set).access is None
    assert not (tmp_path / "c" / "web-token").exists()
    assert open_security(WebConfig(enabled=False), tmp_path / "e").access is None
    assert not (tmp_path / "e" / "web-token").exists()
    everywhere = WebConfig(host="0.0.0.0", require_token=False)  # noqa: S104 - that is the case
    assert open_security(everywhere, tmp_path / "d", find_users=lambda: {"eve"}).access is not None
    assert logs.named(WARNED) == []


@pytest.mark.parametrize(
    ("users", "named"),
    [({"eve"}, "eve"), ({"eve", "adam"}, "adam, eve"), (set("gfedcba"), "a, b, c, d, e, …")],
)
def test_open_security_without_a_token_warns_where_there_are_other_users(
    tmp_path: Path, logs: LogRecorder, users: set[str], named: str
) -> None:
    """The administrator is told who can read the chats, and how to change that."""
    open_security(OPEN, tmp_path, find_users=lambda: users)
    event = logs.one(WARNED)
    assert (event["level"], event["users"]) == ("warning", named)


def test_open_security_without_a_token_and_other_users_is_silent(tmp_path: Path, logs: LogRecorder) -> None:
    """There is no WARNING on a machine of one user, nor where no address is served."""
    open_security(OPEN, tmp_path, find_users=set)
    open_security(WebConfig(enabled=False, require_token=False), tmp_path, find_users=lambda: {"eve"})
    assert logs.named(WARNED) == []


async def test_request_without_the_token_is_refused(tmp_path: Path) -> None:
    """A program is told how to show it, a person is told of `miniclaw open`, a websocket is not opened."""
    async with open_test_server(tmp_path, security=guarded()) as running:
        answer = await running.get("/api")
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert "`miniclaw open`" in answer.json()["detail"]
        assert (await running.get("/api", method="POST", body=b"x", accept="text/html")).status == 401
        assert (await running.refused_websocket()).status == 401
        assert (await running.refused_websocket("/healthz")).status == 401
        assert (await running.get("/nothing")).status == 401
        assert running.app.entered == 0
        assert (await running.get("/healthz")).status == 200
        assert (await running.get("/api", over="unix")).status == 200


async def test_request_to_an_open_path_is_known_as_a_strangers_or_as_ours(tmp_path: Path, logs: LogRecorder) -> None:
    """An open path tells less to who shows nothing; a wrong token is refused there as well, for it is a guess."""
    async with open_test_server(tmp_path, security=guarded()) as running:
        assert (await running.get("/open")).body == b"a stranger"
        assert (await running.get("/open", authorization="Basic eDp5")).body == b"a stranger"
        assert (await running.get("/open", miniclaw_login=make_login(OTHER, NOW))).body == b"a stranger"
        assert (await running.get("/open", authorization=BEARER)).body == b"one of us"
        assert (await running.get("/open", miniclaw_login=LOGIN)).body == b"one of us"
        assert (await running.get("/open", over="unix")).body == b"one of us"
        assert (await running.get("/open", authorization="Bearer guess")).status == 401
        logs.one("Wrong web token")
    async with open_test_server(tmp_path, config=OPEN) as running:
        assert (await running.get("/open")).body == b"one of us"


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
    """After ten wrong tokens none is looked at for a while, by whichever way it comes; a login still is."""
    async with open_test_server(tmp_path, security=guarded()) as running:
        for number in range(5):
            assert (await running.get("/api", authorization=f"Bearer guess{number}")).status == 401
            assert (await log_in(running, token=f"guess{number}")).status == 401
        answer = await running.get("/api", authorization=BEARER)
        assert answer.status == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 6
        assert (await log_in(running, token=TOKEN.reveal())).status == 429
        assert (await running.refused_websocket(authorization=BEARER)).status == 429
        assert await ask(running, LOGIN) == 200
