"""The retention rules in the configuration: every key wrong in every way is refused by name, and never a default."""

from __future__ import annotations

import math
import tomllib
from datetime import time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.config import Config, SessionConfig, parse_config, show_config
from miniclaw.config.notify import NotifyConfig
from miniclaw.errors import ConfigError
from miniclaw.formats import parse_duration, parse_size
from miniclaw.session.retention.policy import RetentionPolicy

PATH = Path("/etc/miniclaw/config.toml")
DURATIONS = {"min_idle": ("1h", "36500d"), "trash_for": ("1h", "36500d"), "quarantine_for": ("1d", "36500d")}
SIZES = {
    "max_disk_bytes": ("1MiB", "1000TB"), "low_water": ("1MiB", "1000TB"), "min_free_disk": ("1MiB", "1000TB"),
    "max_session_bytes": ("1MiB", "192MiB"),
}  # fmt: skip
MAY_BE_NEVER = {
    "max_sessions",
    "max_disk_bytes",
    "min_free_disk",
    "max_removed_fraction",
    "quarantine_for",
}
KEYS = [*DURATIONS, *SIZES, "max_sessions", "max_removed_fraction", "cleanup_at", "mode"]

# What a key needs beside it to be right by itself
BESIDE: dict[str, dict[str, Any]] = {"low_water": {"max_disk_bytes": "1000TB"}, "min_idle": {"ttl": "never"}}

WRONG: dict[str, list[Any]] = {
    "min_idle": ["59m", "36501d", "never"],
    "trash_for": ["59m", "36501d", "Off", "Never", "never ", "none"],
    "quarantine_for": ["23h", "36501d", "Off"],
    "max_disk_bytes": ["1048575B", "1001TB", "1MB", "1024KB", "500", "1.5GB", "5 gb", "Never"],
    "low_water": ["1048575B", "1001TB", "never"],
    "min_free_disk": ["1048575B", "1001TB", "10%"],
    "max_session_bytes": ["1048575B", "193MiB", "never", "off", "64", "64 mb"],
    "max_sessions": [1_000_000_001, "100", "1k", "never "],
    "max_removed_fraction": [1.0, 0.0, -0.1, 1.1, "0.5", "50%", -0.0],
    "cleanup_at": ["24:00", "4:00", "04:60", "04:00:00", "0400", "never", "04:00Z", "\u0660\u0664:00", time(4)],
    "mode": ["Enforce", "off", "dry-run", "never"],
}
ALWAYS_WRONG: list[Any] = [
    0, -1, True, False, 1.5, -1.5, math.nan, math.inf, -math.inf, [], ["30d"], {}, {"a": 1}, "", "0", "30", "soon",
    "0s", "0d", "-1d", "0B", "-1MB", "all", "everything",
]  # fmt: skip


def parse(values: dict[str, Any]) -> SessionConfig:
    return parse_config({"session": values}, PATH).session


@pytest.mark.parametrize(("key", "wrong"), [(key, wrong) for key in KEYS for wrong in [*ALWAYS_WRONG, *WRONG[key]]])
def test_parse_config_of_wrong_value_is_refused_by_key(key: str, wrong: object) -> None:
    """Zero, negative, bool, NaN, infinity, list, table, no unit, unknown word, out of bounds: refused by key."""
    with pytest.raises(ConfigError) as caught:
        parse({key: wrong, **BESIDE.get(key, {})})
    assert caught.value.key == f"session.{key}"
    assert str(caught.value).startswith(f"{PATH}: session.{key}: ")
    assert " is not " in str(caught.value)


def parse_or_error(values: dict[str, Any]) -> SessionConfig | ConfigError:
    try:
        return parse(values)
    except ConfigError as error:
        return error


