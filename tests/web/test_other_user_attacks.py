"""Another user of the machine, against the real gateway: what can be read, asked for, deleted, or put in its place."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import write_session
from tests.fakes.web_server import Answer, handshake, request

OTHER_UID = 12345

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def gateway() -> Iterator[GatewayProcess]:
    """A gateway whose workspace was made by a careless hand, in a place that all users reach."""
    place = Path(tempfile.mkdtemp(prefix="mc-"))
    try:
        place.chmod(0o755)
        home = place / "home"
        for directory in (home, home / "workspace"):
            directory.mkdir()
            directory.chmod(0o777)
        write_session(home / "workspace" / "sessions", "web_main", datetime.now(UTC))
        gateway = GatewayProcess(home, "http://127.0.0.1:1/v1", forked=False)
        before = os.umask(0)
        try:
            gateway.start()
        finally:
            os.umask(before)
        try:
            yield gateway
        finally:
            gateway.kill()
    finally:
        shutil.rmtree(place)


def as_other_user(work: Callable[[], object]) -> Any:
    """Do something in a process of another user; return what it returns, by way of JSON."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(OTHER_UID)
            os.setuid(OTHER_UID)
            os.write(writing, json.dumps(work()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return json.loads(told)


def ask(url: str, data: bytes) -> int:
    """Send a request; return the status."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(data)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    return Answer(answer).status


def test_other_user_gets_nothing_over_the_loopback_port(gateway: GatewayProcess) -> None:
    """No chat, no deletion, no configuration, no metrics: the port tells another user that the gateway is alive."""
    order = b'{"session_ids": ["web_main"], "erase": true}'
    json_body = {"content_type": "application/json"}

    def attack() -> dict[str, int]:
        asked = {
            "list": request("GET", "/api/v1/sessions"),
            "read": request("GET", "/api/v1/sessions/web_main"),
            "delete": request("DELETE", "/api/v1/sessions/web_main?erase=true"),
            "delete many": request("POST", "/api/v1/sessions/delete", order, **json_body),
            "clean up": request("POST", "/api/v1/cleanup/run", b"{}", **json_body),
            "config": request("GET", "/api/v1/config"),
            "metrics": request("GET", "/metrics"),
            "link": request("POST", "/api/v1/entrance"),
            "chat": handshake("/api/v1/chat"),
        }
        return {name: ask(gateway.url, data) for name, data in asked.items()}

    assert set(as_other_user(attack).values()) == {401}
    assert as_other_user(lambda: [ask(gateway.url, request("GET", path)) for path in ("/healthz", "/")]) == [200, 200]
    assert (gateway.sessions_dir / "web_main.json").exists()


def modes_below(folder: Path) -> dict[Path, int]:
    """Return the modes of all that is in a folder; the gateway that runs there renames its temporary files meanwhile."""
    modes = {}
    for place, folders, names in os.walk(folder):
        for path in (Path(place, name) for name in (*folders, *names)):
            with suppress(FileNotFoundError):
                modes[path] = stat.S_IMODE(path.stat().st_mode)
    return modes


def test_other_user_gets_nothing_out_of_the_workspace(gateway: GatewayProcess) -> None:
    """Neither the socket, nor the token, nor any file can be opened, and nothing can be put in their place."""
    workspace = gateway.home / "workspace"
    modes = {path: mode for path, mode in modes_below(workspace).items() if path.name != "web_main.json"}
    assert {"gateway.sock", "web-token", "sessions", ".lock"} <= {path.name for path in modes}
    assert [path for path, mode in modes.items() if mode & 0o077] == []

    def attack() -> dict[str, str]:
        found = {}
        for name in ("gateway.sock", "web-token", "sessions", "planted"):
            try:
                if name == "gateway.sock":
                    socket.socket(socket.AF_UNIX).connect(str(workspace / name))
                elif name == "planted":
                    (workspace / name).touch()
                elif name == "sessions":
                    os.listdir(workspace / name)
                else:
                    (workspace / name).read_text()
                found[name] = "opened"
            except PermissionError:
                found[name] = "refused"
        return found

    assert set(as_other_user(attack).values()) == {"refused"}


def test_other_user_finds_the_token_in_no_list_of_processes(gateway: GatewayProcess) -> None:
    """The command line, which all users can read, has no secret; the environment cannot be read."""
    token = gateway.token

    def attack() -> dict[str, bool]:
        process = Path(f"/proc/{gateway.pid}")
        try:
            readable = token in (process / "environ").read_text()
        except PermissionError:
            readable = False
        return {"in the command line": token in (process / "cmdline").read_text(), "in the environment": readable}

    assert as_other_user(attack) == {"in the command line": False, "in the environment": False}
    assert token not in gateway.log
