"""Where the server listens: what is refused says which key, path or address, and what would be right."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from miniclaw.config.web import WebConfig
from miniclaw.errors import ConfigError, NoSocketError, StoreIOError
from miniclaw.web.server import listening
from miniclaw.web.server.listening import MAX_ADDRESS_BYTES, short_address, tcp_listener, unix_listener, url_of
from tests.fakes.descriptors import open_descriptors
from tests.fakes.logs import LogRecorder
from tests.fakes.web_server import open_test_server

NO_SOCKET = (
    "Commands cannot reach this gateway, for it can have no socket; stop it to use them, or set MINICLAW_HOME "
    "to another file system or a shorter path"
)


def test_tcp_listener_with_port_zero_has_a_real_one() -> None:
    """Port 0 is any that is free, and the URL says which."""
    with tcp_listener("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert port > 0
        assert url_of(listener) == f"http://127.0.0.1:{port}"


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6")
def test_tcp_listener_of_ipv6_has_brackets_in_its_url() -> None:
    """An IPv6 address stands in brackets."""
    with tcp_listener("::1", 0) as listener:
        assert url_of(listener) == f"http://[::1]:{listener.getsockname()[1]}"


def test_tcp_listener_has_the_options_that_cut_dead_peers() -> None:
    """A peer that acknowledges nothing is given up after three seconds."""
    with tcp_listener("127.0.0.1", 0) as listener:
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 3000
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_tcp_listener_with_a_port_in_use_names_the_port_and_the_way_out() -> None:
    """A port that another program has is refused by key and address."""
    with (
        tcp_listener("127.0.0.1", 0) as listener,
        pytest.raises(ConfigError, match=r"web\.port: 127\.0\.0\.1:\d+ is in use .* choose another port, or 0"),
        tcp_listener("127.0.0.1", listener.getsockname()[1]),
    ):
        pytest.fail("two at one port")


def test_tcp_listener_at_an_address_of_somebody_else_names_the_host() -> None:
    """An address that the machine does not have is refused by key."""
    with (
        pytest.raises(ConfigError, match=r"web\.host: this machine has no address 192\.0\.2\.1"),
        tcp_listener("192.0.2.1", 0),
    ):
        pytest.fail("listens at an address of documentation")


def test_tcp_listener_without_the_right_to_a_port_names_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """A privileged port is refused with those that are free to use."""

    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ConfigError, match=r"web\.port: .*:80; choose a port from 1024"), tcp_listener("127.0.0.1", 80):
        pytest.fail("listens")


async def test_open_server_with_a_port_in_use_leaves_no_socket_behind(tmp_path: Path) -> None:
    """A start that is refused undoes what it has begun."""
    with tcp_listener("127.0.0.1", 0) as listener:
        config = WebConfig(port=listener.getsockname()[1])
        with pytest.raises(ConfigError, match=r"web\.port"):
            async with open_test_server(tmp_path, config=config):
                pytest.fail("two at one port")
    assert not (tmp_path / "gateway.sock").exists()


async def test_open_server_that_is_not_enabled_serves_the_socket_only(tmp_path: Path) -> None:
    """Without an address there is the Unix socket still."""
    async with open_test_server(tmp_path, config=WebConfig(enabled=False)) as running:
        assert running.server.addresses == ()
        assert (await running.get(over="unix")).status == 200


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_unix_listener_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """The socket has mode 0600 and its directory 0700, and the umask is not touched by it."""
    path = tmp_path / "workspace" / "gateway.sock"
    path.parent.mkdir(0o700)
    before = os.umask(umask)
    try:
        with unix_listener(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600 & ~umask
            assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert not path.exists()


def test_unix_listener_never_has_a_wider_mode_at_the_moment_it_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From bind on, and not from a chmod after it, nobody else can connect."""
    path = tmp_path / "gateway.sock"
    modes: list[int] = []
    bind = socket.socket.bind

    def look(self: socket.socket, address: str) -> None:
        bind(self, address)
        modes.append(stat.S_IMODE(path.stat().st_mode))

    before = os.umask(0)
    try:
        monkeypatch.setattr(socket.socket, "bind", look)
        with unix_listener(path):
            pass
    finally:
        os.umask(before)
    assert modes == [0o600]


def test_unix_listener_makes_a_private_directory(tmp_path: Path) -> None:
    """A workspace that is not there yet is made for its user alone."""
    with unix_listener(tmp_path / "workspace" / "gateway.sock"):
        assert stat.S_IMODE((tmp_path / "workspace").stat().st_mode) == 0o700


