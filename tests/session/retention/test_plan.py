"""The plan: each rule in its order, each removal with its one reason, and nothing that is protected."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from miniclaw.session.entries import Leftover, LeftoverKind, ProblemFile, Tally
from miniclaw.session.retention.leftover_rules import LeftoverRow
from miniclaw.session.retention.planner import LiveSession, Planner
from miniclaw.session.retention.policy import DEFAULT_MIN_IDLE, GUARD_LEAST_SESSIONS, RetentionPolicy
from tests.fakes.moments import at_once
from tests.fakes.plans import DAY, HOUR, NOW, going, plan, stored

MICROSECOND = timedelta(microseconds=1)
NO_TTL = {"ttl": None}


def leftover(kind: LeftoverKind, key: str, age: timedelta | None, *, size: int = 100, **fields: Any) -> Leftover:
    return Leftover(kind, key, size, None if age is None else NOW - age, **fields)


def test_plan_of_nothing_is_empty() -> None:
    """Without sessions nothing goes, whatever the budgets."""
    made = plan(max_sessions=1, max_disk_bytes=1, min_free_disk=1, max_removed_fraction=0.1, free_disk=0)
    assert (made.removals, made.leftovers, made.held) == ([], [], None)
    assert made.unmet == ["min_free_disk"]


def test_plan_counts_what_was_scanned() -> None:
    """Readable sessions, problems and entries that are no sessions are counted apart."""
    made = plan(
        stored(1, size=70),
        stored(2, 31 * DAY, size=5),
        ProblemFile("a.json", "corrupt", "torn"),
        ProblemFile("b.txt", "foreign", "not ours"),
    )
    assert (made.sessions_scanned, made.readable, made.sessions_bytes) == (3, 2, 75)
    assert (made.problem_count("corrupt"), made.problem_count("foreign")) == (1, 1)


def test_plan_max_sessions_removes_the_least_recently_used_and_counts_pinned_ones() -> None:
    """Down to the number, the longest unused first, of equals by name; pinned ones stay and count."""
    sessions = [stored(1, 9 * DAY), stored(2, 5 * DAY), stored(4, 7 * DAY), stored(3, 7 * DAY)]
    made = plan(*sessions, stored(5, 20 * DAY, pinned=True), max_sessions=2)
    assert going(made) == [("1", "max_sessions"), ("3", "max_sessions"), ("4", "max_sessions")]
    assert (made.pinned, made.unmet) == (1, [])


def test_plan_max_sessions_after_ttl_counts_only_what_stays() -> None:
    """What the TTL removes is not removed once more, and counts for the budget."""
    made = plan(stored(1, 31 * DAY), stored(2, 3 * DAY), stored(3, 2 * DAY), max_sessions=2)
    assert going(made) == [("1", "ttl")]
    assert made.by_reason() == {"ttl": Tally(1, 100)}


def test_plan_max_sessions_exactly_met_removes_nothing() -> None:
    """The number itself may stay."""
    assert going(plan(stored(1, 3 * DAY), stored(2, 2 * DAY), max_sessions=2)) == []


@pytest.mark.parametrize(
    ("idle", "rules", "goes"),
    [
        (DEFAULT_MIN_IDLE, {}, False),
        (DEFAULT_MIN_IDLE + MICROSECOND, {}, True),
        (HOUR, {"min_idle": HOUR}, False),
        (HOUR + MICROSECOND, {"min_idle": HOUR}, True),
        (3 * DAY, {"min_idle": 3 * DAY}, False),
        (-timedelta(minutes=5), {}, False),
    ],
)
@pytest.mark.parametrize("budget", [{"max_sessions": 1}, {"max_disk_bytes": 150}, {"min_free_disk": 1_000}])
def test_plan_budgets_leave_what_was_used_within_min_idle(
    idle: timedelta, rules: dict[str, Any], goes: bool, budget: dict[str, Any]
) -> None:
    """Idle for exactly `min_idle` is protected from each budget; and the budget that fails for it is told."""
    pinned = stored(2, 90 * DAY, pinned=True)
    made = plan(stored(1, idle), pinned, free_disk=0, **rules, **budget)
    [rule] = budget
    assert going(made) == ([("1", rule)] if goes else [])
    # Where the disk's budget is out of reach, it is not even asked who is too fresh for it.
    too_fresh = 0 if rule == "min_free_disk" else 1
    assert (made.min_idle, made.unmet) == ((0, []) if goes else (too_fresh, [rule]))


def test_plan_min_free_disk_out_of_reach_takes_no_session_in_vain() -> None:
    """Where all that may go would not free enough, somebody else fills the disk: nothing goes, the trash neither."""
    sessions = [stored(number, 2 * DAY, size=4096) for number in range(3)]
    within = plan(*sessions, min_free_disk=3 * 4096, free_disk=0)
    entry = leftover("trash", "t", DAY, size=4096)
    beyond = plan(*sessions, leftovers=[entry], min_free_disk=4 * 4096 + 1, free_disk=0)
    assert (len(within.removals), within.unmet) == (3, [])
    assert (beyond.removals, beyond.unmet) == ([], ["min_free_disk"])
    assert beyond.leftovers == []


def test_plan_ttl_below_min_idle_still_removes() -> None:
    """A TTL that is written shorter than the default `min_idle` holds: that guards from budgets only."""
    assert going(plan(stored(1, 2 * HOUR), ttl=HOUR, max_sessions=9)) == [("1", "ttl")]


def test_plan_min_idle_counts_only_what_a_budget_would_have_taken() -> None:
    """Of fifteen that are too fresh, ten of which may stay, five were wanted."""
    made = plan(*(stored(number, HOUR) for number in range(15)), max_sessions=10)
    assert (going(made), made.min_idle, made.unmet) == ([], 5, ["max_sessions"])


def test_plan_max_disk_bytes_removes_down_to_the_low_water() -> None:
    """Nothing at the limit; beyond it, until no more than the low water is used."""
    sessions = [stored(number, (20 - number) * DAY, size=100) for number in range(10)]
    assert going(plan(*sessions, max_disk_bytes=1_000, low_water=500)) == []
    made = plan(*sessions, max_disk_bytes=999, low_water=700)
    assert going(made) == [("0", "max_disk_bytes"), ("1", "max_disk_bytes"), ("2", "max_disk_bytes")]
    assert going(plan(*sessions, max_disk_bytes=999))[-1] == ("1", "max_disk_bytes")  # nine tenths: 899


def test_plan_max_disk_bytes_under_the_limit_but_over_the_low_water_is_met() -> None:
    """The low water is where removing stops, not the limit."""
    made = plan(stored(1, 9 * DAY, size=60), stored(2, HOUR, size=90), max_disk_bytes=100, low_water=10)
    assert (going(made), made.unmet) == ([("1", "max_disk_bytes")], [])


def test_plan_max_disk_bytes_empties_the_trash_first_and_the_oldest_of_it() -> None:
    """Before any session goes the trash does, the longest there first, and what does not tell since when last."""
    trash = [leftover("trash", key, age) for key, age in [("b", 2 * DAY), ("a", 3 * DAY), ("c", None)]]
    session = stored(1, 9 * DAY, size=100)
    kept = leftover("quarantined", "q", DAY)

    def taken(most: int, low_water: int) -> tuple[list[str], list[tuple[str, str]]]:
        made = plan(session, leftovers=[*trash, kept], max_disk_bytes=most, low_water=low_water)
        assert {row.reason for row in made.leftovers} <= {"max_disk_bytes"}
        return [row.leftover.key for row in made.leftovers], going(made)

    assert taken(400, 50) == ([], [])
    assert taken(399, 300) == (["a"], [])
    assert taken(399, 299) == (["a", "b"], [])
    assert taken(399, 100) == (["a", "b", "c"], [])
    assert taken(399, 99) == (["a", "b", "c"], [("1", "max_disk_bytes")])


def test_plan_max_disk_bytes_leaves_sessions_alone_for_what_lies_in_quarantine() -> None:
    """A large damaged file is not the sessions' fault, and none of them could make up for it."""
    large = leftover("quarantined", "q", DAY, size=10**9)
    made = plan(stored(1, 9 * DAY, size=100), leftovers=[large], max_disk_bytes=150)
    assert (made.removals, made.unmet) == ([], [])


