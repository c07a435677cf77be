"""Events of the history, as they are shown."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import asdict

from miniclaw.session.records.history import FileTally, HistoryEvent, Tally
from miniclaw.session.types import AwareDatetime


def sessions_of(event: HistoryEvent) -> int:
    """Return how many sessions an event is about."""
    named = len(event.sessions) + event.sessions_omitted
    return max(named, sum(tally.sessions for tally in event.reasons.values()))


class ShownEvent(Struct, frozen=True, kw_only=True):
    """An event without the sessions, which may be thousands; see `HistoryEvent`."""

    version: int
    at: AwareDatetime
    event: str
    by: str
    reasons: dict[str, Tally]
    bytes_freed: int
    duration_seconds: float
    sessions_scanned: int
    because: str
    leftovers: dict[str, FileTally]
    sessions: int


def shown_event(event: HistoryEvent | None) -> ShownEvent | None:
    """Return an event for JSON; None: there is none."""
    if event is None:
        return None
    fields = {name: value for name, value in asdict(event).items() if name in ShownEvent.__struct_fields__}
    return ShownEvent(**fields | {"sessions": sessions_of(event)})
