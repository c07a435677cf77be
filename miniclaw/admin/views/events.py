"""Events of the history, as they are shown."""

from __future__ import annotations

from typing import Any

from msgspec.structs import asdict

from miniclaw.session.history import HistoryEvent


def sessions_of(event: HistoryEvent) -> int:
    """Return how many sessions an event is about."""
    named = len(event.sessions) + event.sessions_omitted
    return max(named, sum(tally.sessions for tally in event.reasons.values()))


def event_as_dict(event: HistoryEvent | None) -> dict[str, Any] | None:
    """Return an event without the sessions, which may be thousands."""
    if event is None:
        return None
    shown: dict[str, Any] = asdict(event)
    del shown["sessions"], shown["sessions_omitted"]
    return shown | {"sessions": sessions_of(event)}
