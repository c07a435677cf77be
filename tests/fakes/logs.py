"""A recorder for log events."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

MISPLACED = "Sessions directory is no longer in its place; sessions are saved where it is now"


class LogRecorder:
    """A structlog processor that keeps the events.

    Attributes:
        events: All events, with their fields and their ``level``.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._expected: set[str] = set()

    def __call__(self, _logger: Any, level: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        self.events.append({**event, "level": level})
        raise structlog.DropEvent

    def expect_error(self, event: str) -> None:
        """Say that an ERROR of this sentence is part of the test; that it comes is checked at the end."""
        self._expected.add(event)

    def named(self, event: str) -> list[dict[str, Any]]:
        """Return the events of this sentence."""
        return [found for found in self.events if found["event"] == event]

    def one(self, event: str) -> dict[str, Any]:
        """Return the only event of this sentence."""
        found = self.named(event)
        assert len(found) == 1, f"{len(found)} events {event!r} among {[e['event'] for e in self.events]}"
        return found[0]

    def check(self) -> None:
        """Fail on an ERROR that was not expected, and on one that was and did not come."""
        errors = {event["event"]: event for event in self.events if event["level"] in {"error", "critical"}}
        unexpected = [event for sentence, event in errors.items() if sentence not in self._expected]
        assert not unexpected, f"unexpected ERROR in the log: {unexpected}"
        missing = self._expected - set(errors)
        assert not missing, f"expected ERROR did not come: {missing}"
