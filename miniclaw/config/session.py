"""The table ``[session]`` of the configuration: the rules of retention, and the times of the cleanup.

The gateway keeps deleted and expired sessions in the trash for a week unless configured otherwise; the library's
`RetentionPolicy` does not.
"""

from __future__ import annotations

from collections.abc import Container
from datetime import time, timedelta
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct, field
from msgspec.structs import asdict

from miniclaw.config.values import (
    OFF,
    OFF_WORDS,
    ValueRule,
    count_rule,
    duration_rule,
    fraction_rule,
    parse_values,
    size_rule,
    time_of_day_rule,
)
from miniclaw.errors import ConfigError
from miniclaw.formats import NEVER
from miniclaw.session.format.growth import GROWTH_BYTES
from miniclaw.session.names import is_channel
from miniclaw.session.retention.policy import QUARANTINE_DAYS, SESSION_TTL_DAYS, PolicyError, RetentionPolicy
from miniclaw.session.retention.schedule import Schedule

TRASH_DAYS: Final = 7
"""Days for which the gateway keeps removed sessions in the trash, unless configured otherwise."""

NoticeMode: TypeAlias = Literal["on", "off"]
"""If on, the daily cleanup deletes only sessions and files that it announced a notice period before."""

Mode: TypeAlias = Literal["enforce", "announce"]
"""The mode of a cleanup: remove, or only announce the removals."""


class SessionConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[session]``.

    None means never, and for `trash_for` off; for `low_water`, `min_idle` and `cleanup_at` it means that the file does
    not set them. With `cleanup_at`, `cleanup_interval` is not in force.
    """

    ttl: timedelta | None = timedelta(days=SESSION_TTL_DAYS)
    ttl_by_channel: dict[str, timedelta | None] = field(default_factory=dict)
    max_sessions: int | None = None
    max_disk_bytes: int | None = None
    low_water: int | None = None
    min_free_disk: int | None = None
    min_idle: timedelta | None = None
    max_removed_fraction: float | None = None
    trash_for: timedelta | None = timedelta(days=TRASH_DAYS)
    quarantine_for: timedelta | None = timedelta(days=QUARANTINE_DAYS)
    persistence_interval: timedelta = timedelta(seconds=30)
    max_session_bytes: int = GROWTH_BYTES
    cleanup_interval: timedelta | None = timedelta(hours=24)
    cleanup_at: time | None = None
    notice: NoticeMode = "on"
    mode: Mode = "enforce"

    @property
    def schedule(self) -> Schedule:
        """The schedule of the cleanups that these keys define."""
        return Schedule(self.cleanup_interval, self.cleanup_at)

    def retention_policy(self) -> RetentionPolicy:
        """Return the retention policy that these keys define.

        Raises:
            PolicyError: They contradict each other; `parse_config` never returns such keys.
        """
        return RetentionPolicy(**{name: getattr(self, name) for name in RetentionPolicy.__struct_fields__})


# A TTL of seconds would amount to "delete everything".
_TTL: Final = duration_rule("1h", "36500d", off=OFF_WORDS)
_RULES: Final[dict[str, ValueRule]] = {
    "ttl": _TTL,
    "max_sessions": count_rule(1, 1_000_000_000, off=OFF_WORDS),
    "max_disk_bytes": size_rule("1MiB", "1000TB", off=OFF_WORDS),
    "low_water": size_rule("1MiB", "1000TB"),
    "min_free_disk": size_rule("1MiB", "1000TB", off=OFF_WORDS),
    "min_idle": duration_rule("1h", "36500d"),
    "max_removed_fraction": fraction_rule(off=OFF_WORDS),
    "trash_for": duration_rule("1h", "36500d", off=(OFF,)),
    "quarantine_for": duration_rule("1d", "36500d", off=OFF_WORDS),
    "persistence_interval": duration_rule("1s", "1h"),
    "max_session_bytes": size_rule("1MiB", "192MiB"),
    "cleanup_interval": duration_rule("1m", "365d", off=OFF_WORDS),
    "cleanup_at": time_of_day_rule(),
}


def parse_session_values(session: dict[str, Any], path: Path | None) -> dict[str, Any]:
    """Return the table's values as `SessionConfig` takes them; unknown keys are left for it to refuse.

    Raises:
        ConfigError: A value breaks its rule.
    """
    parsed = parse_values(_RULES, "session", session, path)
    by_channel = session.get("ttl_by_channel", {})
    if isinstance(by_channel, dict):
        for channel, value in by_channel.items():
            key = f"session.ttl_by_channel.{channel}"
            if not is_channel(channel):
                raise ConfigError(path, "a channel is 1 to 32 of a-z, 0-9 and -", key=key)
            parsed["ttl_by_channel"] = parsed["ttl_by_channel"] | {channel: _TTL.parse(value, key, path)}
    return parsed


def read_old_words(session: dict[str, Any], path: Path | None, warnings: list[str]) -> dict[str, Any]:
    """Return the table in its present form. A deprecated form is a warning that names the new line.

    ``trash_for = "never"`` used to switch the trash off, although elsewhere "never" keeps data. The next release
    refuses it.
    """
    where = "" if path is None else f"{path}: "
    session = _read_announce_first(session, where, warnings)
    if session.get("trash_for") != NEVER:
        return session
    warnings.append(
        f'{where}session.trash_for: "{NEVER}" is read as "{OFF}": what is removed cannot be restored. '
        f'The next release refuses it; write trash_for = "{OFF}", or a duration such as "{TRASH_DAYS}d"'
    )
    return session | {"trash_for": OFF}


def _read_announce_first(session: dict[str, Any], where: str, warnings: list[str]) -> dict[str, Any]:
    value = session.get("announce_first")
    if not isinstance(value, bool) or "notice" in session:
        return session  # any other value is reported as an unknown key
    notice = "on" if value else "off"
    warnings.append(
        f'{where}session.announce_first: it is read as notice = "{notice}". '
        f'The next release refuses it; write notice = "{notice}"'
    )
    return {key: value for key, value in session.items() if key != "announce_first"} | {"notice": notice}


def check_session(session: SessionConfig, said: Container[str], path: Path | None) -> None:
    """Refuse values that are valid alone but not together.

    Args:
        session: The table.
        said: The keys that the file sets.
        path: The file.

    Raises:
        ConfigError: Keys contradict each other.
    """
    if "cleanup_at" in said and "cleanup_interval" in said:
        raise ConfigError(path, "it does not go with cleanup_interval; say one of the two", key="session.cleanup_at")
    try:
        session.retention_policy()
    except PolicyError as error:
        raise ConfigError(path, error.problem, key=f"session.{error.attribute}") from error


def show_session(session: SessionConfig) -> dict[str, Any]:
    """Return the table in the file's form, without ``ttl_by_channel``, which is a table of its own."""
    shown = asdict(session)
    del shown["ttl_by_channel"]
    for key, rule in _RULES.items():
        if shown[key] is not None:
            shown[key] = rule.show(shown[key])
        elif rule.off:
            shown[key] = rule.off[0]
        else:
            del shown[key]
    if "cleanup_at" in shown:
        del shown["cleanup_interval"]  # not in force
    return shown