RIGHT: dict[str, list[tuple[Any, Any]]] = {
    **{key: [(text, parse_duration(text)) for text in bounds] for key, bounds in DURATIONS.items()},
    **{key: [(text, parse_size(text)) for text in bounds] for key, bounds in SIZES.items()},
    "max_sessions": [(1, 1), (10**9, 10**9)],
    "max_removed_fraction": [(5e-324, 5e-324), (0.5, 0.5), (math.nextafter(1, 0), math.nextafter(1, 0))],
    "cleanup_at": [("00:00", time(0)), ("23:59", time(23, 59)), ("04:00", time(4))],
    "mode": [("enforce", "enforce"), ("announce", "announce")],
}
RIGHT["low_water"].pop()  # which is no less than the highest max_disk_bytes


@pytest.mark.parametrize(("key", "value", "meant"), [(key, *pair) for key in KEYS for pair in RIGHT[key]])
def test_parse_config_of_right_value_takes_it_and_shows_it_back(key: str, value: Any, meant: Any) -> None:
    """The bounds are inclusive, and what is shown is the same configuration again."""
    session = parse({key: value, **BESIDE.get(key, {})})
    assert getattr(session, key) == meant
    shown = show_config(Config(session=session))["session"]
    assert parse(shown) == session


@pytest.mark.parametrize("word", ["never", "off"])
@pytest.mark.parametrize("key", sorted(MAY_BE_NEVER))
def test_parse_config_never_and_off_switch_off_each_rule_that_removes(key: str, word: str) -> None:
    """Both words keep data there, and the first of them is shown."""
    session = parse({key: word})
    assert getattr(session, key) is None
    assert getattr(session.retention_policy(), key) is None
    assert show_config(Config(session=session))["session"][key] == "never"


def test_parse_config_of_trash_off_switches_the_trash_off_without_a_warning() -> None:
    """What is shown for it is the word that the file takes."""
    warnings: list[str] = []
    config = parse_config({"session": {"trash_for": "off"}}, PATH, warnings=warnings)
    assert (config.session.trash_for, warnings) == (None, [])
    assert show_config(config)["session"]["trash_for"] == "off"
    assert parse_config({"session": show_config(config)["session"]}, PATH, warnings=warnings) == config
    assert warnings == []


def test_parse_config_of_trash_never_is_off_with_a_warning_that_names_the_new_line() -> None:
    """Yesterday's configuration starts, and says what to write in its place."""
    warnings: list[str] = []
    config = parse_config({"session": {"trash_for": "never"}}, PATH, warnings=warnings)
    assert config == parse_config({"session": {"trash_for": "off"}})
    (warning,) = warnings
    assert warning.startswith(f'{PATH}: session.trash_for: "never" is read as "off"')
    assert 'write trash_for = "off"' in warning


@pytest.mark.parametrize("word", ["on", "off"])
def test_parse_config_of_notice_is_taken_and_shown_as_it_is(word: str) -> None:
    """The daily cleanup waits for the notice period, or does not; what is shown is what the file takes."""
    warnings: list[str] = []
    config = parse_config({"session": {"notice": word}}, PATH, warnings=warnings)
    assert (config.session.notice, show_config(config)["session"]["notice"], warnings) == (word, word, [])


@pytest.mark.parametrize("wrong", [True, False, "On", "never", "", 1, ["on"]])
def test_parse_config_of_another_notice_is_refused_with_the_choices(wrong: object) -> None:
    """A notice that is misspelt is neither of the two."""
    error = parse_or_error({"notice": wrong})
    assert isinstance(error, ConfigError)
    assert str(error).startswith(f"{PATH}: session.notice: ")
    assert str(error).endswith(" is not one of on, off")


@pytest.mark.parametrize(("value", "word"), [(True, "on"), (False, "off")])
def test_parse_config_of_announce_first_is_notice_with_a_warning_that_names_the_new_line(
    value: bool, word: str
) -> None:
    """Yesterday's configuration starts, means what it meant, and says what to write in its place."""
    warnings: list[str] = []
    values = {"session": {"announce_first": value}}
    config = parse_config(values, PATH, warnings=warnings)
    assert config == parse_config({"session": {"notice": word}})
    assert warnings == [
        f'{PATH}: session.announce_first: it is read as notice = "{word}". '
        f'The next release refuses it; write notice = "{word}"'
    ]
    assert values == {"session": {"announce_first": value}}


