"""Which sessions may stay: the rules, and the verdict of the TTL. Pure.

The rule of the TTL is a sliding window of inactivity, judged by `last_accessed` alone (never by a file's times): a
session is expired when it was last used *longer ago* than its TTL; at exactly the TTL it is kept. How long ago that is,
`miniclaw.session.retention.timeline` says; and when an expired session goes, `miniclaw.session.retention.notice`.

What the budgets take depends on all sessions together: `miniclaw.session.retention.budgets`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias

from msgspec import Struct, field

from miniclaw.clock import from_microseconds
from miniclaw.session.entries import StoredSession
from miniclaw.session.names import is_channel
from miniclaw.session.retention.noted import Noted
from miniclaw.session.retention.timeline import Ages
from miniclaw.session.types import Session, SessionHeader

SESSION_TTL_DAYS: Final = 30
"""Days of inactivity after which a session may go, unless configured otherwise."""

DEFAULT_MIN_IDLE: Final = timedelta(hours=24)
"""How long nobody must have used a session before a budget may take it, unless configured otherwise."""

DEFAULT_LOW_WATER: Final = (9, 10)
"""The part of `max_disk_bytes` down to which it removes, unless configured otherwise."""

DAILY: Final = timedelta(days=1)
"""Between two runs where they come at a time of day, or where nothing else is known."""

QUARANTINE_DAYS: Final = 90
"""Days for which quarantined files are kept, unless configured otherwise."""

GUARD_LEAST_SESSIONS: Final = 20
"""Below so many readable sessions `max_removed_fraction` does not apply: of three, one is a third."""

LEAD_MARGIN: Final = timedelta(hours=4)
MOST_LEAD: Final = timedelta(days=7)
MOST_NOTICE: Final = timedelta(hours=20)
"""Less than a day: the run after the one that announced may delete, also where that one came a little late."""

Reason: TypeAlias = Literal[
    "ttl", "max_sessions", "max_disk_bytes", "min_free_disk",
    "future", "pinned", "in_use", "min_idle", "within_ttl", "never",
]  # fmt: skip
"""Which rule decided. Those of the first line remove, each by the name of its rule; the others keep.

