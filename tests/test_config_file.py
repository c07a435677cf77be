"""The configuration file and the home: what can be wrong about a file, and the way back from `show_config`."""

from __future__ import annotations

import os
from datetime import time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyfakefs.fake_filesystem import FakeFilesystem
from pyfakefs.helpers import set_uid

from miniclaw.config import Config, Home, LogConfig, SessionConfig, find_home, load_config, parse_config, show_config
from miniclaw.config.file import MAX_BYTES
from miniclaw.config.notify import NotifyConfig
from miniclaw.errors import ConfigError
from tests.fakes.program import Program


def _seconds(least: int, most: int) -> st.SearchStrategy[timedelta]:
    return st.integers(least, most).map(lambda seconds: timedelta(seconds=seconds))


_HOUR = 3600
_DAY = 86_400
_24_HOURS = timedelta(hours=24)
_ttls = st.none() | _seconds(_HOUR, 10**9 - 1) | st.builds(timedelta, days=st.integers(1, 36_500))
_sizes = st.none() | st.integers(2**20, 10**15) | st.builds(int.__mul__, st.integers(1, 999), st.just(2**30))
_AT = {"cleanup_at": st.builds(time, st.integers(0, 23), st.integers(0, 59)), "cleanup_interval": st.just(_24_HOURS)}
_INTERVAL = {"cleanup_interval": st.none() | _seconds(60, 365 * _DAY)}


def _is_consistent(session: SessionConfig) -> bool:
    try:
        session.retention_policy()
    except ValueError:
        return False
    return True


