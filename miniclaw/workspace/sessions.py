"""The sessions of a workspace: their verdicts, their filters and orders, and the forecast."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from msgspec import Struct

from miniclaw.session.retention.policy import PlanRow
from miniclaw.workspace.rows import judge
from miniclaw.workspace.workspace import Listing, Progress, find_leftovers, list_directory, sessions_opened

if TYPE_CHECKING:
    from miniclaw.session.retention.forecast import Forecast
    from miniclaw.session.retention.notice import Notice
    from miniclaw.workspace.workspace import Place

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
    """A filter of sessions; an attribute that is None admits all.

    Attributes:
        channel: Admits the sessions of this channel.
        older_than: Admits the sessions whose last use is longer ago than this, exclusive.
        state: Admits the sessions of this state.
    """

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


def judged_sessions(place: Place, notice: Notice, on_progress: Progress | None = None) -> tuple[list[PlanRow], Listing]:
    """Return all sessions, in no order, each with its verdict; and the listing that they come from."""
    with sessions_opened(place) as directory:
        listing = list_directory(place, directory, on_progress)
        return judge(place, directory, listing.sessions, notice), listing


def foresee(place: Place, notice: Notice, days: int, on_progress: Progress | None = None) -> Forecast:
    """Return a forecast of the next days' cleanups, by the rules of `miniclaw.session.retention.forecast`."""
    from miniclaw.session.retention.forecast import forecast  # noqa: PLC0415 - start-up time: `list` needs none

    policy = place.config.session.retention_policy()
    with sessions_opened(place) as directory:
        sessions = list_directory(place, directory, on_progress).sessions
        leftovers = find_leftovers(place, directory, notice.ages.now)
        free = None if directory is None else directory.free_disk()
    return forecast(sessions, policy, notice, days, leftovers=leftovers, free_disk=free)
