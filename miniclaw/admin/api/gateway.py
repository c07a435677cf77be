"""The gateway itself: saving, how things stand, the configuration."""

from __future__ import annotations

import os
from datetime import timedelta
from importlib.metadata import version
from typing import Final

from msgspec import Struct

from miniclaw.admin.api.endpoints import Call, Endpoint, NoQuery
from miniclaw.admin.context import AdminContext
from miniclaw.admin.messages import ConfigAnswer, Saved
from miniclaw.admin.views.workspace import look
from miniclaw.admin.views.workspace_json import ShownWorkspace, shown_workspace
from miniclaw.config import show_config
from miniclaw.session.types import AwareDatetime

_MAX_NAMED: Final = 100  # sessions that could not be saved


async def save(call: Call[NoQuery, None]) -> Saved:
    """Save all sessions that have unsaved changes, now."""
    report = await call.context.save()
    return Saved(report.saved, len(report.failed), list(report.failed[:_MAX_NAMED]))


class GatewayStatus(Struct, frozen=True):
    """What only the gateway itself knows.

    Attributes:
        version: Of miniclaw.
        pid: Its process.
        started_at: When it was started.
        uptime_seconds: How long ago that is.
        addresses: Where it is served, besides its socket.
        sessions_live: Sessions in memory.
        sessions_dirty: Those of them with changes that are not saved.
        last_saved_at: When something was last saved; null: nothing ever was.
        save_failures: Saves that failed since the start.
        next_cleanup_at: When the next cleanup is due; null: never by itself.
    """

    version: str
    pid: int
    started_at: AwareDatetime
    uptime_seconds: float
    addresses: list[str]
    sessions_live: int
    sessions_dirty: int
    last_saved_at: AwareDatetime | None
    save_failures: int
    next_cleanup_at: AwareDatetime | None


class StatusAnswer(ShownWorkspace, frozen=True, kw_only=True):
    """How things stand, as ``miniclaw status --json`` tells it, and how the gateway is."""

    gateway: GatewayStatus


async def status(call: Call[NoQuery, None]) -> StatusAnswer:
    """Return how things stand."""
    context = call.context
    found = await context.look(
        lambda on_progress: shown_workspace(context, look(context, context.clock(), on_progress))
    )
    fields = {name: getattr(found, name) for name in ShownWorkspace.__struct_fields__}
    return StatusAnswer(**fields, gateway=_gateway(context))


def _gateway(context: AdminContext) -> GatewayStatus:
    manager = context.runtime.manager
    uptime = context.clock() - context.started_at
    return GatewayStatus(
        version=version("miniclaw"),
        pid=os.getpid(),
        started_at=context.started_at,
        uptime_seconds=round(uptime / timedelta(seconds=1), 3),
        addresses=list(context.addresses()),
        sessions_live=manager.live_sessions(),
        sessions_dirty=len(manager.dirty_sessions()),
        last_saved_at=manager.stats.saves.last_saved_at,
        save_failures=manager.stats.saves.failed,
        next_cleanup_at=context.runtime.cleanup_service.next_run_at,
    )


async def config(call: Call[NoQuery, None]) -> ConfigAnswer:
    """Return the configuration in force."""
    return ConfigAnswer(show_config(call.context.config))


GATEWAY: Final = (
    Endpoint("POST", "/save", save, Saved, "Save all sessions that have unsaved changes, now."),
    Endpoint("GET", "/status", status, StatusAnswer, "Return how things stand, and how the gateway is.",
             refuses=(503,)),
    Endpoint("GET", "/config", config, ConfigAnswer, "Return the configuration in force."),
)  # fmt: skip
