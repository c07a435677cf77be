"""The configuration: ``config.toml`` to frozen Structs.

Every key has a default. What is unknown, senseless or unreadable is refused by file, key and value, with what would
be right, and then the program does not start: it never falls back to a default that might delete more than was
meant. No value means "delete everything"; ``"never"`` switches a rule off.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container
from datetime import time, timedelta
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import Struct, field
from msgspec.structs import asdict

from miniclaw.agent.config import ModelConfig, Provider, check_model, parse_model_values, show_model
from miniclaw.channels.telegram.config import TelegramConfig, check_telegram, parse_telegram_values, show_telegram
from miniclaw.config_values import (
    ValueRule,
    as_toml,
    count_rule,
    duration_rule,
    fraction_rule,
    parse_values,
    size_rule,
    time_of_day_rule,
)
from miniclaw.errors import ConfigError
from miniclaw.formats import NEVER, format_duration
from miniclaw.session.earlier import EarlierFolders
from miniclaw.session.files import why_no_session_file
from miniclaw.session.names import is_channel
from miniclaw.session.retention import QUARANTINE_DAYS, SESSION_TTL_DAYS, PolicyError, RetentionPolicy
from miniclaw.web.config import WebConfig, parse_web_values, show_web

HOME_VARIABLE: Final = "MINICLAW_HOME"


LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
"""The lowest level that is logged."""

LogFormat: TypeAlias = Literal["auto", "console", "json"]
"""How: for a person, for a program, or as fits where it goes."""

Mode: TypeAlias = Literal["enforce", "announce"]
"""What a cleanup does: remove, or only say what it would remove."""


class SessionConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[session]``.

    None is never; for `low_water`, `min_idle` and `cleanup_at` it means that the file does not say them. With
    `cleanup_at`, `cleanup_interval` is not in force.
    """

    ttl: timedelta | None = timedelta(days=SESSION_TTL_DAYS)
    ttl_by_channel: dict[str, timedelta | None] = field(default_factory=dict)
    max_sessions: int | None = None
    max_disk_bytes: int | None = None
    low_water: int | None = None
    min_free_disk: int | None = None
    min_idle: timedelta | None = None
    max_removed_fraction: float | None = None
    trash_for: timedelta | None = None
    quarantine_for: timedelta | None = timedelta(days=QUARANTINE_DAYS)
    persistence_interval: timedelta = timedelta(seconds=30)
    cleanup_interval: timedelta | None = timedelta(hours=24)
    cleanup_at: time | None = None
    announce_first: bool = True
    mode: Mode = "enforce"

    def retention_policy(self) -> RetentionPolicy:
        """Return the retention policy that these keys ask for.

        Raises:
            PolicyError: They contradict each other; `parse_config` lets none through that do.
        """
        return RetentionPolicy(**{name: getattr(self, name) for name in RetentionPolicy.__struct_fields__})


class LogConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[log]``."""

    level: LogLevel = "info"
    format: LogFormat = "auto"


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole configuration."""

    session: SessionConfig = SessionConfig()
    model: ModelConfig = ModelConfig()
    web: WebConfig = WebConfig()
    telegram: TelegramConfig = TelegramConfig()
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
    def earlier(self) -> EarlierFolders:
        """The folders in which earlier versions kept what lies in the sessions directory now."""
        return EarlierFolders(self.workspace / "state", self.workspace / "trash")


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
        text = _read(path).decode()
        import tomllib  # noqa: PLC0415 - start-up time: not where there is no file

        values = tomllib.loads(text)
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


