"""Endpoints of the cleanup: its plan, run, stop and forecast, and the history of removals."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import asdict

from miniclaw.admin.api.endpoints import Call, Endpoint, NoQuery
from miniclaw.admin.api.paging import Limit
from miniclaw.admin.client.messages import MAX_PAGE, CleanupOrder, Stopping
from miniclaw.session.records.history import HistoryEvent
from miniclaw.session.records.result import CleanupResult
from miniclaw.session.retention.forecast import Forecast
from miniclaw.workspace.plan import look_ahead
from miniclaw.workspace.plan_json import ShownPlan, shown_plan
from miniclaw.workspace.sessions import foresee
from miniclaw.workspace.workspace import Workspace

MAX_DAYS: Final = 3650
"""Most days of a forecast, inclusive; `miniclaw sessions forecast` allows more."""


class PlanQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Limit of the lists of a plan."""

    limit: Annotated[
        int,
        Meta(
            ge=0,
            le=MAX_PAGE,
            description="At most so many rows of each list; the counts are of all.",
            extra={"right": f"a whole number from 0 to {MAX_PAGE}"},
        ),
    ] = MAX_PAGE


class Omitted(Struct, frozen=True):
    """Number of rows that are left out of each list."""

    sessions: int
    due_sessions: int
    due_files: int
    leftovers: int
    future: int
    problems: int


class PlanAnswer(ShownPlan, frozen=True, kw_only=True):
    """The plan of a cleanup, as in ``miniclaw sessions cleanup --dry-run --json``; its lists may be cut."""

    omitted: Omitted


async def plan(call: Call[PlanQuery, None]) -> PlanAnswer:
    """Return the plan of a cleanup that begins now. Nothing is changed."""
    return await call.context.look(partial(_plan, call.query.limit))


def _plan(limit: int, workspace: Workspace) -> PlanAnswer:
    found = shown_plan(look_ahead(workspace))
    lists = {name: getattr(found, name) for name in Omitted.__struct_fields__}
    omitted = Omitted(**{name: max(0, len(rows) - limit) for name, rows in lists.items()})
    return PlanAnswer(**asdict(found) | {name: rows[:limit] for name, rows in lists.items()}, omitted=omitted)


async def run(call: Call[NoQuery, CleanupOrder]) -> CleanupResult:
    """Run a cleanup to its end."""
    return await call.operations.cleanup(confirmed=call.body.confirmed)


async def stop(call: Call[NoQuery, None]) -> Stopping:
    """Stop the cleanup in progress after its present batch, no matter which caller started it."""
    return Stopping(call.operations.stop_cleanup())


class ForecastQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Number of days that a forecast covers."""

    days: Annotated[
        int,
        Meta(ge=0, le=MAX_DAYS, description="How many days.", extra={"right": f"a whole number from 0 to {MAX_DAYS}"}),
    ] = 30


async def forecast(call: Call[ForecastQuery, None]) -> Forecast:
    """Return the sessions that will expire in the next days if none is used."""
    return await call.context.look(lambda workspace: foresee(workspace, call.query.days))


class HistoryQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Limit of the events of the history."""

    limit: Limit = 20


class HistoryAnswer(Struct, frozen=True):
    """The history of removals, the newest last; `damaged` is the number of lines that could not be read."""

    events: list[HistoryEvent]
    damaged: int


async def history(call: Call[HistoryQuery, None]) -> HistoryAnswer:
    """Return the history of removals: sessions, time, actor and reason."""
    limit = call.query.limit
    return await call.context.look(lambda workspace: HistoryAnswer(*workspace.history(limit)), saves=False)


CLEANUP: Final = (
    Endpoint("GET", "/cleanup/plan", plan),
    Endpoint("POST", "/cleanup/run", run),
    Endpoint("POST", "/cleanup/stop", stop),
    Endpoint("GET", "/cleanup/forecast", forecast),
    Endpoint("GET", "/history", history),
)
