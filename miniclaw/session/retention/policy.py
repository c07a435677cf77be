"""The rules of retention, and the verdict of the TTL on one session. Pure.

The TTL is a sliding window of inactivity, judged by `last_accessed` alone (never by a file's times): a session is
expired when it was last used *longer ago* than its TTL; at exactly the TTL it is kept.
`miniclaw.session.retention.timeline` measures ages, and `miniclaw.session.retention.notice` decides when an expired
session is removed.

The verdict of the budgets depends on all sessions together: `miniclaw.session.retention.budgets`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias

from msgspec import Struct, field

from miniclaw.clock import from_microseconds
from miniclaw.formats import format_duration
from miniclaw.session.entries import StoredSession
from miniclaw.session.names import is_channel
from miniclaw.session.retention.noted import Noted
from miniclaw.session.retention.timeline import Ages
from miniclaw.session.types import Session, SessionHeader

SESSION_TTL_DAYS: Final = 30
"""Days of inactivity after which a session may be removed, unless configured otherwise."""

DEFAULT_MIN_IDLE: Final = timedelta(hours=24)
"""Time for which a session must have been unused before a budget may remove it, unless configured otherwise."""

DEFAULT_LOW_WATER: Final = (9, 10)
"""The part of `max_disk_bytes` down to which that budget removes, unless configured otherwise."""

DAILY: Final = timedelta(days=1)
"""Time between two runs that come at a time of day, or whose interval is not known."""

QUARANTINE_DAYS: Final = 90
"""Days for which files are kept in quarantine, unless configured otherwise."""

GUARD_LEAST_SESSIONS: Final = 20
"""Readable sessions below which `max_removed_fraction` does not apply: of three, one is a third."""

LEAD_MARGIN: Final = timedelta(hours=4)
MOST_LEAD: Final = timedelta(days=7)
MOST_NOTICE: Final = timedelta(hours=20)
"""Less than a day: the next run may delete, even if the run that announced came a little late."""

Reason: TypeAlias = Literal[
    "ttl", "max_sessions", "max_disk_bytes", "min_free_disk",
    "future", "pinned", "in_use", "min_idle", "within_ttl", "never",
]  # fmt: skip
"""The rule that decided. Those of the first line remove, each by the name of its rule; the others keep.

