"""Requests to a running gateway: a save before a read, its status, and the configuration in force.

A gateway that does not answer is asked once for each command. A command that only reads then continues, with a WARNING
that names the missing part. A process that owns the workspace and has no socket, such as a gateway on a file system
without sockets, or `miniclaw chat` by itself, cannot be asked; a WARNING names it as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from miniclaw.cli import Settings
from miniclaw.config import differences, show_config
from miniclaw.config.values import as_toml
from miniclaw.config.web import SOCKET_NAME
from miniclaw.errors import (
    DifferentRulesError,
    GatewayBusyError,
    GatewayStalledError,
    MiniclawError,
    NoGatewayError,
    StoreError,
)
from miniclaw.formats import NEVER, one_line
from miniclaw.session.retention.policy import RetentionPolicy

if TYPE_CHECKING:
    from miniclaw.admin.client.client import GatewayClient
    from miniclaw.admin.monitoring.live_status import LiveStatus
    from miniclaw.session.ownership.holder import Holder

T = TypeVar("T")


def find_client(settings: Settings) -> GatewayClient | None:
    """Return the client of the gateway; None if there is no socket. Only a call shows if a gateway answers there."""
    if settings.client is None and os.path.lexists(settings.home.workspace / SOCKET_NAME):
        from miniclaw.admin.client.client import GatewayClient  # noqa: PLC0415 - start-up time

        settings.client = GatewayClient(settings.home.workspace)
    return settings.client


def ask_to_save(settings: Settings) -> None:
    """Have a running gateway save its dirty sessions, once for each command; a failure is a warning."""
    if settings.asked_to_save:
        return
    settings.asked_to_save = True
    saved = _ask(settings, lambda client: client.save(), "what is shown may be older than what it has in memory")
    if saved is not None and saved.failed:
        warn(f"the gateway could not save {saved.failed:,} of its sessions, its log says why; they are shown as saved")


def ask_how_it_is(settings: Settings) -> LiveStatus | None:
    """Return the live status of the gateway; None if none runs, or after a warning if it does not answer."""
    return _ask(settings, lambda client: client.gateway(), "how it is, is not shown")


def ask_for_config(settings: Settings) -> dict[str, dict[str, Any]] | None:
    """Return the configuration in force in the gateway, in the form of its file.

    Returns:
        The tables; None: no gateway runs, or it does not answer, which is a warning.
    """
    return _ask(settings, lambda client: client.config(), "the rules shown are those of the file")


def _ask(settings: Settings, call: Callable[[GatewayClient], T], otherwise: str) -> T | None:
    """Return the answer of the gateway; None if none runs, or after a warning about the consequence."""
    client = find_client(settings)
    if client is None:
        _warn_of_unreachable(settings)
        return None
    try:
        return call(client)
    except NoGatewayError:
        return None
    except GatewayStalledError as error:
        if not settings.told_stalled:
            settings.told_stalled = True
            warn(f"{error} What it has in memory was not seen, and the rules are those of {settings.config_path}.")
        return None
    except GatewayBusyError as error:
        warn(f"{error}, and goes on; {otherwise}")
        return None
    except MiniclawError as error:
        warn(f"{error}; {otherwise}")
        return None


def find_unreachable(settings: Settings) -> Holder | None:
    """Return the owner of the workspace; None if it is stopping. Called if no gateway answers at the socket."""
    from miniclaw.session.files.directory import SessionDirectory  # noqa: PLC0415 - start-up time

    try:
        with SessionDirectory.open(settings.home.sessions_dir) as directory:
            holder = directory.holder()
    except StoreError:
        return None  # there is no directory yet; other errors are reported by the read itself
    return None if holder is None or holder.stopping else holder


def _warn_of_unreachable(settings: Settings) -> None:
    """Name, once for each command, the owner whose memory the command cannot show."""
    if not settings.told_stalled and (holder := find_unreachable(settings)) is not None:
        settings.told_stalled = True
        warn(
            f"{settings.home.sessions_dir} is held by {holder.who}, which takes no commands at "
            f"{settings.home.workspace / SOCKET_NAME}; what it has in memory was not seen"
        )


def warn(text: str) -> None:
    """Print a warning on standard error."""
    click.echo(one_line(f"miniclaw: warning: {text}"), err=True)


def refuse_other_rules(settings: Settings, theirs: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a removal by a gateway whose rules of retention differ from the command's configuration.

    Args:
        settings: The settings of the command.
        theirs: The configuration in force in the gateway, in the form of its file.

    Raises:
        DifferentRulesError: A rule of retention differs.
        ConfigError: The configuration of the command is invalid.
    """
    for key, mine, other in differences(show_config(settings.config), theirs):
        table, _, name = key.rpartition(".")
        if table == "session.ttl_by_channel" or (table == "session" and name in RetentionPolicy.__struct_fields__):
            shown = (NEVER if value is None else value for value in (mine, other))
            raise DifferentRulesError(settings.config_path, key, *map(as_toml, shown))
