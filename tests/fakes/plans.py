"""Sessions, leftovers and policies as the planner gets them: made by hand, or drawn by Hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from miniclaw.session.entries import Leftover, LeftoverKind, ScanRow, StoredSession
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.planner import LiveSession, Planner
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.types import SessionHeader
from tests.fakes.moments import at_once

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
CHANNELS = ["web", "mail", "diary"]


def stored(
    number: int, age: timedelta = DAY, *, size: int = 100, channel: str = "web", pinned: bool = False
) -> StoredSession:
    session_id = f"{channel}_{number}"
    header = SessionHeader(session_id, channel, str(number), NOW - age, pinned)
    return StoredSession(f"{session_id}.json", size, header)


def plan(
    *rows: ScanRow,
    live: dict[str, LiveSession] | None = None,
    leftovers: Sequence[Leftover] = (),
    free_disk: int | None = None,
    **rules: Any,
) -> CleanupPlan:
    """Return the plan over these rows by some rules, of a run that acts at once."""
    policy = RetentionPolicy(**rules)
    planner = Planner(policy, at_once(NOW, policy), live=live.get if live is not None else None)
    planner.feed(rows)
    planner.feed_leftovers(leftovers)
    return planner.plan(free_disk=free_disk)


def going(made: CleanupPlan) -> list[tuple[str, str]]:
    """Return which chats go, and for which reasons."""
    return [(row.session.header.chat_id, row.reason) for row in made.removals]


ages = st.one_of(
    st.integers(-2, 40).map(lambda days: days * DAY),
    st.timedeltas(-HOUR, 40 * DAY),
    st.sampled_from([timedelta(0), HOUR, DAY, 30 * DAY, 30 * DAY + timedelta(microseconds=1)]),
)
sizes = st.sampled_from([100, 4096, 4097]) | st.integers(1, 20_000)


@st.composite
def session_lists(draw: st.DrawFn, *, most: int = 30) -> list[StoredSession]:
    """Draw sessions, each with a key of its own."""
    drawn = draw(
        st.lists(st.tuples(ages, sizes, st.sampled_from(CHANNELS), st.booleans() | st.just(False)), max_size=most)
    )
    return [
        stored(number, age, size=size, channel=channel, pinned=pinned)
        for number, (age, size, channel, pinned) in enumerate(drawn)
    ]


@st.composite
def leftover_lists(draw: st.DrawFn) -> list[Leftover]:
    """Draw leftovers of all kinds, each with a key of its own."""
    kinds: st.SearchStrategy[LeftoverKind] = st.sampled_from(
        ["trash", "trash", "quarantined", "temporary", "unfinished", "legacy"]
    )
    leftovers = []
    for number in range(draw(st.integers(0, 8))):
        kind, age = draw(kinds), draw(st.none() | ages)
        left = draw(st.none() | ages) if kind == "trash" else None
        header = None
        if kind in {"quarantined", "legacy"} and draw(st.booleans()):
            channel, used = draw(st.sampled_from(CHANNELS)), NOW - draw(ages)
            header = SessionHeader(f"{channel}_{number}", channel, str(number), used, draw(st.integers(0, 4)) == 0)
        leftovers.append(
            Leftover(
                kind,
                f"leftover-{number}",
                draw(sizes),
                None if age is None else NOW - age,
                None if left is None else NOW + left,
                header=header,
                readable=kind != "quarantined" or draw(st.integers(0, 9)) > 0,
                from_quarantine=kind == "trash" and draw(st.booleans()),
            )
        )
    return leftovers


@st.composite
def policies(draw: st.DrawFn) -> RetentionPolicy:
    """Draw consistent rules, each of them on or off."""
    ttls = st.none() | st.integers(1, 40).map(lambda days: days * DAY)
    durations = st.none() | st.integers(1, 20).map(lambda days: days * DAY)
    most = draw(st.none() | st.integers(2, 200_000))
    return RetentionPolicy(
        ttl=draw(ttls),
        ttl_by_channel=draw(st.dictionaries(st.sampled_from(CHANNELS), ttls, max_size=2)),
        max_sessions=draw(st.none() | st.integers(1, 30)),
        max_disk_bytes=most,
        low_water=None if most is None else draw(st.none() | st.integers(1, most - 1)),
        min_free_disk=draw(st.none() | st.integers(1, 200_000)),
        min_idle=draw(st.none() | st.just(HOUR) | st.just(DAY)),
        max_removed_fraction=draw(st.none() | st.floats(0.01, 0.99)),
        trash_for=draw(durations),
        quarantine_for=draw(durations),
    )


free_disks = st.none() | st.integers(0, 250_000)
