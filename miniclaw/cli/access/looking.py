"""Reads of the workspace by a command: `miniclaw.workspace.workspace`, with progress on a terminal.

A running gateway saves its dirty sessions first, so that the read includes them.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from miniclaw import loggers as logs
from miniclaw.cli import Settings
from miniclaw.cli.access.asking import ask_to_save
from miniclaw.cli.access.in_force import find_rules
from miniclaw.cli.output import scan_progress
from miniclaw.errors import ConfigError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.workspace import workspace as views
from miniclaw.workspace.workspace import (
    Listing,
    Outlook,
    find_leftovers,
    find_trashes,
    notice_at,
    read_history,
    trash_opened,
)

if TYPE_CHECKING:
    from miniclaw.config import LogLevel
    from miniclaw.session.records.moment import Moment

__all__ = [
    "Listing",
    "Outlook",
    "find_leftovers",
    "find_trashes",
    "leave_out_of_log",
    "list_directory",
    "log_to_terminal",
    "look_ahead",
    "moment_of",
    "notice_at",
    "read_history",
    "sessions_opened",
    "trash_opened",
]


def log_to_terminal(settings: Settings) -> None:
    """Print the log on the terminal: warnings and errors, unless the configuration has another level than ``info``.

    Raises:
        ConfigError: The file is invalid, and no gateway returns its configuration.
    """
    try:
        config = settings.config
    except ConfigError:
        config = find_rules(settings).config
    level = config.log.level
    least: LogLevel = "warning" if level == "info" else level

    def set_up() -> None:
        from miniclaw.daemon.logging import configure_logging  # noqa: PLC0415 - start-up time: most commands log nothing

        configure_logging(least, "console")

    logs.set_up_when_needed(logs.LEVELS[least], set_up)


def leave_out_of_log(event: str) -> None:
    """Drop an event from the log, because the command prints it itself; until logging is set up anew."""
    import structlog  # noqa: PLC0415 - start-up time

    logs.set_up_now()

    def process(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if fields["event"] == event:
            raise structlog.DropEvent
        return fields

    structlog.configure(processors=[process, *structlog.get_config()["processors"]])


@contextmanager
def sessions_opened(settings: Settings) -> Iterator[SessionDirectory | None]:
    """Open the sessions directory for a block, to read; None if there is none yet, and so no session."""
    ask_to_save(settings)
    with views.sessions_opened(settings) as directory:
        yield directory


def list_directory(settings: Settings, directory: SessionDirectory | None) -> Listing:
    """List the sessions; none if there is no directory."""
    with scan_progress() as progress:
        return views.list_directory(settings, directory, progress)


def moment_of(settings: Settings) -> Moment:
    """Return the present time, the last run of the daily cleanup, and the entries that it found due."""
    from miniclaw.clock import SystemClock  # noqa: PLC0415 - start-up time

    return views.find_moment(settings, SystemClock())


def look_ahead(settings: Settings, *, waits: bool = False) -> Outlook:
    """Return the plan of a cleanup by the rules in force; with `waits`, of the daily cleanup."""
    ask_to_save(settings)
    moment = moment_of(settings)
    rules = find_rules(settings)
    with scan_progress() as progress:
        return views.look_ahead(rules, moment, progress, waits=waits)
