"""The rules that a running session runtime goes by, and that can be exchanged while it runs."""

from __future__ import annotations

from msgspec import Struct, field

from miniclaw.session.maintenance.wakeup import check_interval
from miniclaw.session.persistence import PERSISTENCE_INTERVAL_SECS
from miniclaw.session.retention.policy import DAILY, RetentionPolicy
from miniclaw.session.retention.schedule import Schedule


class RuntimeRules(Struct, frozen=True, kw_only=True):
    """All rules of a runtime; see `open_runtime`.

    Attributes:
        policy: How long sessions are kept.
        schedule: When the daily cleanup runs.
        removes: False: it only announces.
        notice: Whether it deletes only what an earlier run has announced.
        persistence_interval_seconds: Between two saves, positive.

    Raises:
        ValueError: `persistence_interval_seconds` is no such number.
    """

    policy: RetentionPolicy = field(default_factory=RetentionPolicy)
    schedule: Schedule = field(default_factory=lambda: Schedule(DAILY))
    removes: bool = True
    notice: bool = True
    persistence_interval_seconds: float = PERSISTENCE_INTERVAL_SECS

    def __post_init__(self) -> None:
        check_interval(self.persistence_interval_seconds)
