"""Sessions, each with its verdict, as they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from miniclaw.formats import encodable, format_remaining
from miniclaw.session.entries import StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.retention.policy import PlanRow, Reason, RetentionPolicy, plan_retention
from miniclaw.session.types import AwareDatetime
from miniclaw.workspace.workspace import find_leftovers

if TYPE_CHECKING:
    from miniclaw.session.retention.notice import Notice
    from miniclaw.workspace.workspace import Place


def judge(
    place: Place, directory: SessionDirectory | None, sessions: Sequence[StoredSession], notice: Notice
) -> list[PlanRow]:
    """Return the verdict on each session, in their order: by its TTL, and by the budgets on all together.

    Args:
        place: The source of the rules.
        directory: The sessions directory; None: it does not exist yet.
        sessions: All sessions of the directory: a budget compares them.
        notice: The moment at which all sessions are judged.
    """
    policy = place.config.session.retention_policy()
    taken: dict[str, PlanRow] = {}
    if directory is not None and policy.has_budget:
        from miniclaw.session.retention.planner import Planner  # noqa: PLC0415 - start-up time

        planner = Planner(policy, notice)
        planner.add(sessions)
        planner.add_leftovers(find_leftovers(place, directory, notice.ages.now))
        plan = planner.finish(free_disk=directory.free_disk())
        taken = {row.session.key: row for row in plan.removals}
    return [taken.get(row.session.key, row) for row in plan_retention(sessions, policy, notice.ages)]


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
            return f"goes for {row.reason}"
    ttl = policy.ttl_of(row.session.header.channel)
    return f"expires in {format_remaining(ttl - row.age)}" if ttl else ""


class SessionRow(Struct, frozen=True):
    """A session and its verdict, for JSON.

    Attributes:
        session_id: The session.
        channel: Its channel.
        chat_id: Its chat.
        last_accessed: The time of its last use.
        age_days: Days since its last use.
        bytes: The size of its file.
        file: The name of its file.
        pinned: True if it is pinned.
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