def _sessions(times: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[SessionConfig]:
    return st.builds(
        SessionConfig,
        ttl=_ttls,
        ttl_by_channel=st.dictionaries(st.text("abz09-", min_size=1, max_size=32), _ttls, max_size=3),
        max_sessions=st.none() | st.integers(1, 10**9),
        max_disk_bytes=_sizes,
        low_water=st.none() | st.integers(2**20, 10**9),
        min_free_disk=_sizes,
        min_idle=st.none() | _seconds(_HOUR, 2 * _HOUR),
        max_removed_fraction=st.none() | st.floats(0, 1, exclude_min=True, exclude_max=True),
        trash_for=st.none() | _seconds(_HOUR, 10**9 - 1),
        quarantine_for=st.none() | _seconds(_DAY, 10**9 - 1),
        persistence_interval=_seconds(1, _HOUR),
        max_session_bytes=st.integers(2**20, 192 * 2**20),
        notice=st.sampled_from(["on", "off"]),
        mode=st.sampled_from(["enforce", "announce"]),
        **times,
    ).filter(_is_consistent)


_configs = st.builds(
    Config,
    session=_sessions(_AT) | _sessions(_INTERVAL),
    notify=st.builds(NotifyConfig, command=st.just(()) | st.tuples(st.just("/bin/tell"), st.text("a b-"))),
    log=st.builds(
        LogConfig,
        level=st.sampled_from(["debug", "info", "warning", "error"]),
        format=st.sampled_from(["auto", "console", "json"]),
    ),
)


def _as_file(tables: dict[str, dict[str, Any]]) -> dict[str, Any]:
    session = tables["session"] | {"ttl_by_channel": tables["session.ttl_by_channel"]}
    return {"session": session, "model": tables["model"], "notify": tables["notify"], "log": tables["log"]}


@given(_configs)
def test_show_config_any_configuration_is_parsed_back_to_the_same(config: Config) -> None:
    """What is shown, put into a file, is the same configuration."""
    assert parse_config(_as_file(show_config(config))) == config


def test_show_config_defaults_are_shown_as_the_file_would_say_them() -> None:
    """Every key is shown, in words that the file takes."""
    assert show_config(Config()) == {
        "session": {
            "ttl": "30d",
            "max_sessions": "never",
            "max_disk_bytes": "never",
            "min_free_disk": "never",
            "max_removed_fraction": "never",
            "trash_for": "7d",
            "quarantine_for": "90d",
            "persistence_interval": "30s",
            "max_session_bytes": "64MiB",
            "cleanup_interval": "1d",
            "notice": "on",
            "mode": "enforce",
        },
        "session.ttl_by_channel": {},
        "model": {
            "provider": "echo",
            "connect_timeout": "10s",
            "first_token_timeout": "2m",
            "turn_timeout": "10m",
            "max_retries": 2,
            "history_budget": 24_000,
        },
        "web": {
            "enabled": True,
            "host": "127.0.0.1",
            "port": 8765,
            "allowed_hosts": [],
            "require_token": True,
        },
        "telegram": {"allowed_users": [], "api_base": "https://api.telegram.org"},
        "notify": {"command": []},
        "log": {"level": "info", "format": "auto"},
    }


def test_load_config_missing_file_is_the_defaults_unless_it_was_named(fs: FakeFilesystem) -> None:
    """Nobody needs a configuration; a file that was asked for by name has to be there."""
    path = Path("/home/me/config.toml")
    assert load_config(path, required=False) == Config()
    with pytest.raises(ConfigError, match="there is no such file") as caught:
        load_config(path, required=True)
    assert caught.value.path == path


@pytest.mark.parametrize("required", [True, False])
def test_load_config_unreadable_file_is_refused(fs: FakeFilesystem, required: bool) -> None:
    """A file that is there and cannot be read never means the defaults."""
    path = Path("/home/me/config.toml")
    fs.create_file(path, contents='[session]\nttl = "never"\n', st_mode=0o100000)
    set_uid(1000)
    with pytest.raises(ConfigError, match="could not read it: Permission denied") as caught:
        load_config(path, required=required)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("required", [True, False])
def test_load_config_directory_is_refused(tmp_path: Path, required: bool) -> None:
    """A directory in the place of the file is no missing file."""
    with pytest.raises(ConfigError, match="it is a directory, not a file") as caught:
        load_config(tmp_path, required=required)
    assert str(caught.value).startswith(f"{tmp_path}: ")


@pytest.mark.parametrize("named", [True, False])
def test_config_that_is_a_fifo_is_refused_at_once(tmp_path: Path, named: bool) -> None:
    """Nobody waits for a writer that may never come."""
    program = Program(tmp_path / "home")
    program.home.mkdir()
    os.mkfifo(program.config_path)
    result = program.run(*(["--config", str(program.config_path)] if named else []), "status")
    assert (result.code, result.out) == (2, "")
    assert result.err == f"miniclaw: {program.config_path}: it is a FIFO, not a file\n"


def test_load_config_device_is_refused() -> None:
    """A device has no end, or says nothing: neither is a configuration."""
    with pytest.raises(ConfigError, match="/dev/null: it is a device, not a file"):
        load_config(Path("/dev/null"), required=True)


def test_load_config_link_to_a_file_is_followed(tmp_path: Path) -> None:
    """Many keep their configurations elsewhere."""
    (tmp_path / "there.toml").write_text("[session]\nmax_sessions = 7\n")
    link = tmp_path / "config.toml"
    link.symlink_to("there.toml")
    assert load_config(link, required=False).session.max_sessions == 7


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('min_idle = "31d"', "31d is more than ttl, 30d: nothing would be idle"),
        ('min_idle = "90m"\nttl_by_channel = {web = "1h"}', "90m is more than ttl_by_channel.web, 1h: nothing would"),
    ],
)
def test_load_config_contradiction_is_told_in_the_units_of_the_file(tmp_path: Path, text: str, problem: str) -> None:
    """Whoever looks for 31d in the file finds it."""
    path = tmp_path / "config.toml"
    path.write_text(f"[session]\n{text}\n")
    with pytest.raises(ConfigError, match=f"session.min_idle: {problem}"):
        load_config(path, required=False)