@pytest.mark.parametrize("wrong", ["no", 0, 1, None, [], {}])
def test_parse_config_of_announce_first_that_is_no_bool_is_unknown(wrong: object) -> None:
    """It is a key of yesterday with the values of yesterday, or none that is known."""
    error = parse_or_error({"announce_first": wrong})
    assert isinstance(error, ConfigError)
    assert str(error).startswith(f"{PATH}: session.announce_first: unknown; known here are ")


def test_parse_config_of_announce_first_beside_notice_is_refused() -> None:
    """Which of the two is meant is not guessed."""
    error = parse_or_error({"announce_first": True, "notice": "off"})
    assert isinstance(error, ConfigError)
    assert error.key == "session.announce_first"


def test_parse_config_of_notify_is_a_program_and_its_arguments() -> None:
    """As it is, without a shell; empty, nobody is told."""
    command = ["/usr/local/bin/tell admin", "--to", "me", ""]
    config = parse_config({"notify": {"command": command}}, PATH)
    assert config.notify == NotifyConfig(tuple(command))
    assert show_config(config)["notify"] == {"command": command}
    assert parse_config({"notify": {"command": []}}) == parse_config({"notify": {}}) == Config()


@pytest.mark.parametrize(
    ("notify", "key"),
    [
        ({"command": [""]}, "notify.command"),
        ({"command": ["  ", "x"]}, "notify.command"),
        ({"command": ["tell", "a\0b"]}, "notify.command"),
        ({"command": "tell-admin"}, "notify.command"),
        ({"command": [1]}, "notify.command"),
        ({"command": True}, "notify.command"),
        ({"comand": ["tell"]}, "notify.comand"),
        (["tell"], "notify"),
    ],
)
def test_parse_config_of_a_notify_that_names_no_program_is_refused_by_key(notify: Any, key: str) -> None:
    """A command that could never be run is found when the file is read, and not when it is needed."""
    with pytest.raises(ConfigError) as caught:
        parse_config({"notify": notify}, PATH)
    assert str(caught.value.key).startswith(key)
    assert str(caught.value).startswith(f"{PATH}: {key}")


any_value = st.recursive(
    st.one_of(
        st.text(), st.integers(), st.floats(), st.booleans(), st.datetimes(), st.dates(), st.times(),
        st.sampled_from(["never", "Never", "off", "enforce", "announce", "04:00", "24:00", *map(str, ALWAYS_WRONG)]),
        st.builds("{}{}{}".format, st.integers(-2, 10**7), st.sampled_from(["", " "]), st.text("smhdwKMGTiB", max_size=3)),
    ),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=4,
)  # fmt: skip


@given(st.sampled_from(KEYS), any_value)
def test_parse_config_of_any_value_is_what_it_says_or_an_error_that_names_the_key(key: str, value: Any) -> None:
    """Whatever stands in the file, it is refused by key, or means what it says, within its bounds; never a default."""
    session = parse_or_error({key: value, **BESIDE.get(key, {})})
    if isinstance(session, ConfigError):
        assert session.key == f"session.{key}"
        assert str(session).startswith(f"{PATH}: session.{key}: ")
        return
    got = getattr(session, key)
    if got is None:
        assert value in {"never", "off"}
        assert key in MAY_BE_NEVER | {"trash_for"}
    elif key in DURATIONS:
        least, most = map(parse_duration, DURATIONS[key])
        assert got == parse_duration(value)
        assert least <= got <= most
    elif key in SIZES:
        least_size, most_size = map(parse_size, SIZES[key])
        assert got == parse_size(value)
        assert least_size <= got <= most_size
    elif key == "cleanup_at":
        assert got.isoformat("minutes") == value
    else:
        assert type(got) is type(value)
        assert got == value
        assert key == "mode" or (1 <= got <= 10**9 if key == "max_sessions" else 0 < got < 1)