``future``: ahead of the clock. ``pinned``: its pin protects it. ``in_use``: in memory it is in use, unsaved or fresh.
``min_idle``: a budget would have removed it, but it was used too recently. ``within_ttl``: its TTL is not over.
``never``: no TTL applies.
"""

REMOVING: Final[tuple[Reason, ...]] = ("ttl", "max_sessions", "max_disk_bytes", "min_free_disk")
"""The reasons that remove, in the order in which their rules are applied."""

_REMOVING: Final = frozenset(REMOVING)
_TRASHED: Final[frozenset[Reason]] = frozenset({"ttl", "max_sessions"})


def lead_of(ttl: timedelta, interval: timedelta) -> timedelta:
    """Return the time before expiry at which a session is announced, with a run every `interval`."""
    return max(interval + LEAD_MARGIN, min(MOST_LEAD, ttl / 4))


def notice_of(ttl: timedelta | None, interval: timedelta) -> timedelta:
    """Return the notice period, the least time from announcement to removal; `ttl` None: the rule ignores age."""
    notice = min(MOST_NOTICE, interval * 5 / 6)
    return notice if ttl is None else min(notice, ttl)


class PolicyError(ValueError):
    """Invalid rules.

    Attributes:
        attribute: The rule that is wrong.
        problem: The reason. Of two rules that contradict each other, it names the other.
    """

    def __init__(self, attribute: str, problem: str) -> None:
        self.attribute = attribute
        self.problem = problem
        super().__init__(f"{attribute}: {problem}")


class RetentionPolicy(Struct, frozen=True, kw_only=True):
    """Limits on the age, number and size of sessions. Each rule but `min_idle` is off if it is None.

    Attributes:
        ttl: Inactivity after which a session is expired, exclusive; positive. None: never.
        ttl_by_channel: TTLs of single channels, which override `ttl`.
        max_sessions: Largest number of sessions, at least 1; beyond it the least recently used are removed.
        max_disk_bytes: Bytes that sessions and their entries in the trash may take, at least 1. Beyond it first the
            trash is emptied, then the least recently used sessions are removed.
        low_water: Bytes down to which `max_disk_bytes` removes, below it; None: nine tenths of it.
        min_free_disk: Bytes that have to be free on the disk, at least 1. Below it the trash and sessions are removed
            as by `max_disk_bytes`, but no session if all of them together would not be enough.
        min_idle: The last three rules spare a session used within this time, inclusive; positive. None:
            `DEFAULT_MIN_IDLE`. The TTLs ignore it, but if given it may exceed none of them.
        max_removed_fraction: A run that would remove more than this part of at least `GUARD_LEAST_SESSIONS` sessions
            is held; between 0 and 1, both exclusive.
        trash_for: Time for which removed sessions are kept in the trash; positive. None: they are not.
        quarantine_for: Time for which files are kept in quarantine; positive. None: for ever.

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
        if self.min_idle is not None:
            ttls = {"ttl": self.ttl, **{f"ttl_by_channel.{name}": ttl for name, ttl in self.ttl_by_channel.items()}}
            for name, ttl in ttls.items():
                if ttl is not None and self.min_idle > ttl:
                    longer = f"{format_duration(self.min_idle)} is more than {name}, {format_duration(ttl)}"
                    raise PolicyError("min_idle", f"{longer}: nothing would be idle")
        if self.low_water is not None:
            if self.max_disk_bytes is None:
                raise PolicyError("low_water", "it goes with max_disk_bytes, which is not set")
            if self.low_water >= self.max_disk_bytes:
                raise PolicyError("low_water", "it has to be less than max_disk_bytes")

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
        """True if a rule depends on all sessions together."""
        return not (self.max_sessions is None and self.max_disk_bytes is None and self.min_free_disk is None)

    def trashes(self, reason: Reason) -> bool:
        """Return whether a removal for this reason moves the session to the trash; a disk budget needs the room."""
        return self.trash_for is not None and reason in _TRASHED

    def judge(self, session: SessionHeader | Session, age: timedelta | None) -> Reason:
        """Return the verdict on a single session; budgets may still remove one that it keeps.

        Args:
            session: The session.
            age: Time since its last use; None: it is ahead of the clock.
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
        """Return whether the TTL lets a session be removed at this moment."""
        return self.judge(session, ages.age(session.last_accessed)) == "ttl"

    def surely_staying(self, ages: Ages, interval: timedelta | None = None) -> Staying | None:
        """Return the sessions of any channel that are surely kept; None: each has to be judged, as for a budget.

        Args:
            ages: The moment.
            interval: Time between two runs; if given, sessions that are due are excluded.
        """
        return None if self.has_budget else self.young(ages, interval)

    def young(self, ages: Ages, interval: timedelta | None = None) -> Staying:
        """Return the sessions of any channel that every TTL keeps; `interval` is as in `surely_staying`."""
        ttls = [ttl for ttl in [self.ttl, *self.ttl_by_channel.values()] if ttl is not None]
        limits = [ttl if interval is None else ttl - lead_of(ttl, interval) for ttl in ttls]
        if not limits:
            return Staying(datetime.min.replace(tzinfo=UTC), ages.now)
        return Staying(from_microseconds(ages.young_since(min(limits))), ages.now)


def _check_duration(name: str, value: object, what: str) -> None:
    if value is not None and not isinstance(value, timedelta):
        raise PolicyError(name, f"{what} is a positive timedelta, or None for never; not {value!r}")
    if value is not None and value <= timedelta(0):
        raise PolicyError(name, f"{what} is positive, or None for never; not {value}")


def _check_count(name: str, value: object) -> None:
    # A bool is an int, but not a count.
    if value is not None and not (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        raise PolicyError(name, f"a whole number from 1, or None for never; not {value!r}")


def _check_fraction(name: str, value: object) -> None:
    if value is not None and not (isinstance(value, float) and 0 < value < 1):  # NaN is neither
        raise PolicyError(name, f"a number between 0 and 1, both exclusive, or None for never; not {value!r}")


class Staying(Struct, frozen=True):
    """The sessions that every rule keeps, unless they are pinned, by the time of their last use; bounds are inclusive.

    Attributes:
        since: Lower bound; an older session may be due.
        until: Upper bound.
        due: Announced sessions; those used from `due_since` on are kept as well. None: there are none.
        due_since: Time from which on no session is expired.
    """

    since: datetime
    until: datetime
    due: Noted | None = None
    due_since: datetime = datetime.max.replace(tzinfo=UTC)


class PlanRow(Struct, frozen=True, gc=False):
    """The verdict on one session.

    Attributes:
        session: The session as stored.
        reason: The rule that decided.
        age: Time since its last use; negative in the future.
        used: Time of its last use, by its file or, if the session is loaded, by memory.
    """

    session: StoredSession
    reason: Reason
    age: timedelta
    used: datetime

    @property
    def removes(self) -> bool:
        """True if the session would be removed."""
        return self.reason in _REMOVING


def plan_retention(sessions: Iterable[StoredSession], policy: RetentionPolicy, ages: Ages) -> Iterable[PlanRow]:
    """Yield the verdict on each session by itself; no row here comes from a budget.

    Args:
        sessions: In any order; consumed one by one, so that a plan over many needs no memory for those it keeps.
        policy: The rules.
        ages: The one moment at which all are judged.
    """
    for session in sessions:
        used = session.header.last_accessed
        yield PlanRow(session, policy.judge(session.header, ages.age(used)), ages.shown(used), used)
