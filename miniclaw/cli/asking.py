"""Asking a gateway that runs: to save before somebody looks, and which rules it goes by."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from miniclaw.cli import Settings
from miniclaw.config import show_config
from miniclaw.config_values import as_toml
from miniclaw.errors import DifferentRulesError, MiniclawError, NoGatewayError
from miniclaw.formats import NEVER, printable
from miniclaw.session.retention import RetentionPolicy
from miniclaw.web.config import SOCKET_NAME

if TYPE_CHECKING:
    from miniclaw.admin.client import GatewayClient
    from miniclaw.admin.live_status import LiveStatus


def find_client(settings: Settings) -> GatewayClient | None:
    """Return the client of the gateway; None where there is no socket of one. Whether it answers a call tells."""
    if not os.path.lexists(settings.home.workspace / SOCKET_NAME):
        return None
    from miniclaw.admin.client import GatewayClient  # noqa: PLC0415 - start-up time

    return GatewayClient(settings.home.workspace)


def ask_to_save(settings: Settings) -> None:
    """Have a gateway that runs save what it has in memory only, once for each command; what fails is a warning."""
    if settings.asked_to_save:
        return
    settings.asked_to_save = True
    client = find_client(settings)
    if client is None:
        return
    try:
        saved = client.save()
    except NoGatewayError:
        return
    except MiniclawError as error:
        _warn(f"{error}; what is shown may be older than what it has in memory")
        return
    if saved.failed:
        _warn(f"the gateway could not save {saved.failed:,} of its sessions, its log says why; they are shown as saved")


def ask_how_it_is(settings: Settings) -> LiveStatus | None:
    """Return how the gateway is; None where none runs. One that does not say is a warning."""
    client = find_client(settings)
    if client is None:
        return None
    try:
        return client.gateway()
    except NoGatewayError:
        return None
    except MiniclawError as error:
        _warn(str(error))
        return None


def _warn(text: str) -> None:
    click.echo(printable(f"miniclaw: warning: {text}"), err=True)


def refuse_other_rules(settings: Settings, theirs: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to have a gateway remove by rules that the person at the terminal does not see.

    Args:
        settings: Of the command.
        theirs: The configuration that the gateway was started with, as its file would say it.

    Raises:
        DifferentRulesError: A rule of retention differs.
    """
    ours, others = _rules(show_config(settings.config)), _rules(theirs)
    for key in [*ours, *(key for key in others if key not in ours)]:
        mine, other = ours.get(key, NEVER), others.get(key, NEVER)
        if mine != other:
            raise DifferentRulesError(settings.config_path, key, as_toml(mine), as_toml(other))


def _rules(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    session, by_channel = tables.get("session", {}), tables.get("session.ttl_by_channel", {})
    rules = {f"session.{name}": session[name] for name in RetentionPolicy.__struct_fields__ if name in session}
    return rules | {f"session.ttl_by_channel.{channel}": ttl for channel, ttl in by_channel.items()}