def test_load_config_below_a_file_is_refused(tmp_path: Path) -> None:
    """A home that is no directory is no missing configuration."""
    (tmp_path / "home").write_text("")
    with pytest.raises(ConfigError, match="could not read it: Not a directory"):
        load_config(tmp_path / "home" / "config.toml", required=False)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'[session]\nttl = "\xff"\n', "it is not UTF-8"),
        (b'\xff\xfe[\x00s\x00]\x00', "it is not UTF-8"),
        (b"session: {ttl: 30d}\n", "it is not TOML"),
        (b'[session]\nttl = 30d\n', "it is not TOML"),
        (b'[session]\nttl = "30d"\nttl = "40d"\n', "it is not TOML"),
        (b'[session]\nttl = 2026-02-30\n', "it is not TOML"),
        (b"\x00", "it is not TOML"),
        (b"[web]\nport = " + b"9" * 5000, "it is not TOML: a number has too many digits$"),
        (b"x = " + b"[" * 5000 + b"]" * 5000, "it is not TOML: nested too deeply$"),
    ],
)  # fmt: skip
def test_load_config_damaged_file_is_refused_by_name(tmp_path: Path, data: bytes, problem: str) -> None:
    """A file that cannot be read as a configuration never means the defaults."""
    path = tmp_path / "config.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=problem) as caught:
        load_config(path, required=False)
    assert str(caught.value).startswith(f"{path}: ")


def test_load_config_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """A file that no person has written is an error with its name, and not read whole; at the bound it is read."""
    path = tmp_path / "config.toml"
    path.touch()
    os.truncate(path, 3 * 2**30)
    with pytest.raises(ConfigError, match="it is larger than 1,048,576 bytes") as caught:
        load_config(path, required=False)
    assert caught.value.path == path
    path.write_bytes(b"#" * MAX_BYTES)
    assert load_config(path, required=False) == Config()


def test_load_config_empty_file_is_the_defaults(tmp_path: Path) -> None:
    """A file that says nothing changes nothing."""
    path = tmp_path / "config.toml"
    path.write_bytes(b"")
    assert load_config(path, required=True) == Config()


def test_load_config_wrong_value_names_the_file(tmp_path: Path) -> None:
    """The file's name is in the message also when the file itself could be read."""
    path = tmp_path / "config.toml"
    path.write_text("[session]\nttl = 0\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, required=False)
    assert str(caught.value).startswith(f"{path}: session.ttl: 0 is not a duration")


def test_find_home_absolute_path_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable says where everything lies."""
    monkeypatch.setenv("MINICLAW_HOME", "/srv/claw")
    home = find_home()
    assert home == Home(Path("/srv/claw"))
    assert home.config_path == Path("/srv/claw/config.toml")
    assert home.sessions_dir == Path("/srv/claw/workspace/sessions")
    assert home.earlier.state == Path("/srv/claw/workspace/state")
    assert home.earlier.trash == Path("/srv/claw/workspace/trash")


def test_find_home_without_the_variable_is_below_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable, sessions lie in ~/.miniclaw/workspace/sessions."""
    monkeypatch.delenv("MINICLAW_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert find_home().sessions_dir == Path("/home/me/.miniclaw/workspace/sessions")


@pytest.mark.parametrize("value", ["", ".", "claw", "~/claw", "../claw"])
def test_find_home_relative_path_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Where sessions lie does not depend on where a command is called from."""
    monkeypatch.setenv("MINICLAW_HOME", value)
    with pytest.raises(ConfigError, match=r"MINICLAW_HOME=.*: give an absolute path") as caught:
        find_home()
    assert repr(value) in str(caught.value)


def test_load_config_with_byte_order_mark_is_read(tmp_path: Path) -> None:
    """An editor of Windows puts one before the first key."""
    path = tmp_path / "config.toml"
    path.write_bytes(b'\xef\xbb\xbf[session]\nttl = "10d"\n')
    assert load_config(path, required=True).session.ttl == timedelta(days=10)
