"""All tables of the configuration: parsed with all problems reported, shown, and compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from miniclaw.config.log import LogConfig, LogFormat, LogLevel
from miniclaw.config.misfits import find_misfit
from miniclaw.config.model import MODEL_RULES, ModelConfig, PluginModelConfig, check_model, show_model, take_options
from miniclaw.config.notify import NotifyConfig, check_notify
from miniclaw.config.session import (
    Mode,
    NoticeMode,
    SessionConfig,
    check_session,
    parse_session_values,
    read_old_words,
    show_session,
)
from miniclaw.config.telegram import TELEGRAM_RULES, TelegramConfig, check_telegram
from miniclaw.config.values import OFF, as_toml, parse_values, show_values
from miniclaw.config.web import WEB_RULES, WebConfig
from miniclaw.errors import BrokenConfigError, ConfigError
from miniclaw.formats import NEVER, did_you_mean, format_duration
from miniclaw.plugins import check_channel_tables

T = TypeVar("T")


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole configuration.

    Attributes:
        channels: The tables of plugins that are channels, by their names.
    """

    session: SessionConfig = SessionConfig()
    model: ModelConfig = ModelConfig()
    web: WebConfig = WebConfig()
    telegram: TelegramConfig = TelegramConfig()
    channels: dict[str, dict[str, Any]] = {}
    notify: NotifyConfig = NotifyConfig()
    log: LogConfig = LogConfig()


_Parse: TypeAlias = Callable[[dict[str, Any], Path | None], dict[str, Any]]

_PARSERS: Final[dict[str, _Parse]] = {
    "session": parse_session_values,
    "model": partial(parse_values, MODEL_RULES, "model"),
    "web": partial(parse_values, WEB_RULES, "web"),
    "telegram": partial(parse_values, TELEGRAM_RULES, "telegram"),
}


def parse_config(values: dict[str, Any], path: Path | None = None, *, warnings: list[str] | None = None) -> Config:
    """Return the configuration that a TOML document holds.

    Args:
        values: The document; not changed.
        path: Its file, for messages.
        warnings: Receives a sentence for each deprecated form, which a later version will refuse.

    Raises:
        ConfigError: A key is unknown, or a value has the wrong type or breaks its rule; `BrokenConfigError` for
            several. Contradictions between keys are checked in tables that are valid otherwise.
    """
    problems = _Problems()
    values = {name: _copy(value) for name, value in values.items()}
    if isinstance(session := values.get("session"), dict):
        values["session"] = read_old_words(session, path, [] if warnings is None else warnings)
    options = take_options(values.get("model"))
    if isinstance(channels := values.get("channels"), dict):
        problems.collect(values, lambda _: check_channel_tables(channels, path))
    for table, parse in _PARSERS.items():
        if isinstance(values.get(table), dict):
            values[table] = problems.collect(values, partial(_parse_table, table, parse, path))
    config = problems.collect(values, partial(_convert, path))
    said = session_keys if isinstance(session_keys := values.get("session"), dict) else {}
    checks: dict[str, Callable[[Config], None]] = {
        "session": lambda config: check_session(config.session, said, path),
        "model": lambda config: check_model(config.model, path),
        "telegram": lambda config: check_telegram(config.telegram, path),
        "notify": lambda config: check_notify(config.notify, path),
    }
    wrong = problems.tables()
    for table, check in checks.items():
        if table not in wrong:
            problems.collect(values, partial(_check_table, check, path))
    if problems.found:
        raise problems.error()
    if options is not None:
        plugin = PluginModelConfig(provider=config.model.provider, options=options)
        config = msgspec.structs.replace(config, model=plugin)
    return config


class _Problems:
    """Collects the problems of a document: a refused key is removed, and the rest is tried again."""

    def __init__(self) -> None:
        self.found: list[ConfigError] = []

    def collect(self, values: dict[str, Any], attempt: Callable[[dict[str, Any]], T]) -> T:
        """Return the result of the first attempt that succeeds.

        Args:
            values: The document; refused keys are removed from it.
            attempt: Called with it; raises a ConfigError for the first problem.
        """
        while True:
            try:
                return attempt(values)
            except ConfigError as error:
                self.found += error.errors
                # A missing key cannot be removed, but its table can.
                dropped = [_drop(values, each.key or "") or _drop(values, _table_of(each)) for each in error.errors]
                if not any(dropped):
                    raise self.error() from error

    def tables(self) -> set[str]:
        """Return the tables that have problems."""
        return {_table_of(error) for error in self.found}

    def error(self) -> ConfigError:
        """Return all problems as one error."""
        return self.found[0] if len(self.found) == 1 else BrokenConfigError(self.found)


