"""The configuration: what is right is taken, anything else is refused by name."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.config import (
    Config,
    LogConfig,
    SessionConfig,
    load_config,
    parse_config,
)
from miniclaw.errors import ConfigError
from miniclaw.formats import parse_duration

PATH = Path("/etc/miniclaw/config.toml")

BOUNDS = {
    "ttl": (timedelta(hours=1), timedelta(days=36500)),
    "persistence_interval": (timedelta(seconds=1), timedelta(hours=1)),
    "cleanup_interval": (timedelta(minutes=1), timedelta(days=365)),
}
MAY_BE_NEVER = {"ttl", "cleanup_interval"}

durations_in_words = st.builds("{}{}{}".format, st.integers(-2, 10**8), st.sampled_from(["", " "]), st.text("smhdwy"))
toml_values = st.recursive(
    st.one_of(
        durations_in_words, st.text(), st.integers(), st.floats(), st.booleans(), st.datetimes(), st.dates(),
        st.sampled_from(["never", "Never", "never ", "off", "0", "0s", "-1d", "1h", "36500d", "36501d", "30d"]),
    ),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=5,
)  # fmt: skip


def _parse_or_error(values: dict[str, Any]) -> Config | ConfigError:
    try:
        return parse_config(values, PATH)
    except ConfigError as error:
        return error


def _config_of(text: str, tmp_path: Path) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, required=True)


def test_parse_config_nothing_said_gives_the_defaults() -> None:
    """Thirty days, thirty seconds, twenty-four hours, with notice."""
    config = parse_config({})
    assert config == Config()
    assert config.session.ttl == timedelta(days=30)
    assert config.session.ttl_by_channel == {}
    assert config.session.persistence_interval == timedelta(seconds=30)
    assert config.session.cleanup_interval == timedelta(hours=24)
    assert config.session.notice == "on"
    assert (config.log.level, config.log.format) == ("info", "auto")


def test_load_config_every_key_is_taken(tmp_path: Path) -> None:
    """What the file says is what holds, for every key there is."""
    text = """
    [session]
    ttl = "90d"
    persistence_interval = "5s"
    cleanup_interval = "12h"
    notice = "off"
    [session.ttl_by_channel]
    telegram = "1w"
    web-chat = "never"
    [log]
    level = "debug"
    format = "json"
    """
    assert _config_of(text, tmp_path) == Config(
        session=SessionConfig(
            ttl=timedelta(days=90),
            ttl_by_channel={"telegram": timedelta(days=7), "web-chat": None},
            persistence_interval=timedelta(seconds=5),
            cleanup_interval=timedelta(hours=12),
            notice="off",
        ),
        log=LogConfig(level="debug", format="json"),
    )


@pytest.mark.parametrize("key", sorted(MAY_BE_NEVER))
def test_parse_config_never_switches_the_rule_off(key: str) -> None:
    """Never means that nothing is removed, or that no cleanup runs by itself."""
    assert getattr(parse_config({"session": {key: "never"}}).session, key) is None


@pytest.mark.parametrize(
    ("key", "right"),
    [("ttl", "1h"), ("ttl", "36500d"), ("persistence_interval", "1s"), ("persistence_interval", "1h"),
     ("cleanup_interval", "1m"), ("cleanup_interval", "365d")],
)  # fmt: skip
def test_parse_config_the_bounds_themselves_are_right(key: str, right: str) -> None:
    """The bounds that the messages name are inclusive."""
    assert getattr(parse_config({"session": {key: right}}).session, key) == parse_duration(right)


@pytest.mark.parametrize(
    "wrong", ["0", "0s", "0d", "-1d", "30", "", "soon", "1.5d", "1y", 0, 30, -1, 1.5, True, [], {}]
)
@pytest.mark.parametrize("key", [*BOUNDS, "ttl_by_channel.telegram"])
def test_parse_config_wrong_duration_is_refused_by_file_key_value_and_what_is_right(key: str, wrong: object) -> None:
    """A duration that makes no sense stops the program, and its message is enough to put it right."""
    table, _, channel = key.partition(".")
    with pytest.raises(ConfigError) as caught:
        parse_config({"session": {table: {channel: wrong} if channel else wrong}}, PATH)
    assert caught.value.key == f"session.{key}"
    assert caught.value.path == PATH
    message = str(caught.value)
    shown = f'"{wrong}"' if isinstance(wrong, str) else str(wrong).lower()
    assert message.startswith(f"{PATH}: session.{key}: {shown} is not a duration from")
    assert "with a unit (s, m, h, d, w)" in message


@pytest.mark.parametrize(
    ("key", "wrong"),
    [("ttl", "59m"), ("ttl", "36501d"), ("persistence_interval", "61m"), ("persistence_interval", "0s"),
     ("persistence_interval", "never"), ("cleanup_interval", "59s"), ("cleanup_interval", "366d")],
)  # fmt: skip
def test_parse_config_outside_the_bounds_is_refused(key: str, wrong: str) -> None:
    """Just outside of the bounds is wrong; a TTL of minutes is "delete everything" in other words."""
    with pytest.raises(ConfigError, match=wrong):
        parse_config({"session": {key: wrong}}, PATH)


@given(st.sampled_from(sorted(BOUNDS)), toml_values)
def test_parse_config_any_duration_value_is_legal_or_refused_and_never_a_default(key: str, value: Any) -> None:
    """Whatever stands in the file, the result is what it says, within the bounds, or an error that names the key."""
    config = _parse_or_error({"session": {key: value}})
    if isinstance(config, ConfigError):
        assert config.key == f"session.{key}"
        assert str(config).startswith(f"{PATH}: session.{key}: ")
        return
    duration = getattr(config.session, key)
    if duration is None:
        assert value in {"never", "off"}
        assert key in MAY_BE_NEVER
    else:
        least, most = BOUNDS[key]
        assert least <= duration <= most
        assert duration == parse_duration(value)


@given(st.dictionaries(st.sampled_from(["telegram", "web", "", "Telegram", "a_b", "x" * 33, "../x"]), toml_values))
def test_parse_config_any_ttl_by_channel_is_legal_or_refused(by_channel: dict[str, Any]) -> None:
    """No channel's TTL is ever zero, negative or somebody else's, whatever the table holds."""
    config = _parse_or_error({"session": {"ttl_by_channel": by_channel}})
    if isinstance(config, ConfigError):
        assert all(str(error.key).startswith("session.ttl_by_channel.") for error in config.errors)
        return
    parsed = config.session.ttl_by_channel
    assert parsed.keys() == by_channel.keys() <= {"telegram", "web"}
    for channel, ttl in parsed.items():
        assert by_channel[channel] in {"never", "off"} if ttl is None else ttl >= timedelta(hours=1)


@pytest.mark.parametrize("channel", ["Telegram", "a_b", "", "x" * 33, "../x"])
def test_parse_config_wrong_channel_name_is_refused(channel: str) -> None:
    """A TTL for a channel that cannot exist would silently not apply."""
    with pytest.raises(ConfigError, match="a channel is 1 to 32 of a-z, 0-9 and -") as caught:
        parse_config({"session": {"ttl_by_channel": {channel: "30d"}}}, PATH)
    assert caught.value.key == f"session.ttl_by_channel.{channel}"


@pytest.mark.parametrize(
    ("values", "key", "known"),
    [
        ({"sesion": {}}, "sesion", "session, model, web, telegram, channels, notify, log"),
        ({"session": {"ttl_days": 30}}, "session.ttl_days", "ttl, ttl_by_channel"),
        ({"session": {"TTL": "30d"}}, "session.TTL", "ttl, ttl_by_channel"),
        ({"log": {"colour": True}}, "log.colour", "level, format"),
        ({"ttl": "30d"}, "ttl", "session, model, web, telegram, channels, notify, log"),
    ],
)
def test_parse_config_unknown_name_is_refused_with_the_known_ones(values: Any, key: str, known: str) -> None:
    """A misspelt key would silently leave the default in force; the message lists what is known."""
    with pytest.raises(ConfigError, match="unknown; known here are") as caught:
        parse_config(values, PATH)
    assert caught.value.key == key
    assert str(caught.value).startswith(f"{PATH}: {key}: ")
    assert known in str(caught.value)


@pytest.mark.parametrize("key", ["level", "format"])
@pytest.mark.parametrize("wrong", ["loud", "INFO", "", 5, True, []])
def test_parse_config_wrong_log_setting_is_refused_with_the_choices(key: str, wrong: object) -> None:
    """The message names the file, the key and every choice there is."""
    with pytest.raises(ConfigError) as caught:
        parse_config({"log": {key: wrong}}, PATH)
    choices = "debug, info, warning, error" if key == "level" else "auto, console, json"
    assert str(caught.value).startswith(f"{PATH}: log.{key}: ")
    assert f"is not one of {choices}" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"session": 5}, "session"),
        ({"session": []}, "session"),
        ({"log": "debug"}, "log"),
        ({"session": {"ttl_by_channel": "30d"}}, "session.ttl_by_channel"),
        ({"session": {"notice": True}}, "session.notice"),
        ({"session": {"notice": 0}}, "session.notice"),
    ],
)
def test_parse_config_wrong_type_is_refused_by_file_and_key(values: Any, key: str) -> None:
    """Nothing is converted by guessing."""
    with pytest.raises(ConfigError) as caught:
        parse_config(values, PATH)
    assert str(caught.value).startswith(f"{PATH}: {key}: ")


def test_parse_config_does_not_change_what_it_was_given() -> None:
    """The caller's document is the caller's."""
    values = {"session": {"ttl": "90d", "ttl_by_channel": {"web": "never"}}}
    parse_config(values)
    assert values == {"session": {"ttl": "90d", "ttl_by_channel": {"web": "never"}}}