def test_plan_min_free_disk_counts_blocks_and_what_earlier_rules_free() -> None:
    """A file frees its size rounded up to 4,096 bytes; what the TTL removes counts, and is not needed again."""
    sessions = [stored(1, 31 * DAY, size=1), stored(2, 9 * DAY, size=4097), stored(3, 8 * DAY, size=1)]
    assert going(plan(*sessions, min_free_disk=5_000, free_disk=904)) == [("1", "ttl")]
    made = plan(*sessions, min_free_disk=5_000, free_disk=903)
    assert going(made) == [("1", "ttl"), ("2", "min_free_disk")]
    assert len(plan(*sessions, min_free_disk=4096 * 4, free_disk=0).removals) == 3
    assert plan(*sessions, min_free_disk=4096 * 4 + 1, free_disk=0).unmet == ["min_free_disk"]


@pytest.mark.parametrize("budget", [{"min_free_disk": 4096, "free_disk": 0}, {"max_disk_bytes": 250, "low_water": 249}])
def test_plan_disk_budget_keeps_out_of_the_trash_what_goes_anyway_before_it_takes_a_session(
    budget: dict[str, Any],
) -> None:
    """What the TTL or max_sessions move to the trash takes room there: for a disk budget it goes for good, oldest first."""
    sessions = [stored(1, 31 * DAY), stored(2, 9 * DAY), stored(3, 8 * DAY)]
    made = plan(*sessions, trash_for=7 * DAY, **budget)
    assert (going(made), set(made.for_good), made.unmet) == ([("1", "ttl")], {"web_1.json"}, [])
    assert not made.trashes(made.removals[0])
    made = plan(*sessions, ttl=None, max_sessions=2, trash_for=7 * DAY, **budget)
    assert (going(made), set(made.for_good)) == ([("1", "max_sessions")], {"web_1.json"})
    made = plan(*sessions, trash_for=7 * DAY)
    assert made.trashes(made.removals[0])


