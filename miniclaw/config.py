"""The configuration: ``config.toml`` to frozen Structs.

Every key has a default. What is unknown, senseless or unreadable is refused by file, key and value, with what would
be right, and then the program does not start: it never falls back to a default that might delete more than was
meant. No value means "delete everything"; ``"never"`` switches a rule off.
"""

from __future__ import annotations

import os
import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
from msgspec import Struct, field
from msgspec.structs import asdict

from miniclaw.errors import ConfigError
from miniclaw.formats import NEVER, format_duration, parse_duration
from miniclaw.log import LogFormat, LogLevel
from miniclaw.session.names import is_channel
from miniclaw.session.retention import RetentionPolicy

HOME_VARIABLE: Final = "MINICLAW_HOME"


class SessionConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[session]``. None is never."""

    ttl: timedelta | None = timedelta(days=30)
    ttl_by_channel: dict[str, timedelta | None] = field(default_factory=dict)
    persistence_interval: timedelta = timedelta(seconds=30)
    cleanup_interval: timedelta | None = timedelta(hours=24)
    announce_first: bool = True

    def retention_policy(self) -> RetentionPolicy:
        """Return the retention policy that these keys ask for."""
        return RetentionPolicy(ttl=self.ttl, ttl_by_channel=self.ttl_by_channel)


class LogConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[log]``."""

    level: LogLevel = "info"
    format: LogFormat = "auto"


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole configuration."""

    session: SessionConfig = SessionConfig()
    log: LogConfig = LogConfig()


class Home(Struct, frozen=True):
    """The directory in which all of a user's miniclaw lies; `MINICLAW_HOME`, or ``~/.miniclaw``."""

    path: Path

    @property
    def config_path(self) -> Path:
        """The configuration that is read unless another one is named."""
        return self.path / "config.toml"

    @property
    def workspace(self) -> Path:
        """What the gateway works on."""
        return self.path / "workspace"

    @property
    def sessions_dir(self) -> Path:
        """The session files."""
        return self.workspace / "sessions"

    @property
    def state_dir(self) -> Path:
        """What the services remember."""
        return self.workspace / "state"


def find_home() -> Home:
    """Return the user's home for miniclaw, from the environment.

    Raises:
        ConfigError: The variable is not an absolute path.
    """
    text = os.environ.get(HOME_VARIABLE)
    if text is None:
        try:
            return Home(Path.home() / ".miniclaw")
        except RuntimeError:
            raise ConfigError(None, f"there is no home directory; set {HOME_VARIABLE} to an absolute path") from None
    if not Path(text).is_absolute():
        raise ConfigError(None, f"{HOME_VARIABLE}={text!r}: give an absolute path")
    return Home(Path(text))


def load_config(path: Path, *, required: bool) -> Config:
    """Read a configuration.

    Args:
        path: The file.
        required: Whether it has to exist, as one that was named by the user has; else the defaults hold without it.

    Raises:
        ConfigError: It cannot be read or is not right.
    """
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except FileNotFoundError:
        if required:
            raise ConfigError(path, "there is no such file") from None
        return Config()
    except OSError as error:
        raise ConfigError(path, f"could not read it: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(path, "it is not UTF-8") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is one; an endless number or nesting is not
        raise ConfigError(path, f"it is not TOML: {error}") from error
    return parse_config(values, path)


def parse_config(values: dict[str, Any], path: Path | None = None) -> Config:
    """Return the configuration that a TOML document holds.

    Raises:
        ConfigError: A key is unknown, or a value has the wrong type or makes no sense.
    """
    values = dict(values)
    if isinstance(session := values.get("session"), dict):
        values["session"] = _parse_session_durations(session, path)
    try:
        return msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        raise _explain(error, values, path) from error


def show_config(config: Config) -> dict[str, dict[str, Any]]:
    """Return the configuration as its file would say it."""
    tables: dict[str, dict[str, Any]] = {"session": asdict(config.session), "log": asdict(config.log)}
    for key in _DURATIONS:
        tables["session"][key] = format_duration(tables["session"][key])
    by_channel = tables["session"].pop("ttl_by_channel")
    tables["session.ttl_by_channel"] = {channel: format_duration(ttl) for channel, ttl in by_channel.items()}
    return tables


class _DurationRule(Struct, frozen=True):
    """What a duration of the configuration may be; the bounds are inclusive."""

    least: str
    most: str
    may_be_never: bool

    def parse(self, value: object, key: str, path: Path | None) -> timedelta | None:
        if value == NEVER and self.may_be_never:
            return None
        never = f', or "{NEVER}"' if self.may_be_never else ""
        right = f'a duration from "{self.least}" to "{self.most}", with a unit (s, m, h, d, w){never}'
        try:
            duration = parse_duration(value) if isinstance(value, str) else None
        except ValueError:
            duration = None
        if duration is None or not parse_duration(self.least) <= duration <= parse_duration(self.most):
            raise ConfigError(path, f"{_as_toml(value)} is not {right}", key=key)
        return duration


# A TTL of seconds would be "delete everything" in other words.
_TTL: Final = _DurationRule("1h", "36500d", may_be_never=True)
_DURATIONS: Final = {
    "ttl": _TTL,
    "persistence_interval": _DurationRule("1s", "1h", may_be_never=False),
    "cleanup_interval": _DurationRule("1m", "365d", may_be_never=True),
}


def _parse_session_durations(session: dict[str, Any], path: Path | None) -> dict[str, Any]:
    parsed = dict(session)
    for key, rule in _DURATIONS.items():
        if key in session:
            parsed[key] = rule.parse(session[key], f"session.{key}", path)
    by_channel = session.get("ttl_by_channel", {})
    if isinstance(by_channel, dict):
        for channel, value in by_channel.items():
            key = f"session.ttl_by_channel.{channel}"
            if not is_channel(channel):
                raise ConfigError(path, "a channel is 1 to 32 of a-z, 0-9 and -", key=key)
            parsed["ttl_by_channel"] = parsed["ttl_by_channel"] | {channel: _TTL.parse(value, key, path)}
    return parsed


_IN_WORDS: Final = {"bool": "true or false", "object": "a table", "str": "a text"}


def _explain(error: msgspec.ValidationError, values: dict[str, Any], path: Path | None) -> ConfigError:
    """Turn msgspec's sentence, which ends in ``- at `$.table.key```, into key, value and what would be right."""
    problem, _, where = str(error).rpartition(" - at `$") if " - at `$" in str(error) else (str(error), "", "")
    key = where.removesuffix("`").removeprefix(".")
    if unknown := re.search(r"unknown field `(.*)`", problem):
        table = {"session": SessionConfig, "log": LogConfig}.get(key, Config)
        known = ", ".join(table.__struct_fields__)
        return ConfigError(path, f"unknown; known here are {known}", key=".".join(filter(None, [key, unknown[1]])))
    if key in {"log.level", "log.format"}:
        right = "one of " + ", ".join(get_args(LogLevel if key == "log.level" else LogFormat))
    else:
        expected = re.match(r"Expected `(\w+)`", problem)
        right = _IN_WORDS.get(expected[1], expected[1]) if expected else problem
    value: Any = values
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else value
    return ConfigError(path, f"{_as_toml(value)} is not {right}", key=key)


def _as_toml(value: object) -> str:
    text = str(value) if isinstance(value, float) else msgspec.json.encode(value, enc_hook=str).decode()
    return text if len(text) <= 60 else text[:60] + "…"
