"""Liveness and readiness of the gateway: ``/healthz`` and ``/readyz``.

A gateway is alive if its event loop runs, so every answer means alive. It is ready if it accepts messages and saves
them. Neither path needs a token. If the other paths need one, a caller without it gets the status and no detail. The
detail contains no session and no path, because the answer may be passed on; the log contains them.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final, Literal, TypeAlias

import msgspec
import trio
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from miniclaw.channels.port import Port
from miniclaw.session.runtime import SessionRuntime
from miniclaw.web.access.login import is_stranger
from miniclaw.web.problems import problem

Phase: TypeAlias = Literal["starting", "running", "draining"]
"""Phase of the gateway: it accepts nothing yet, it serves, or it accepts nothing more and completes its work."""

ReasonCode: TypeAlias = Literal[
    "starting", "draining", "channel_failed", "channel_ended", "saving_fails", "sessions_dir_misplaced",
    "ownership_lost",
]  # fmt: skip

FAILING_TICKS: Final = 2
"""Number of consecutive incomplete autosaves that makes the gateway not ready, inclusive."""

HEALTH_PATHS: Final = ("/healthz", "/readyz")
"""Paths that need no token."""

_NO_STORE: Final = {"cache-control": "no-store"}
_RETRY_AFTER_SECONDS: Final = 5


class Reason(Struct, frozen=True):
    """A reason why the gateway is not ready."""

    code: ReasonCode
    detail: str


class Health:
    """Phase and readiness of the gateway, which sets the phase on the trio thread."""

    def __init__(self, runtime: SessionRuntime, ports: Collection[Port]) -> None:
        self.phase: Phase = "starting"
        self.runtime = runtime
        self.ports = ports
        self.started_at: datetime = runtime.time.now()
        self._stats = runtime.manager.stats.saves
        self._began = trio.current_time()

    def __repr__(self) -> str:
        return f"<Health {self.phase} {[reason.code for reason in self.reasons()]}>"

    @property
    def uptime_seconds(self) -> float:
        """Seconds since the start of the gateway."""
        return trio.current_time() - self._began

    def reasons(self) -> list[Reason]:
        """Return the reasons why the gateway is not ready; none if it is ready."""
        found: list[Reason] = []
        if self.phase == "starting":
            found.append(Reason("starting", "the gateway is starting"))
        elif self.phase == "draining":
            found.append(Reason("draining", "the gateway is stopping and takes no more messages"))
        if failed := sum(port.phase == "failed" for port in self.ports):
            who = "a channel has" if failed == 1 else f"{failed} channels have"
            found.append(Reason("channel_failed", f"{who} failed; a new start is tried soon; see the log"))
        if ended := [port.name for port in self.ports if port.ended_by is not None]:
            who = f"the channel {ended[0]} has" if len(ended) == 1 else f"the channels {', '.join(ended)} have"
            found.append(Reason("channel_ended", f"{who} ended, and no new start is tried; see the log"))
        if (ticks := self._stats.failing_ticks) >= FAILING_TICKS:
            found.append(Reason("saving_fails", f"the last {ticks} autosaves have not saved everything; see the log"))
        if self._stats.misplaced is not None:
            detail = "the sessions directory is no longer in its place; see the log"
            found.append(Reason("sessions_dir_misplaced", detail))
        if self._stats.lost_to is not None:
            detail = "another process owns the sessions directory; nothing is saved until a restart; see the log"
            found.append(Reason("ownership_lost", detail))
        return found


def health_routes(health: Health) -> list[BaseRoute]:
    """Return the routes ``/healthz`` and ``/readyz``."""

    async def healthz(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        if is_stranger(request.scope):
            return _answer({"status": "ok"})
        return _answer({"status": "ok", "phase": health.phase, "uptime_seconds": round(health.uptime_seconds, 3)})

    async def readyz(request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        reasons = health.reasons()
        strange = is_stranger(request.scope)
        if not reasons:
            return _answer({"ready": True} if strange else {"ready": True, "phase": health.phase, "reasons": reasons})
        headers = _NO_STORE | {"retry-after": str(_RETRY_AFTER_SECONDS)}
        if strange:
            return problem(503, "not ready; with the token this says why", headers=headers, ready=False)
        detail = f"not ready: {'; '.join(reason.detail for reason in reasons)}"
        return problem(503, detail, headers=headers, ready=False, phase=health.phase, reasons=reasons)

    return [Route(path, answer, methods=["GET"]) for path, answer in zip(HEALTH_PATHS, (healthz, readyz), strict=True)]


def _answer(document: dict[str, object]) -> Response:
    return Response(msgspec.json.encode(document), headers=_NO_STORE, media_type="application/json")
