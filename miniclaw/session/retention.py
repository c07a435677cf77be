"""Which sessions may stay. Pure: headers, a policy and the time come in, a plan comes out.

The rule is a sliding window of inactivity, judged by `last_accessed` alone (never by a file's times): a session is
expired when it was last used *longer ago* than its TTL; at exactly the TTL it is kept. A time in the future is kept
and reported: a wrong clock wrote it, and nobody knows which age it stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from msgspec import Struct, field

from miniclaw.session.rows import StoredSession
from miniclaw.session.types import Session, SessionHeader

SESSION_TTL_DAYS: Final = 30
"""Days of inactivity after which a session may go, unless configured otherwise."""

FUTURE_TOLERANCE: Final = timedelta(minutes=5)
"""How far ahead of the clock a `last_accessed` may be before it is reported; clocks are corrected by seconds."""

_AHEAD: Final = -FUTURE_TOLERANCE

Reason: TypeAlias = Literal["ttl", "within_ttl", "never", "future"]
"""Which rule decided: ``ttl`` removes; ``within_ttl``, ``never`` (no TTL applies) and ``future`` keep."""


class RetentionPolicy(Struct, frozen=True, kw_only=True):
    """How long sessions are kept.

    Attributes:
        ttl: Inactivity after which a session is expired, exclusive; positive. None: never.
        ttl_by_channel: The same for single channels, before `ttl`.

    Raises:
        ValueError: A TTL is zero or negative. No value means "remove everything".
    """

    ttl: timedelta | None = timedelta(days=SESSION_TTL_DAYS)
    ttl_by_channel: Mapping[str, timedelta | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, ttl in [("ttl", self.ttl), *self.ttl_by_channel.items()]:
            if ttl is not None and ttl <= timedelta(0):
                raise ValueError(f"{name}: a TTL is positive, or None for never; not {ttl}")

    def ttl_of(self, channel: str) -> timedelta | None:
        """Return the TTL of a channel's sessions; None: they never expire."""
        return self.ttl_by_channel.get(channel, self.ttl)

    def shortest_ttl(self) -> timedelta | None:
        """Return the shortest TTL in force; None when nothing ever expires."""
        return min((ttl for ttl in [self.ttl, *self.ttl_by_channel.values()] if ttl is not None), default=None)

    def judge(self, session: SessionHeader | Session, now: datetime) -> Reason:
        """Return the rule that decides about a session at this time."""
        age = now - session.last_accessed
        if age < _AHEAD:
            return "future"
        ttl = self.ttl_by_channel.get(session.channel, self.ttl)
        if ttl is None:
            return "never"
        return "ttl" if age > ttl else "within_ttl"

    def is_expired(self, session: SessionHeader | Session, now: datetime) -> bool:
        """Return whether a session may be removed at this time."""
        return self.judge(session, now) == "ttl"


class PlanRow(Struct, frozen=True, gc=False):
    """The verdict on one session.

    Attributes:
        session: As it is stored.
        reason: The rule that decided.
        age: Since it was last used; negative in the future.
    """

    session: StoredSession
    reason: Reason
    age: timedelta

    @property
    def removes(self) -> bool:
        """Whether the session would go."""
        return self.reason == "ttl"


def plan_retention(sessions: Iterable[StoredSession], policy: RetentionPolicy, now: datetime) -> Iterable[PlanRow]:
    """Yield the verdict on each session.

    Args:
        sessions: In any order; consumed one by one, so that a plan over many needs no memory for those it keeps.
        policy: The rules.
        now: The one time that all are judged at, aware.
    """
    for session in sessions:
        yield PlanRow(session, policy.judge(session.header, now), now - session.header.last_accessed)
