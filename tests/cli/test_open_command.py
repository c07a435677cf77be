"""``miniclaw open``, and the link that the gateway prints at its start."""

from __future__ import annotations

import http.client
import os
import pty
import re
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from miniclaw.admin.client.client import GatewayClient
from miniclaw.cli.open_page import has_desktop
from miniclaw.config import Home
from miniclaw.config.web import WebConfig
from miniclaw.web.access.token import is_login, load_token
from tests.fakes.gateway_thread import GatewayThread
from tests.fakes.program import TIMEOUT_SECONDS, Program
from tests.fakes.serving import AT_ANY_PORT, NOT_AT_AN_ADDRESS

LINK = re.compile(r"(http://127\.0\.0\.1:\d+)/login#([A-Za-z0-9_-]{43})")


@contextmanager
def gateway(program: Program, web: WebConfig = AT_ANY_PORT) -> Iterator[GatewayThread]:
    """Serve the program's workspace for a block."""
    thread = GatewayThread(Home(program.home), web=web)
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()


def use(link: str) -> tuple[int, dict[str, object]]:
    """Log in by a link, as the page does; return status and answer."""
    parts = urlsplit(link)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("POST", "/login", msgspec.json.encode({"code": parts.fragment}))
        response = connection.getresponse()
        return response.status, msgspec.json.decode(response.read())
    finally:
        connection.close()


def test_open_prints_a_link_that_logs_in_once(program: Program) -> None:
    """The link is all that is printed; it gives a login once, and each call makes another."""
    with gateway(program) as thread:
        results = [program.run("open", "--print") for _ in range(2)]
        links = [result.out.removesuffix("\n") for result in results]
        assert [(result.code, result.err) for result in results] == [(0, "")] * 2
        assert len(set(links)) == 2
        for link in links:
            found = LINK.fullmatch(link)
            assert found is not None
            assert found[1] == thread.address
            status, answer = use(link)
            assert status == 200
            assert is_login(load_token(Home(program.home).workspace), str(answer["login"]), time.time())
            assert use(link)[0] == 410


def test_open_json_has_the_link_and_for_how_long_it_is_good(program: Program) -> None:
    """A script gets the link, the address, and the seconds; no browser is opened for it."""
    with gateway(program) as thread:
        told = program.run("open", "--json", BROWSER="/nonexistent").json
        assert told.keys() == {"link", "address", "seconds"}
        assert (told["address"], told["seconds"]) == (thread.address, 600)
        assert use(told["link"])[0] == 200


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ("https://claw.example.org", "https://claw.example.org"),
        ("http://claw.lan:8080/", "http://claw.lan:8080"),
        ("http://[::1]:8765", "http://[::1]:8765"),
    ],
)
def test_open_at_another_address_links_to_that_one(program: Program, given: str, at: str) -> None:
    """Behind a proxy only the person knows by which address the page is reached."""
    with gateway(program):
        link = program.run("open", "--print", "--at", given).out
        assert re.fullmatch(rf"{re.escape(at)}/login#[A-Za-z0-9_-]{{43}}\n", link)


@pytest.mark.parametrize(
    "given", ["claw.lan", "ftp://claw.lan", "http://", "http://claw.lan/path", "http://claw.lan:x", "http://a@b", ""]
)
def test_open_at_what_is_no_address_is_refused(program: Program, given: str) -> None:
    """The person is told what would be right."""
    result = program.run("open", "--at", given)
    assert (result.code, result.out) == (2, "")
    assert "such as https://claw.example.org" in " ".join(result.err.split())


def test_open_without_a_gateway_says_so(program: Program) -> None:
    """Nothing can be opened where nothing runs."""
    program.sessions_dir.mkdir(parents=True)
    result = program.run("open")
    assert (result.code, result.out) == (1, "")
    assert "no gateway answers there" in result.err


def test_open_where_no_address_is_served_says_so(program: Program) -> None:
    """The socket alone serves no browser."""
    with gateway(program, NOT_AT_AN_ADDRESS):
        result = program.run("open")
        assert (result.code, result.out) == (1, "")
        assert "web.enabled = false" in result.err


def test_open_where_no_token_is_needed_gives_the_address(program: Program) -> None:
    """A page without a token needs no code."""
    with gateway(program, WebConfig(port=0, require_token=False)) as thread:
        assert program.run("open", "--print").out == f"{thread.address}/\n"
        assert program.run("open", "--json").json["seconds"] is None


OPEN_WITH = """
import os
os.environ["BROWSER"] = {browser!r}
import miniclaw.web.access.other_users as module
module.other_users = lambda: {users!r}
from miniclaw.cli import main
main()
"""