@pytest.mark.parametrize(
    ("values", "key", "other"),
    [
        ({"low_water": "1GB"}, "low_water", "max_disk_bytes"),
        ({"low_water": "1GB", "max_disk_bytes": "never"}, "low_water", "max_disk_bytes"),
        ({"low_water": "1GB", "max_disk_bytes": "1GB"}, "low_water", "max_disk_bytes"),
        ({"low_water": "1GiB", "max_disk_bytes": "1GB"}, "low_water", "max_disk_bytes"),
        ({"min_idle": "31d"}, "min_idle", "ttl"),
        ({"min_idle": "2h", "ttl": "1h"}, "min_idle", "ttl"),
        ({"min_idle": "2d", "ttl_by_channel": {"web": "1d"}}, "min_idle", "ttl_by_channel.web"),
        ({"cleanup_at": "04:00", "cleanup_interval": "24h"}, "cleanup_at", "cleanup_interval"),
        ({"cleanup_at": "04:00", "cleanup_interval": "never"}, "cleanup_at", "cleanup_interval"),
    ],
)
def test_parse_config_of_contradiction_is_refused_by_both_keys(values: dict[str, Any], key: str, other: str) -> None:
    """Two keys that cannot be meant together stop the program, and the message has both."""
    with pytest.raises(ConfigError) as caught:
        parse(values)
    assert caught.value.key == f"session.{key}"
    assert other in caught.value.problem


def test_parse_config_of_ttl_below_the_default_min_idle_is_taken() -> None:
    """A TTL of an hour is explicit; only a `min_idle` that is given may not be above it."""
    assert parse({"ttl": "1h", "max_sessions": 5}).retention_policy().ttl == timedelta(hours=1)
    assert parse({"ttl": "1h", "min_idle": "1h"}).min_idle == timedelta(hours=1)


def test_session_config_retention_policy_has_every_rule() -> None:
    """What the table says is what the policy does, rule by rule."""
    text = """
    ttl = "90d"
    ttl_by_channel = {web = "7d", mail = "never"}
    max_sessions = 1000
    max_disk_bytes = "2GiB"
    low_water = "1500MB"
    min_free_disk = "500 MB"
    min_idle = "2d"
    max_removed_fraction = 0.5
    trash_for = "7d"
    quarantine_for = "60d"
    mode = "announce"
    cleanup_at = "04:30"
    """
    session = parse(tomllib.loads(text))
    assert session.retention_policy() == RetentionPolicy(
        ttl=timedelta(days=90),
        ttl_by_channel={"web": timedelta(days=7), "mail": None},
        max_sessions=1000,
        max_disk_bytes=2 * 1024**3,
        low_water=1_500_000_000,
        min_free_disk=500_000_000,
        min_idle=timedelta(days=2),
        max_removed_fraction=0.5,
        trash_for=timedelta(days=7),
        quarantine_for=timedelta(days=60),
    )
    assert (session.mode, session.cleanup_at) == ("announce", time(4, 30))


def test_session_config_defaults_are_those_of_the_policy_but_for_the_trash() -> None:
    """A gateway keeps for a week what it removes; a program that embeds the library deletes: thirty days, no budget."""
    assert Config().session.retention_policy() == RetentionPolicy(trash_for=timedelta(days=7))
    assert RetentionPolicy().trash_for is None
    assert not RetentionPolicy().has_budget
    assert (Config().session.mode, Config().session.cleanup_at) == ("enforce", None)


def test_show_config_with_time_of_day_leaves_the_interval_out() -> None:
    """The interval is not in force then, and a file that says both would be refused."""
    shown = show_config(parse_config({"session": {"cleanup_at": "04:00"}}))["session"]
    assert shown["cleanup_at"] == "04:00"
    assert "cleanup_interval" not in shown
