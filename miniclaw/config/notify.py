"""The table ``[notify]`` of the configuration: the command that notifies the administrator."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from miniclaw.errors import ConfigError


class NotifyConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[notify]``.

    Attributes:
        command: A program and its arguments; empty: there are no notifications.
    """

    command: tuple[str, ...] = ()


def check_notify(notify: NotifyConfig, path: Path | None) -> None:
    """Refuse a command that cannot be run.

    Raises:
        ConfigError: It names no program.
    """
    if notify.command and (not notify.command[0].strip() or any("\0" in part for part in notify.command)):
        right = 'a list of a program and its arguments, such as ["/usr/local/bin/tell-admin"]'
        raise ConfigError(path, f"it names no program; {right}", key="notify.command")