def test_plan_max_disk_bytes_counts_what_goes_to_the_trash() -> None:
    """Moved to the trash is not gone: with a trash the TTL alone meets no disk budget."""
    expired = [stored(number, 40 * DAY, size=100) for number in range(4)]
    made = plan(*expired, stored(9, 2 * DAY, size=100), trash_for=7 * DAY, max_disk_bytes=300, low_water=250)
    assert {row.reason for row in made.removals} == {"ttl"}
    assert len(made.for_good) == 3


def test_plan_min_free_disk_empties_the_trash_first() -> None:
    """A disk that is too full gets the room of the trash before that of any session."""
    trash = leftover("trash", "t", DAY)
    made = plan(stored(1, 9 * DAY), leftovers=[trash], min_free_disk=4096, free_disk=0)
    assert (going(made), made.leftovers) == ([], [LeftoverRow(trash, "min_free_disk")])
    expired = leftover("trash", "t", DAY, expires_at=NOW - MICROSECOND)
    made = plan(stored(1, 9 * DAY), leftovers=[expired], min_free_disk=4096, free_disk=0)
    assert (going(made), made.leftovers) == ([], [LeftoverRow(expired, "trash_expired")])


def test_plan_min_free_disk_without_knowing_the_disk_takes_nothing() -> None:
    """What is not known is no reason to remove."""
    made = plan(stored(1, 9 * DAY), min_free_disk=10**12)
    assert (going(made), made.unmet) == ([], [])


def test_plan_of_live_sessions_goes_by_the_later_use() -> None:
    """Memory's use counts where it is later: for the TTL, for the order and for `min_idle`."""
    sessions = [stored(1, 31 * DAY), stored(2, 9 * DAY), stored(3, 8 * DAY), stored(4, 7 * DAY)]
    live = {
        "web_1": LiveSession(NOW - HOUR, busy=False),
        "web_2": LiveSession(NOW - 2 * DAY, busy=False),
        "web_4": LiveSession(NOW - 90 * DAY, busy=False),
    }
    made = plan(*sessions, live=live, max_sessions=3)
    assert going(made) == [("3", "max_sessions")]
    assert made.in_use == 1
    made = plan(*sessions, live=live)
    assert (going(made), made.in_use) == ([], 1)


def test_plan_of_busy_sessions_never_takes_them() -> None:
    """What is unsaved or in use stays, whatever its age, and another goes in its place for a budget."""
    sessions = [stored(1, 31 * DAY), stored(2, 9 * DAY), stored(3, 8 * DAY), stored(4, 7 * DAY)]
    live = {f"web_{number}": LiveSession(NOW - days * DAY, busy=True) for number, days in [(1, 31), (2, 9), (4, 7)]}
    made = plan(*sessions, live=live, max_sessions=3)
    assert (going(made), made.in_use, made.unmet) == ([("3", "max_sessions")], 1, [])
    made = plan(*sessions, live=live, max_sessions=1)
    assert (going(made), made.in_use, made.unmet) == ([("3", "max_sessions")], 2, ["max_sessions"])


def test_plan_of_session_that_memory_has_in_the_future_or_pinned_keeps_it() -> None:
    """What memory knows protects as what the file says."""
    sessions = [stored(1, 31 * DAY), stored(2, 31 * DAY), stored(3, 31 * DAY)]
    live = {
        "web_1": LiveSession(NOW + HOUR, busy=False),
        "web_2": LiveSession(NOW - 31 * DAY, busy=False, pinned=True),
        "web_3": LiveSession(NOW - 31 * DAY, busy=False),
    }
    made = plan(*sessions, live=live)
    assert (going(made), made.pinned, made.in_use) == ([("3", "ttl")], 1, 0)
    assert [(row.session, row.reason, row.age) for row in made.future] == [(sessions[0], "future", -HOUR)]


