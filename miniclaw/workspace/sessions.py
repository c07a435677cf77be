"""The sessions of a workspace: their verdicts, as they are shown; their filters and orders; and the forecast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from msgspec import Struct

from miniclaw.formats import encodable, format_remaining
from miniclaw.session.entries import StoredSession
from miniclaw.session.retention.policy import PlanRow, Reason, RetentionPolicy, plan_retention
from miniclaw.session.types import AwareDatetime
from miniclaw.workspace.workspace import Listing, Workspace

if TYPE_CHECKING:
    from miniclaw.session.retention.forecast import Forecast
    from miniclaw.session.retention.notice import Notice

Order: TypeAlias = Literal["recent", "age", "size", "name"]
"""The session that comes first: the most recently used, the least recently used, the largest, or the first by id."""

State: TypeAlias = Literal["expired", "pinned", "future", "going", "kept"]
"""``expired``: its TTL is over. ``pinned``: it is pinned. ``future``: its last use is ahead of the clock. ``going``: a
cleanup would remove it, for any reason. ``kept``: a cleanup would keep it.
"""

ORDERS: Final[dict[Order, Callable[[PlanRow], Any]]] = {
    "recent": lambda row: -row.session.header.last_accessed.timestamp(),
    "age": lambda row: row.session.header.last_accessed.timestamp(),
    "size": lambda row: -row.session.size,
    "name": lambda row: row.session.header.session_id,
}
"""Sort key of each order, ascending; callers break ties by the session's id. Independent of the present time."""

_STATES: Final[dict[State, Callable[[PlanRow], bool]]] = {
    "expired": lambda row: row.reason == "ttl",
    "pinned": lambda row: row.session.header.pinned,
    "future": lambda row: row.reason == "future",
    "going": lambda row: row.removes,
    "kept": lambda row: not row.removes,
}


class Wanted(Struct, frozen=True):
    """A filter of sessions; an attribute that is None admits all. The age `older_than` is exclusive."""

    channel: str | None = None
    older_than: timedelta | None = None
    state: State | None = None

    def takes(self, row: PlanRow) -> bool:
        """Return whether the filter admits a session."""
        if self.channel is not None and row.session.header.channel != self.channel:
            return False
        if self.older_than is not None and row.age <= self.older_than:
            return False
        return self.state is None or _STATES[self.state](row)


def judged_sessions(workspace: Workspace) -> tuple[list[PlanRow], Listing]:
    """Return all sessions, in no order, each with its verdict; and the listing that they come from."""
    notice = workspace.notice()
    listing = workspace.listing()
    return _judge(workspace, listing.sessions, notice), listing


def _judge(workspace: Workspace, sessions: Sequence[StoredSession], notice: Notice) -> list[PlanRow]:
    """Return the verdict on each session, in their order: by its TTL, and by the budgets on all together."""
    policy = workspace.policy
    taken: dict[str, PlanRow] = {}
    if workspace.directory is not None and policy.has_budget:
        from miniclaw.session.retention.planner import Planner  # noqa: PLC0415 - start-up time

        planner = Planner(policy, notice)
        planner.feed(sessions)
        planner.feed_leftovers(workspace.leftovers())
        plan = planner.plan(free_disk=workspace.free_disk)
        taken = {row.session.key: row for row in plan.removals}
    return [taken.get(row.session.key, row) for row in plan_retention(sessions, policy, notice.ages)]


def foresee(workspace: Workspace, days: int) -> Forecast:
    """Return a forecast of the next days' cleanups, by the rules of `miniclaw.session.retention.forecast`."""
    from miniclaw.session.retention.forecast import forecast  # noqa: PLC0415 - start-up time: `list` needs none

    notice = workspace.notice(as_daily=True)
    sessions, leftovers = workspace.listing().sessions, workspace.leftovers()
    return forecast(sessions, workspace.policy, notice, days, leftovers=leftovers, free_disk=workspace.free_disk)


def fate(row: PlanRow, policy: RetentionPolicy) -> str:
    """Return the fate of a session under retention, as text for a person."""
    match row.reason:
        case "never":
            return "kept, no TTL"
        case "pinned":
            return "kept, pinned"
        case "future":
            return "kept, ahead of the clock"
        case "ttl":
            return "expired"
        case "max_sessions" | "max_disk_bytes" | "min_free_disk":
            return f"due, {row.reason}"
    ttl = policy.ttl_of(row.session.header.channel)
    return f"expires in {format_remaining(ttl - row.age)}" if ttl else ""


class SessionRow(Struct, frozen=True):
    """A session, its file and its verdict, for JSON.

    Attributes:
        age_days: Days since its last use.
        expired: True if the TTL is over and decides; then `reason` is ``ttl``.
        removes: True if a cleanup would remove it.
        reason: The rule that decides.
    """

    session_id: str
    channel: str
    chat_id: str
    last_accessed: AwareDatetime
    age_days: float
    bytes: int
    file: str
    pinned: bool
    expired: bool
    removes: bool
    reason: Reason


def shown(row: PlanRow) -> SessionRow:
    """Return a session and its verdict, for JSON."""
    header = row.session.header
    return SessionRow(
        session_id=header.session_id,
        channel=header.channel,
        chat_id=header.chat_id,
        last_accessed=header.last_accessed,
        age_days=round(row.age / timedelta(days=1), 3),
        bytes=row.session.size,
        file=encodable(row.session.key),
        pinned=header.pinned,
        expired=row.reason == "ttl",
        removes=row.removes,
        reason=row.reason,
    )