def test_unix_listener_replaces_a_stale_socket(tmp_path: Path) -> None:
    """What a killed gateway left is no obstacle."""
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    stale = path.stat().st_ino, path.stat().st_mode
    with unix_listener(path), socket.socket(socket.AF_UNIX) as client:
        assert (path.stat().st_ino, path.stat().st_mode) != stale
        client.connect(str(path))


def make_file(path: Path) -> None:
    path.write_text("mine")


def make_directory(path: Path) -> None:
    path.mkdir()


def make_link_to_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path.with_name("other.sock")))
    path.symlink_to("other.sock")


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [make_file, make_directory, make_link_to_socket, make_dangling_link, os.mkfifo])
def test_unix_listener_leaves_what_is_no_socket(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A file, a directory, a link or a pipe in the socket's place is refused by its path, and stays as it is."""
    path = tmp_path / "gateway.sock"
    make(path)
    before = path.lstat()
    with pytest.raises(ConfigError, match=r"gateway\.sock: it is no socket"), unix_listener(path):
        pytest.fail("took its place")
    assert path.lstat() == before
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name == "nowhere") == []


def test_unix_listener_removes_only_its_own_socket(tmp_path: Path) -> None:
    """A socket that somebody else has put in its place meanwhile stays."""
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as other:
        with unix_listener(path):
            path.unlink()
            other.bind(str(path))
        assert path.is_socket()


@pytest.mark.parametrize("length", [80, 300])
async def test_unix_socket_with_a_long_path_is_served(tmp_path: Path, length: int) -> None:
    """A path beyond the 107 bytes of a socket address can be bound and connected to, and no descriptor is left open."""
    workspace = tmp_path / ("w" * (length // 2)) / ("x" * (length // 2))
    before = open_descriptors()
    async with open_test_server(workspace) as running:
        assert len(str(running.server.socket_path)) > 107
        assert (await running.get(over="unix")).status == 200
    assert not (workspace / "gateway.sock").exists()
    assert not open_descriptors() - before


def test_short_address_of_a_short_path_is_the_path(tmp_path: Path) -> None:
    """There is no detour where none is needed."""
    with short_address(Path("/a/gateway.sock")) as address:
        assert address == "/a/gateway.sock"


def test_short_address_elsewhere_says_what_would_be_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no /proc, a path that is too long is refused clearly."""
    monkeypatch.setattr(listening, "_DESCRIPTORS", "/proc/none")
    with (
        pytest.raises(NoSocketError, match=f"more than {MAX_ADDRESS_BYTES} bytes; choose a shorter workspace"),
        short_address(Path("/" + "x" * 200)),
    ):
        pytest.fail("found a way")


REFUSALS = ("EPERM", "EINVAL", "ENOTSUP", "ENOSYS", "ENAMETOOLONG")


@pytest.mark.parametrize("name", REFUSALS)
async def test_open_server_where_there_are_no_sockets_serves_the_address_and_says_so_once(
    tmp_path: Path, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """FAT, shares and mounts of containers have none: page and channels work, and the log says what does not."""

    def refuse(_listener: socket.socket, _address: str) -> None:
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    monkeypatch.setattr(listening, "_bind_private", refuse)
    before = open_descriptors()
    async with open_test_server(tmp_path) as running:
        assert (await running.get()).status == 200
        assert running.server.socket_path is None
        assert not (tmp_path / "gateway.sock").exists()
    event = logs.one(NO_SOCKET)
    assert (event["level"], event["socket"]) == ("warning", str(tmp_path / "gateway.sock"))
    assert event["problem"] == os.strerror(getattr(errno, name))
    assert not open_descriptors() - before


async def test_open_server_with_a_long_path_elsewhere_serves_the_address(
    tmp_path: Path, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that is too long for a socket is no reason not to start."""
    monkeypatch.setattr(listening, "_DESCRIPTORS", "/proc/none")
    async with open_test_server(tmp_path / ("w" * 100)) as running:
        assert (await running.get()).status == 200
    assert "choose a shorter workspace" in logs.one(NO_SOCKET)["problem"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EACCES])
async def test_open_server_whose_socket_fails_for_another_reason_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A disk that is full or broken is none without sockets."""

    def refuse(_listener: socket.socket, _address: str) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(listening, "_bind_private", refuse)
    with pytest.raises(StoreIOError, match="could not listen there"):
        async with open_test_server(tmp_path):
            pytest.fail("started")