def test_plan_for_the_ttl_alone_asks_memory_only_about_what_expired() -> None:
    """Nothing is done for the many that stay: neither a row nor a question."""
    asked: list[str] = []

    def live(session_id: str) -> LiveSession | None:
        asked.append(session_id)
        return None

    planner = Planner(RetentionPolicy(), at_once(NOW), live=live)
    planner.feed([stored(number, DAY) for number in range(50)] + [stored(99, 31 * DAY)])
    assert asked == ["web_99"]
    assert going(planner.plan()) == [("99", "ttl")]


@pytest.mark.parametrize(
    ("kind", "age", "fields", "rules", "reason"),
    [
        ("trash", DAY, {"expires_at": NOW}, {}, None),
        ("trash", DAY, {"expires_at": NOW - MICROSECOND}, {}, "trash_expired"),
        ("trash", 90 * DAY, {"expires_at": NOW + DAY}, {"trash_for": DAY}, None),
        ("trash", 7 * DAY, {}, {"trash_for": 7 * DAY}, None),
        ("trash", 7 * DAY + MICROSECOND, {}, {"trash_for": 7 * DAY}, "trash_expired"),
        ("trash", 90 * DAY, {}, {}, None),
        ("trash", None, {}, {"trash_for": DAY}, None),
        ("quarantined", 90 * DAY, {}, {}, None),
        ("quarantined", 90 * DAY + MICROSECOND, {}, {}, "quarantine_expired"),
        ("quarantined", 900 * DAY, {}, {"quarantine_for": None}, None),
        ("quarantined", None, {}, {}, None),
        ("temporary", timedelta(0), {}, {}, "no_owner"),
        ("unfinished", None, {}, {}, "no_owner"),
        ("legacy", DAY, {}, {}, None),
        ("legacy", DAY + MICROSECOND, {}, {}, "legacy"),
        ("legacy", None, {}, {}, None),
        ("legacy", -DAY, {}, {}, None),
    ],
)
def test_plan_of_leftovers_goes_by_their_kind_and_age(
    kind: LeftoverKind, age: timedelta | None, fields: dict[str, Any], rules: dict[str, Any], reason: str | None
) -> None:
    """Trash and quarantine stay for exactly their time, what has no owner goes, what tells no age stays."""
    each = leftover(kind, "x", age, **fields)
    made = plan(leftovers=[each], **rules)
    assert [(row.leftover, row.reason) for row in made.leftovers] == ([(each, reason)] if reason else [])
    assert [row.leftover for row in made.leftovers if row.leftover.kind == kind] == ([each] if reason else [])


def test_plan_of_leftovers_counts_as_free_only_what_is_deleted() -> None:
    """What moves to quarantine, or is put back, frees nothing."""
    rows = [leftover("legacy", "l", 2 * DAY), leftover("unfinished", "u", None), leftover("temporary", "t", None)]
    made = plan(stored(1, 9 * DAY), leftovers=rows, min_free_disk=4096, free_disk=0)
    assert (going(made), len(made.leftovers)) == ([], 3)
    made = plan(stored(1, 9 * DAY), leftovers=rows[:2], min_free_disk=4096, free_disk=0)
    assert going(made) == [("1", "min_free_disk")]


@pytest.mark.parametrize(
    ("old", "young", "fraction", "held"),
    [
        (10, 10, 0.5, False),
        (11, 9, 0.5, True),
        (19, 0, 0.5, False),
        (GUARD_LEAST_SESSIONS, 0, 0.99, True),
        (30, 70, 0.3, False),
        (20, 0, None, False),
    ],
)
def test_plan_that_removes_more_than_the_fraction_is_held(
    old: int, young: int, fraction: float | None, held: bool
) -> None:
    """At least twenty sessions, and more than the fraction, not just as many; the sentence has the figures."""
    sessions = [stored(number, 31 * DAY) for number in range(old)] + [stored(100 + n, DAY) for n in range(young)]
    made = plan(*sessions, ProblemFile("a.json", "corrupt", ""), max_removed_fraction=fraction)
    assert len(made.removals) == old
    if held:
        assert made.held == (
            f"it would remove {old} of {old + young} sessions, more than max_removed_fraction = {fraction} allows"
        )
    else:
        assert made.held is None


def test_plan_by_reason_lists_the_rules_in_order() -> None:
    """Counts and bytes of each rule that takes any, first the TTL, then the budgets in their order."""
    sessions = [stored(number, (40 - number) * DAY, size=4096) for number in range(14)]
    made = plan(
        *sessions, max_sessions=3, max_disk_bytes=4096 * 2, low_water=4096 * 2 - 1, min_free_disk=4096 * 14, free_disk=0
    )
    assert list(made.by_reason().items()) == [
        ("ttl", Tally(10, 40_960)),
        ("max_sessions", Tally(1, 4096)),
        ("max_disk_bytes", Tally(2, 8192)),
        ("min_free_disk", Tally(1, 4096)),
    ]
    assert made.bytes == 14 * 4096