``future``: ahead of the clock. ``pinned``: somebody pinned it. ``in_use``: memory knows it to be in use, unsaved or
fresh. ``min_idle``: a budget would have taken it, but it was used too recently. ``within_ttl``: its TTL is not over.
``never``: no TTL applies.
"""

REMOVING: Final[tuple[Reason, ...]] = ("ttl", "max_sessions", "max_disk_bytes", "min_free_disk")
"""The reasons that remove, in the order in which their rules are applied."""

_REMOVING: Final = frozenset(REMOVING)
_TRASHED: Final[frozenset[Reason]] = frozenset({"ttl", "max_sessions"})


def lead_of(ttl: timedelta, interval: timedelta) -> timedelta:
    """Return how long before it expires something is announced, where a run comes every `interval`."""
    return max(interval + LEAD_MARGIN, min(MOST_LEAD, ttl / 4))


def notice_of(ttl: timedelta | None, interval: timedelta) -> timedelta:
    """Return how long at least something stays after it was announced; None: by a rule that goes by no age."""
    notice = min(MOST_NOTICE, interval * 5 / 6)
    return notice if ttl is None else min(notice, ttl)


class PolicyError(ValueError):
    """Rules that make no sense.

    Attributes:
        attribute: The rule that is wrong.
        problem: What is wrong with it; where two contradict each other, it names the other.
    """

    def __init__(self, attribute: str, problem: str) -> None:
        self.attribute = attribute
        self.problem = problem
        super().__init__(f"{attribute}: {problem}")


class RetentionPolicy(Struct, frozen=True, kw_only=True):
    """How long sessions are kept, and how many. Each rule but `min_idle` is off where it is None.

    Attributes:
        ttl: Inactivity after which a session is expired, exclusive; positive. None: never.
        ttl_by_channel: The same for single channels, before `ttl`.
        max_sessions: How many sessions may stay, at least 1; the least recently used go.
        max_disk_bytes: Bytes that sessions and their entries in the trash may take, at least 1. Beyond it first the
            trash is emptied, then the least recently used sessions go.
        low_water: Bytes down to which `max_disk_bytes` removes, below it; None: nine tenths of it.
        min_free_disk: Bytes that are to be free on the disk, at least 1; as `max_disk_bytes` where they are fewer, but
            no session goes where all of them would not be enough.
        min_idle: What was used within this time, inclusive, is not taken by the last three; positive. None:
            `DEFAULT_MIN_IDLE`. The TTLs are not bound by it, but where it is given it may be above none of them.
        max_removed_fraction: A run that would remove more than this part of at least `GUARD_LEAST_SESSIONS` sessions
            is held; between 0 and 1, both exclusive.
        trash_for: How long removed sessions are kept in the trash; positive. None: they are not.
        quarantine_for: How long quarantined files are kept; positive. None: for ever.

    Raises:
        PolicyError: A rule is zero, negative or no number, or two contradict each other. It is a ValueError. No
            value means "remove everything".
    """

    ttl: timedelta | None = timedelta(days=SESSION_TTL_DAYS)
    ttl_by_channel: Mapping[str, timedelta | None] = field(default_factory=dict)
    max_sessions: int | None = None
    max_disk_bytes: int | None = None
    low_water: int | None = None
    min_free_disk: int | None = None
    min_idle: timedelta | None = None
    max_removed_fraction: float | None = None
    trash_for: timedelta | None = None
    quarantine_for: timedelta | None = timedelta(days=QUARANTINE_DAYS)

    def __post_init__(self) -> None:
        _check_duration("ttl", self.ttl, "a TTL")
        if not isinstance(self.ttl_by_channel, Mapping):
            raise PolicyError("ttl_by_channel", f"a mapping of channels to TTLs; not {self.ttl_by_channel!r}")
        for channel, ttl in self.ttl_by_channel.items():
            if not is_channel(channel):
                raise PolicyError(f"ttl_by_channel.{channel}", "a channel is 1 to 32 of a-z, 0-9 and -")
            _check_duration(f"ttl_by_channel.{channel}", ttl, "a TTL")
        for name in ("max_sessions", "max_disk_bytes", "low_water", "min_free_disk"):
            _check_count(name, getattr(self, name))
        for name in ("trash_for", "quarantine_for"):
            _check_duration(name, getattr(self, name), "a duration")
        if self.min_idle is not None and not (isinstance(self.min_idle, timedelta) and self.min_idle > timedelta(0)):
            raise PolicyError("min_idle", f"a duration is positive; not {self.min_idle}")
        _check_fraction("max_removed_fraction", self.max_removed_fraction)
        self._check_contradictions()

    def _check_contradictions(self) -> None:
        if self.low_water is not None:
            if self.max_disk_bytes is None:
                raise PolicyError("low_water", "it goes with max_disk_bytes, which is not set")
            if self.low_water >= self.max_disk_bytes:
                raise PolicyError("low_water", "it has to be less than max_disk_bytes")
        if self.min_idle is not None:
            ttls = {"ttl": self.ttl, **{f"ttl_by_channel.{name}": ttl for name, ttl in self.ttl_by_channel.items()}}
            for name, ttl in ttls.items():
                if ttl is not None and self.min_idle > ttl:
                    raise PolicyError("min_idle", f"{self.min_idle} is more than {name}, {ttl}: nothing would be idle")

    def ttl_of(self, channel: str) -> timedelta | None:
        """Return the TTL of a channel's sessions; None: they never expire."""
        return self.ttl_by_channel.get(channel, self.ttl)

    @property
    def least_idle(self) -> timedelta:
        """The `min_idle` in force."""
        return DEFAULT_MIN_IDLE if self.min_idle is None else self.min_idle

    @property
    def low_water_bytes(self) -> int | None:
        """The `low_water` in force; None without `max_disk_bytes`."""
        if self.max_disk_bytes is None or self.low_water is not None:
            return self.low_water
        part, whole = DEFAULT_LOW_WATER
        return self.max_disk_bytes * part // whole

    @property
    def has_budget(self) -> bool:
        """Whether there is a rule that goes by all sessions together."""
        return not (self.max_sessions is None and self.max_disk_bytes is None and self.min_free_disk is None)

    def trashes(self, reason: Reason) -> bool:
        """Return whether what is removed for this reason goes to the trash: not where the disk needs the room."""
        return self.trash_for is not None and reason in _TRASHED

    def judge(self, session: SessionHeader | Session, age: timedelta | None) -> Reason:
        """Return what decides about a session of this age by itself; budgets may still take what stays.

        Args:
            session: The session.
            age: Since it was last used; None: it is ahead of the clock.
        """
        if age is None:
            return "future"
        if session.pinned:
            return "pinned"
        ttl = self.ttl_by_channel.get(session.channel, self.ttl)
        if ttl is None:
            return "never"
        return "ttl" if age > ttl else "within_ttl"

    def is_expired(self, session: SessionHeader | Session, ages: Ages) -> bool:
        """Return whether a session may be removed at this time for its TTL."""
        return self.judge(session, ages.age(session.last_accessed)) == "ttl"

    def surely_staying(self, ages: Ages, interval: timedelta | None = None) -> Staying | None:
        """Return which sessions stay, whatever their channel; None where each has to be judged, as for a budget.

        Args:
            ages: The moment.
            interval: Between two runs; given, a session that is due is not among them.
        """
        return None if self.has_budget else self.young(ages, interval)

    def young(self, ages: Ages, interval: timedelta | None = None) -> Staying:
        """Return which sessions stay by any TTL, whatever their channel; see `surely_staying`."""
        ttls = [ttl for ttl in [self.ttl, *self.ttl_by_channel.values()] if ttl is not None]
        limits = [ttl if interval is None else ttl - lead_of(ttl, interval) for ttl in ttls]
        if not limits:
            return Staying(datetime.min.replace(tzinfo=UTC), ages.now)
        return Staying(from_microseconds(ages.young_since(min(limits))), ages.now)