def _table_of(error: ConfigError) -> str:
    return (error.key or "").partition(".")[0]


def _drop(values: dict[str, Any], key: str) -> bool:
    """Remove a key, given with its tables; return whether it was there."""
    for name, value in values.items():
        if key == name:
            del values[name]
            return True
        if key.startswith((f"{name}.", f"{name}[")):
            if not isinstance(value, dict):
                del values[name]
                return True
            return _drop(value, key[len(name) + 1 :])
    return False


def _parse_table(table: str, parse: _Parse, path: Path | None, values: dict[str, Any]) -> dict[str, Any]:
    return parse(values.get(table, {}), path)


def _check_table(check: Callable[[Config], None], path: Path | None, values: dict[str, Any]) -> None:
    check(_convert(path, values))


def _copy(value: Any) -> Any:
    return {name: _copy(item) for name, item in value.items()} if isinstance(value, dict) else value


def _convert(path: Path | None, values: dict[str, Any]) -> Config:
    try:
        return msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        raise _explain(values, path) from error


def show_config(config: Config) -> dict[str, dict[str, Any]]:
    """Return the configuration in the file's form; without the keys whose default cannot be written."""
    by_channel = config.session.ttl_by_channel
    return {
        "session": show_session(config.session),
        "session.ttl_by_channel": {channel: format_duration(ttl) for channel, ttl in by_channel.items()},
        "model": dict(show_model(config.model)),
        "web": show_values(WEB_RULES, asdict(config.web)),
        "telegram": show_values(TELEGRAM_RULES, asdict(config.telegram)),
        **{f"channels.{name}": msgspec.to_builtins(table) for name, table in config.channels.items()},
        "notify": {"command": list(config.notify.command)},
        "log": asdict(config.log),
    }


def config_of_tables(tables: Mapping[str, Mapping[str, Any]]) -> Config:
    """Return the configuration for tables made by `show_config`, perhaps of another version of miniclaw.

    Raises:
        ConfigError: The tables are no valid configuration.
    """
    values: dict[str, Any] = {}
    for table, shown in tables.items():
        place = values
        for name in table.split("."):
            place = place.setdefault(name, {})
        place.update(shown)
    return parse_config(values)


def differences(
    one: Mapping[str, Mapping[str, Any]], other: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, object, object]]:
    """Return the differences between two configurations in the form of `show_config`: key and both values.

    A key that one of them lacks has the value None there. The words that switch a rule off are equal.
    """
    ours, theirs = _flat(one), _flat(other)
    keys = [*ours, *(key for key in theirs if key not in ours)]
    pairs = ((key, ours.get(key), theirs.get(key)) for key in keys)
    return [(key, mine, its) for key, mine, its in pairs if _plain(mine) != _plain(its)]


def _flat(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
    return {f"{table}.{key}": value for table, values in tables.items() for key, value in values.items()}


def _plain(value: object) -> object:
    return NEVER if value == OFF else value


_CHOICES: Final[dict[str, Any]] = {
    "log.level": LogLevel,
    "log.format": LogFormat,
    "session.mode": Mode,
    "session.notice": NoticeMode,
}
_IN_WORDS: Final = {bool: "true or false", str: "a text", tuple: "a list", dict: "a table"}


def _explain(values: dict[str, Any], path: Path | None) -> ConfigError:
    """Return the error about the first invalid value: its key, the value, and the right form."""
    misfit = find_misfit(values, Config)
    key = ".".join(misfit.path)
    if misfit.kind == "unknown":
        known = misfit.table.__struct_fields__
        hint = did_you_mean(misfit.path[-1], known)
        return ConfigError(path, f"unknown; known here are {', '.join(known)}{hint}", key=key)
    if key in _CHOICES:
        right = "one of " + ", ".join(get_args(_CHOICES[key]))
    else:
        kind = get_origin(misfit.expected) or misfit.expected
        right = _IN_WORDS.get(kind, "of the kind that is expected here" if misfit.path[1:] else "a table")
    value: Any = values
    for part in misfit.path:
        value = value[part]
    return ConfigError(path, f"{as_toml(value)} is not {right}", key=key)
