"""A configuration in which several things are wrong: all of them are told at once, each by file, key and what is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.config import Config, config_of_tables, differences, load_config, parse_config, show_config
from miniclaw.errors import BrokenConfigError, ConfigError

PATH = Path("/etc/miniclaw/config.toml")
WRONG: dict[str, tuple[str, str, Any]] = {
    "session.ttl": ("session", "ttl", 0),
    "session.trash_for": ("session", "trash_for", "nevr"),
    "session.mode": ("session", "mode", "dry"),
    "session.tll": ("session", "tll", "30d"),
    "session.a.b": ("session", "a.b", 1),
    "session.ttl_by_channel.Web": ("session", "ttl_by_channel", {"Web": "1d", "mail": "7d"}),
    "model.max_retries": ("model", "max_retries", 99),
    "model.provider": ("model", "provider", 1),  # the other keys of an unknown text are of no known kind
    "web.port": ("web", "port", "a"),
    "web.enabled": ("web", "enabled", "x"),
    "telegram.allowed_users": ("telegram", "allowed_users", [0]),
    "log.level": ("log", "level", "loud"),
    "log.colour": ("log", "colour", True),
}


def _errors(values: dict[str, Any]) -> list[ConfigError]:
    with pytest.raises(ConfigError) as caught:
        parse_config(values, PATH)
    return list(caught.value.errors)


@given(st.sets(st.sampled_from(sorted(WRONG)), min_size=1))
def test_parse_config_tells_all_that_is_wrong_each_once(keys: set[str]) -> None:
    """Whatever is wrong together, no mistake hides another, and none is told twice."""
    values: dict[str, Any] = {}
    for key in sorted(keys):
        table, name, value = WRONG[key]
        values.setdefault(table, {})[name] = value
    errors = _errors(values)
    assert sorted(str(error.key) for error in errors) == sorted(keys)
    assert all(str(error).startswith(f"{PATH}: {error.key}: ") for error in errors)


def test_parse_config_several_errors_are_one_error_of_as_many_lines() -> None:
    """Who catches the first kind of error gets them all."""
    with pytest.raises(BrokenConfigError) as caught:
        parse_config({"sesion": {}, "session": {"ttl": 0}, "log": {"level": "loud"}}, PATH)
    lines = str(caught.value).splitlines()
    assert [line.removeprefix(f"{PATH}: ").partition(": ")[0] for line in lines] == [
        "session.ttl",
        "sesion",
        "log.level",
    ]
    assert lines[1].endswith('; did you mean "session"?')
    assert (caught.value.path, caught.value.key) == (PATH, "session.ttl")


def test_parse_config_contradictions_are_told_of_each_table_that_is_right_otherwise() -> None:
    """What is missing for a key that is wrong itself would only mislead."""
    contradicting = {
        "session": {"min_idle": "60d", "low_water": "5MB", "cleanup_at": "04:00", "cleanup_interval": "1d"},
        "model": {"provider": "openai"},
        "telegram": {"bot_token_env": "A", "bot_token_file": "/a", "allowed_users": [1]},
    }
    assert [error.key for error in _errors(contradicting)] == [
        "session.cleanup_at", "session.min_idle", "session.low_water", "model.base_url", "model.model",
        "telegram.bot_token_file",
    ]  # fmt: skip
    wrong = {"session": {"low_water": "5MB", "max_disk_bytes": "10"}, "model": {"provider": "openai", "base_url": 5}}
    assert [error.key for error in _errors(wrong)] == ["session.max_disk_bytes", "model.base_url"]


def test_load_config_broken_syntax_is_one_error(tmp_path: Path) -> None:
    """A file that is no TOML has no keys to be wrong about; the line is told."""
    path = tmp_path / "config.toml"
    path.write_text('[session]\nttl = "30d\n[log]\nlevel = "loud"\n')
    with pytest.raises(ConfigError, match=r"it is not TOML: .*line 2") as caught:
        load_config(path, required=False)
    assert len(caught.value.errors) == 1


def test_differences_names_each_key_with_both_values() -> None:
    """A key that only one of them has is None in the other; the words for off are the same."""
    ours = show_config(parse_config({"session": {"ttl": "7d", "ttl_by_channel": {"web": "1d"}, "trash_for": "off"}}))
    theirs = show_config(parse_config({"session": {"trash_for": "never", "cleanup_at": "04:00"}}))
    theirs["session"]["trash_for"] = "never"  # as an earlier version shows it
    assert differences(ours, theirs) == [
        ("session.ttl", "7d", "30d"), ("session.cleanup_interval", "1d", None),
        ("session.ttl_by_channel.web", "1d", None), ("session.cleanup_at", None, "04:00"),
    ]  # fmt: skip
    assert differences(ours, ours) == []


def test_config_of_tables_is_the_configuration_that_was_shown() -> None:
    """What a gateway tells of itself is what it goes by; what is no configuration is refused."""
    config = parse_config({"session": {"ttl_by_channel": {"web": "1d"}, "max_sessions": 5}, "log": {"level": "debug"}})
    assert config_of_tables(show_config(config)) == config
    assert config_of_tables({}) == Config()
    with pytest.raises(ConfigError, match="unknown"):
        config_of_tables({"session": {"from_the_future": 1}})