def _check_duration(name: str, value: object, what: str) -> None:
    if value is not None and not (isinstance(value, timedelta) and value > timedelta(0)):
        raise PolicyError(name, f"{what} is positive, or None for never; not {value}")


def _check_count(name: str, value: object) -> None:
    # A bool is an int, but says nothing of how many.
    if value is not None and not (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        raise PolicyError(name, f"a whole number from 1, or None for never; not {value!r}")


def _check_fraction(name: str, value: object) -> None:
    if value is not None and not (isinstance(value, float) and 0 < value < 1):  # NaN is neither
        raise PolicyError(name, f"a number between 0 and 1, both exclusive, or None for never; not {value!r}")


class Staying(Struct, frozen=True):
    """Which sessions stay by any rule, if they are not pinned; the times are those of their last use, inclusive.

    Attributes:
        since: From when on; what is older may be due.
        until: Until when.
        due: What was announced, and stays as well, if it was used from `due_since` on; None: nothing.
        due_since: From when on nothing is expired.
    """

    since: datetime
    until: datetime
    due: Noted | None = None
    due_since: datetime = datetime.max.replace(tzinfo=UTC)


class PlanRow(Struct, frozen=True, gc=False):
    """The verdict on one session.

    Attributes:
        session: As it is stored.
        reason: The rule that decided.
        age: Since it was last used; negative in the future.
        used: When that was, by its file or, where it is there, by memory.
    """

    session: StoredSession
    reason: Reason
    age: timedelta
    used: datetime

    @property
    def removes(self) -> bool:
        """Whether the session would go."""
        return self.reason in _REMOVING


def plan_retention(sessions: Iterable[StoredSession], policy: RetentionPolicy, ages: Ages) -> Iterable[PlanRow]:
    """Yield the verdict on each session by itself; what budgets take is in no row here.

    Args:
        sessions: In any order; consumed one by one, so that a plan over many needs no memory for those it keeps.
        policy: The rules.
        ages: The one moment that all are judged at.
    """
    for session in sessions:
        used = session.header.last_accessed
        yield PlanRow(session, policy.judge(session.header, ages.age(used)), ages.shown(used), used)