@pytest.fixture
def browser(tmp_path: Path) -> tuple[str, Callable[[], str]]:
    """A browser that writes down its command line; what to start, and what it was started with."""
    script, seen = tmp_path / "browser", tmp_path / "seen"
    script.write_text(f'#!/bin/sh\nprintf "%s" "$*" > "{seen}"\n')
    script.chmod(0o755)
    return f"{script} %s", seen.read_text


def test_open_shows_no_other_user_the_link(program: Program, browser: tuple[str, Callable[[], str]]) -> None:
    """On a machine with other users the link goes by way of a private file: they can read command lines."""
    with gateway(program):
        result = program.run_python(OPEN_WITH.format(browser=browser[0], users={"eve"}), "open")
        link = result.out.strip()
        page = program.home / "workspace" / "open.html"
        assert result.code == 0
        assert browser[1]() == page.as_uri()
        assert stat.S_IMODE(page.stat().st_mode) == 0o600
        assert f'url={link}"' in page.read_text()
        assert use(link)[0] == 200


def test_open_gives_the_link_to_the_browser_where_there_is_no_other_user(
    program: Program, browser: tuple[str, Callable[[], str]]
) -> None:
    """A browser in a sandbox cannot read the workspace, so a machine of one user needs no file."""
    with gateway(program):
        result = program.run_python(OPEN_WITH.format(browser=browser[0], users=set()), "open")
        assert browser[1]() == result.out.strip()
        assert "works once, for 10 minutes" in result.err
        assert not (program.home / "workspace" / "open.html").exists()


def test_open_whose_browser_does_not_start_still_prints_the_link(program: Program) -> None:
    """The link is what counts."""
    with gateway(program):
        result = program.run_python(OPEN_WITH.format(browser="/bin/false %s", users=set()), "open")
        assert result.code == 0
        assert LINK.fullmatch(result.out.strip())
        assert "open the link in one" in result.err


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": ""}, "linux", False),
        ({}, "darwin", True),
        ({"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, "darwin", False),
        ({"DISPLAY": "localhost:10.0", "SSH_TTY": "/dev/pts/1"}, "linux", False),
        ({"BROWSER": "firefox", "SSH_TTY": "/dev/pts/1"}, "linux", True),
    ],
)
def test_has_desktop_where_a_person_sees_the_browser(
    environment: dict[str, str], platform: str, expected: bool
) -> None:
    """A browser is opened on a desktop; over ssh only where the environment names one."""
    assert has_desktop(environment, platform) is expected


def test_entrance_is_for_the_socket_only(program: Program) -> None:
    """The address gives no code, not even with the token; and no other answer has one."""
    with gateway(program) as thread:
        workspace = Home(program.home).workspace
        entrance = GatewayClient(workspace).entrance()
        assert entrance.code is not None
        connection = http.client.HTTPConnection(urlsplit(thread.address).netloc, timeout=TIMEOUT_SECONDS)
        shown = {"authorization": f"Bearer {load_token(workspace).reveal()}"}
        connection.request("POST", "/api/v1/entrance", headers=shown)
        assert connection.getresponse().status == 404
        connection.close()
        for command in (("status",), ("status", "--json"), ("config", "show")):
            shown_text = program.run(*command).out
            assert entrance.code not in shown_text
            assert load_token(workspace).reveal() not in shown_text


def test_gateway_prints_a_link_on_a_terminal_only(program: Program) -> None:
    """The person at the terminal gets a link; a log, and what is printed elsewhere, has the address alone."""
    shown, log = start_and_stop(program, on_terminal=True)
    found = LINK.search(shown)
    assert found is not None
    assert "`miniclaw open` gives another" in shown
    assert found[1] in log
    assert found[2] not in log
    token = load_token(Home(program.home).workspace).reveal()
    assert token not in shown + log
    shown, log = start_and_stop(program, on_terminal=False)
    assert re.fullmatch(r"miniclaw is at http://127\.0\.0\.1:\d+ \(Ctrl-C ends it\)\n", shown)
    assert "/login" not in log


def start_and_stop(program: Program, *, on_terminal: bool) -> tuple[str, str]:
    """Run the gateway until it has said where it is; return its output, and its log."""
    command = [sys.executable, "-m", "miniclaw", "gateway", "--port", "0"]
    reading, writing = pty.openpty() if on_terminal else os.pipe()
    with tempfile.TemporaryFile() as log, open(reading, "rb", buffering=0) as output:
        environment = os.environ | {"MINICLAW_HOME": str(program.home)}
        with subprocess.Popen(command, env=environment, stdout=writing, stderr=log) as process:
            os.close(writing)
            shown = b""
            while not shown.endswith((b"gives another.\r\n", b"(Ctrl-C ends it)\n")):
                piece = output.read(1)
                assert piece, shown
                shown += piece
            process.terminate()
            assert process.wait(TIMEOUT_SECONDS) == 0
        log.seek(0)
        return shown.decode(), log.read().decode()
