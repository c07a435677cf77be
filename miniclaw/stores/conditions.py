"""The conditions of the protocol as pure functions, for the stores that check them in Python."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from heapq import nlargest

from miniclaw.stores.types import AuditLine, Candidate, Header, Outcome, Trashed, Verdict


def fits(
    header: Header,
    now: datetime,
    *,
    channel: str | None,
    older_than: timedelta | None,
    younger_than: timedelta | None,
    pinned: bool | None,
) -> bool:
    """Return whether a header fits the filters of `SessionStore.headers`; ids and pages are the caller's."""
    age = now - header.last_accessed
    return (
        channel in {None, header.channel}
        and pinned in {None, header.pinned}
        and (older_than is None or age > older_than)
        and (younger_than is None or age < younger_than)
    )


def why_not(
    candidate: Candidate,
    header: Header | None,
    now: datetime,
    *,
    min_age: timedelta,
    announced: bool,
    is_right_clock: bool,
    is_leased: bool,
) -> Verdict | None:
    """Return why a candidate stays, by the rules of `SessionStore.remove_if_unused`; None: it may be removed.

    Args:
        candidate: The candidate.
        header: Its session as it is; None: there is none.
        now: The clock of the store.
        min_age: As for `remove_if_unused`.
        announced: Likewise.
        is_right_clock: True if the caller's clock differs from it by no more than `CLOCK_TOLERANCE`.
        is_leased: True if a lease on the session is in force.
    """
    if header is None:
        return "gone"
    reasons: dict[Verdict, bool] = {
        "clock": not is_right_clock,
        "used": header.last_accessed != candidate.last_accessed,
        "pinned": header.pinned,
        "leased": is_leased,
        "young": now - header.last_accessed <= min_age,
        "unannounced": announced and (header.due_at is None or now < header.due_at),
    }
    return next((why for why, applies in reasons.items() if applies), None)


def outcome_of(line: AuditLine) -> Outcome:
    """Return the outcome of a removal that has this line."""
    return Outcome(line.session_id, "removed", line.size, line.entry_id)


def trash_page(entries: Iterable[Trashed], before: Trashed | None, limit: int) -> list[Trashed]:
    """Return the newest entries behind one, by the order of `SessionStore.trash`."""
    return nlargest(limit, (entry for entry in entries if before is None or _age(entry) < _age(before)), key=_age)


def _age(entry: Trashed) -> tuple[datetime, str]:
    return entry.removed_at, entry.entry_id