def _read(path: Path) -> bytes:
    """Return the content of a regular file, which a link may lead to.

    Raises:
        ConfigError: It is something else, such as a FIFO, which one would have to wait for.
        OSError: It cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if problem := why_no_session_file(os.fstat(fd).st_mode):
            raise ConfigError(path, problem)
        with open(fd, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(fd)


def parse_config(values: dict[str, Any], path: Path | None = None) -> Config:
    """Return the configuration that a TOML document holds.

    Raises:
        ConfigError: A key is unknown, or a value has the wrong type or makes no sense.
    """
    values = dict(values)
    for table, parse in _PARSERS.items():
        if isinstance(found := values.get(table), dict):
            values[table] = parse(found, path)
    try:
        config = msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        raise _explain(error, values, path) from error
    _check_contradictions(config.session, values.get("session", {}), path)
    check_model(config.model, path)
    check_telegram(config.telegram, path)
    return config


def show_config(config: Config) -> dict[str, dict[str, Any]]:
    """Return the configuration as its file would say it; without the keys that have no word for their default."""
    session = asdict(config.session)
    by_channel = session.pop("ttl_by_channel")
    for key, rule in _RULES.items():
        if session[key] is not None:
            session[key] = rule.show(session[key])
        elif rule.may_be_never:
            session[key] = NEVER
        else:
            del session[key]
    if "cleanup_at" in session:
        del session["cleanup_interval"]  # which is not in force
    return {
        "session": session,
        "session.ttl_by_channel": {channel: format_duration(ttl) for channel, ttl in by_channel.items()},
        "model": show_model(config.model),
        "web": show_web(config.web),
        "telegram": show_telegram(config.telegram),
        "log": asdict(config.log),
    }


# A TTL of seconds would be "delete everything" in other words.
_TTL: Final = duration_rule("1h", "36500d", may_be_never=True)
_RULES: Final[dict[str, ValueRule]] = {
    "ttl": _TTL,
    "max_sessions": count_rule(1, 1_000_000_000, may_be_never=True),
    "max_disk_bytes": size_rule("1MiB", "1000TB", may_be_never=True),
    "low_water": size_rule("1MiB", "1000TB"),
    "min_free_disk": size_rule("1MiB", "1000TB", may_be_never=True),
    "min_idle": duration_rule("1h", "36500d"),
    "max_removed_fraction": fraction_rule(may_be_never=True),
    "trash_for": duration_rule("1h", "36500d", may_be_never=True),
    "quarantine_for": duration_rule("1d", "36500d", may_be_never=True),
    "persistence_interval": duration_rule("1s", "1h"),
    "cleanup_interval": duration_rule("1m", "365d", may_be_never=True),
    "cleanup_at": time_of_day_rule(),
}


def _parse_session_values(session: dict[str, Any], path: Path | None) -> dict[str, Any]:
    parsed = parse_values(_RULES, "session", session, path)
    by_channel = session.get("ttl_by_channel", {})
    if isinstance(by_channel, dict):
        for channel, value in by_channel.items():
            key = f"session.ttl_by_channel.{channel}"
            if not is_channel(channel):
                raise ConfigError(path, "a channel is 1 to 32 of a-z, 0-9 and -", key=key)
            parsed["ttl_by_channel"] = parsed["ttl_by_channel"] | {channel: _TTL.parse(value, key, path)}
    return parsed


_PARSERS: Final[dict[str, Callable[[dict[str, Any], Path | None], dict[str, Any]]]] = {
    "session": _parse_session_values,
    "model": parse_model_values,
    "web": parse_web_values,
    "telegram": parse_telegram_values,
}


def _check_contradictions(session: SessionConfig, said: Container[str], path: Path | None) -> None:
    """Refuse what is right by itself but not together.

    Args:
        session: The table.
        said: The keys that the file says.
        path: The file.
    """
    if "cleanup_at" in said and "cleanup_interval" in said:
        raise ConfigError(path, "it does not go with cleanup_interval; say one of the two", key="session.cleanup_at")
    if session.min_idle is not None:
        ttls = {"ttl": session.ttl, **{f"ttl_by_channel.{name}": ttl for name, ttl in session.ttl_by_channel.items()}}
        for name, ttl in ttls.items():
            if ttl is not None and session.min_idle > ttl:
                longer = f"{format_duration(session.min_idle)} is more than {name}, {format_duration(ttl)}"
                raise ConfigError(path, f"{longer}: nothing would be idle", key="session.min_idle")
    try:
        session.retention_policy()
    except PolicyError as error:
        raise ConfigError(path, error.problem, key=f"session.{error.attribute}") from error


_CHOICES: Final[dict[str, Any]] = {
    "log.level": LogLevel,
    "log.format": LogFormat,
    "session.mode": Mode,
    "model.provider": Provider,
}
_IN_WORDS: Final = {"bool": "true or false", "object": "a table", "str": "a text"}


def _explain(error: msgspec.ValidationError, values: dict[str, Any], path: Path | None) -> ConfigError:
    """Turn msgspec's sentence, which ends in ``- at `$.table.key```, into key, value and what would be right."""
    problem, _, where = str(error).rpartition(" - at `$") if " - at `$" in str(error) else (str(error), "", "")
    key = where.removesuffix("`").removeprefix(".")
    if unknown := re.search(r"unknown field `(.*)`", problem):
        table = getattr(Config(), key, Config)
        known = ", ".join(table.__struct_fields__)
        return ConfigError(path, f"unknown; known here are {known}", key=".".join(filter(None, [key, unknown[1]])))
    if key in _CHOICES:
        right = "one of " + ", ".join(get_args(_CHOICES[key]))
    else:
        expected = re.match(r"Expected `(\w+)`", problem)
        right = _IN_WORDS.get(expected[1], expected[1]) if expected else problem
    value: Any = values
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else value
    return ConfigError(path, f"{as_toml(value)} is not {right}", key=key)
