"""Endpoints of the gateway itself: save, status, configuration, login of a browser."""

from __future__ import annotations

from typing import Final

import trio
from msgspec.structs import asdict

from miniclaw.admin.api.endpoints import Call, Endpoint, NoQuery
from miniclaw.admin.client.messages import ConfigAnswer, Entrance, Saved
from miniclaw.admin.monitoring.live_status import LiveStatus
from miniclaw.config import show_config
from miniclaw.workspace.status import look
from miniclaw.workspace.status_json import ShownWorkspace, shown_workspace

_MAX_NAMED: Final = 100  # sessions that could not be saved


async def save(call: Call[NoQuery, None]) -> Saved:
    """Save all sessions that have unsaved changes, now."""
    report = await call.context.runtime.manager.save_all_sessions()
    return Saved(report.saved, len(report.failed), list(report.failed[:_MAX_NAMED]))


class StatusAnswer(ShownWorkspace, frozen=True, kw_only=True):
    """Status of the workspace, as in ``miniclaw status --json``, and of the gateway."""

    gateway: LiveStatus


async def status(call: Call[NoQuery, None]) -> StatusAnswer:
    """Return the status of the workspace and of the gateway."""
    found = await call.context.look(lambda workspace: shown_workspace(workspace, look(workspace)))
    return StatusAnswer(**asdict(found), gateway=call.context.live())


async def gateway(call: Call[NoQuery, None]) -> LiveStatus:
    """Return the status of the gateway, without a read of the disk."""
    await trio.lowlevel.checkpoint()
    return call.context.live()


async def config(call: Call[NoQuery, None]) -> ConfigAnswer:
    """Return the configuration in force."""
    return ConfigAnswer(show_config(call.context.config))


async def entrance(call: Call[NoQuery, None]) -> Entrance:
    """Make a one-time code, by which a browser logs in."""
    await trio.lowlevel.checkpoint()
    return call.context.entrance()


ENTRANCE: Final = (Endpoint("POST", "/entrance", entrance),)
"""Endpoints at the Unix socket alone, for the user who owns the workspace."""

GATEWAY: Final = (
    Endpoint("POST", "/save", save),
    Endpoint("GET", "/status", status),
    Endpoint("GET", "/gateway", gateway),
    Endpoint("GET", "/config", config),
)
