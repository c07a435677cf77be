"""What holds of every plan, whatever the sessions, the leftovers, the rules and the disk."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from miniclaw.session.entries import Leftover, StoredSession
from miniclaw.session.retention.budgets import on_disk
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.planner import LiveSession, Planner
from miniclaw.session.retention.policy import GUARD_LEAST_SESSIONS, PlanRow, RetentionPolicy
from tests.fakes.moments import ages_at, at_once
from tests.fakes.plans import NOW, ages, free_disks, leftover_lists, policies, session_lists

sessions_drawn = session_lists()
leftovers_drawn = leftover_lists()


@st.composite
def memories(draw: st.DrawFn, sessions: list[StoredSession]) -> dict[str, LiveSession]:
    """Draw what memory knows of some of the sessions."""
    known = [session.header.session_id for session in sessions if draw(st.integers(0, 4)) == 0]
    return {
        session_id: LiveSession(NOW - draw(ages), busy=draw(st.booleans()), pinned=draw(st.integers(0, 9)) == 0)
        for session_id in known
    }


def make_plan(
    sessions: list[StoredSession],
    policy: RetentionPolicy,
    leftovers: list[Leftover],
    free_disk: int | None,
    live: Mapping[str, LiveSession] | None = None,
) -> CleanupPlan:
    planner = Planner(policy, at_once(NOW, policy), live=live.get if live is not None else None)
    planner.feed(sessions)
    planner.feed_leftovers(leftovers)
    return planner.plan(free_disk=free_disk)


def used(session: StoredSession, live: Mapping[str, LiveSession]) -> timedelta:
    """Return how long ago a session was last used, by what file and memory know."""
    times = [session.header.last_accessed]
    if (known := live.get(session.header.session_id)) is not None:
        times.append(known.last_accessed)
    return NOW - max(times)


def keys(rows: list[PlanRow]) -> list[str]:
    return [row.session.key for row in rows]


@given(sessions_drawn, policies(), leftovers_drawn, free_disks, st.data())
def test_plan_never_removes_what_is_protected(
    sessions: list[StoredSession],
    policy: RetentionPolicy,
    leftovers: list[Leftover],
    free: int | None,
    data: st.DataObject,
) -> None:
    """Nothing goes that is pinned, ahead, busy, or within its TTL, unless a budget takes it past `min_idle`."""
    live = data.draw(memories(sessions))
    plan = make_plan(sessions, policy, leftovers, free, live)
    for row in plan.removals:
        header, age = row.session.header, used(row.session, live)
        known = live.get(header.session_id)
        assert not header.pinned
        assert known is None or not (known.pinned or known.busy)
        assert row.age == age
        if row.reason == "ttl":
            ttl = policy.ttl_of(header.channel)
            assert ttl is not None
            assert age > ttl
        else:
            assert getattr(policy, row.reason) is not None
            assert age > policy.least_idle
    ahead = {row.session.key for row in plan.future}
    are_ahead = {session.key for session in sessions if used(session, live) < timedelta(minutes=-5)}
    unknown = {session.key for session in sessions if session.header.session_id not in live}
    assert are_ahead & unknown <= ahead <= are_ahead  # memory is not asked about what no rule would take


@given(sessions_drawn, policies(), leftovers_drawn, free_disks)
def test_plan_names_one_reason_for_each_removal(
    sessions: list[StoredSession], policy: RetentionPolicy, leftovers: list[Leftover], free: int | None
) -> None:
    """Every session and every leftover is at most once in the plan, each for a rule that is in force."""
    plan = make_plan(sessions, policy, leftovers, free)
    assert len(set(keys(plan.removals))) == len(plan.removals)
    assert len({row.leftover.key for row in plan.leftovers}) == len(plan.leftovers)
    assert all(row.removes for row in plan.removals)
    assert sum(each.sessions for each in plan.by_reason().values()) == len(plan.removals)
    assert sum(each.bytes for each in plan.by_reason().values()) == plan.bytes
    assert plan.readable == plan.sessions_scanned == len(sessions)


@given(sessions_drawn, policies(), leftovers_drawn, free_disks, st.data())
def test_plan_meets_each_budget_or_says_that_it_is_unmet(
    sessions: list[StoredSession],
    policy: RetentionPolicy,
    leftovers: list[Leftover],
    free: int | None,
    data: st.DataObject,
) -> None:
    """What the plan leaves is within each budget, or the budget is in `unmet` and all that is left is protected."""
    live = data.draw(memories(sessions))
    plan = make_plan(sessions, policy, leftovers, free, live)
    gone = set(keys(plan.removals))
    gone_leftovers = {row.leftover.key for row in plan.leftovers if row.reason != "legacy"}
    left = [session for session in sessions if session.key not in gone]
    kept = [each for each in leftovers if each.key not in gone_leftovers]
    counted = [each for each in kept if each.kind == "trash" and not each.from_quarantine]
    trashed = [row.session for row in plan.removals if plan.trashes(row)]
    disk_bytes = sum(session.size for session in [*left, *trashed]) + sum(each.size for each in counted)
    freed = sum(on_disk(row.leftover.size) for row in plan.leftovers if row.frees) + sum(
        on_disk(row.session.size) for row in plan.removals if not plan.trashes(row)
    )
    met = {
        "max_sessions": policy.max_sessions is None or len(left) <= policy.max_sessions,
        "max_disk_bytes": policy.max_disk_bytes is None or disk_bytes <= policy.max_disk_bytes,
        "min_free_disk": policy.min_free_disk is None or free is None or free + freed >= policy.min_free_disk,
    }
    # A later budget may meet an earlier one along the way; none can undo it.
    assert [budget for budget, is_met in met.items() if not is_met] == [b for b in plan.unmet if not met[b]]
    for budget in plan.unmet:
        assert getattr(policy, budget) is not None
    if "min_free_disk" in plan.unmet:
        assert not [row for row in plan.removals if row.reason == "min_free_disk"]
    if set(plan.unmet) - {"min_free_disk"}:
        for session in left:
            known = live.get(session.header.session_id)
            protected = session.header.pinned or (known is not None and (known.pinned or known.busy))
            fresh = used(session, live) <= policy.least_idle
            spared = known is not None and policy.is_expired(session.header, ages_at(NOW))
            assert protected or fresh or spared
    if "max_disk_bytes" in plan.unmet:
        assert not counted
        assert not trashed


@given(sessions_drawn, policies(), leftovers_drawn, free_disks, st.data())
def test_plan_budgets_take_the_least_recently_used_first_and_no_more_than_needed(
    sessions: list[StoredSession],
    policy: RetentionPolicy,
    leftovers: list[Leftover],
    free: int | None,
    data: st.DataObject,
) -> None:
    """Nothing goes for a budget while something stays that was used before it and is not protected."""
    live = data.draw(memories(sessions))
    plan = make_plan(sessions, policy, leftovers, free, live)
    by_budget = [row for row in plan.removals if row.reason != "ttl"]
    order = [(-row.age, row.session.key) for row in by_budget]
    assert order == sorted(order)
    gone = set(keys(plan.removals))
    for session in sessions:
        known = live.get(session.header.session_id)
        free_to_go = not session.header.pinned and (known is None or not (known.busy or known.pinned))
        expired_by_file = policy.is_expired(session.header, ages_at(NOW))
        if session.key not in gone and free_to_go and not expired_by_file and order:
            assert (-used(session, live), session.key) > order[-1]
    if policy.max_sessions is not None:
        taken = sum(row.reason == "max_sessions" for row in by_budget)
        stay = len(sessions) - sum(row.reason == "ttl" for row in plan.removals)
        assert taken <= max(0, stay - policy.max_sessions)


@given(sessions_drawn, policies(), leftovers_drawn, free_disks, st.randoms(use_true_random=False))
def test_plan_does_not_depend_on_the_order_of_what_is_added(
    sessions: list[StoredSession],
    policy: RetentionPolicy,
    leftovers: list[Leftover],
    free: int | None,
    random: Random,
) -> None:
    """A directory may be listed in any order, in any batches."""
    plan = make_plan(sessions, policy, leftovers, free)
    shuffled, other_leftovers = sessions.copy(), leftovers.copy()
    random.shuffle(shuffled)
    random.shuffle(other_leftovers)
    planner = Planner(policy, at_once(NOW, policy))
    cut = random.randint(0, len(shuffled))
    planner.feed(shuffled[:cut])
    planner.feed_leftovers(other_leftovers)
    planner.feed(shuffled[cut:])
    other = planner.plan(free_disk=free)

    def normal(made: CleanupPlan) -> CleanupPlan:
        return replace(
            made,
            removals=sorted(made.removals, key=lambda row: row.session.key),
            future=sorted(made.future, key=lambda row: row.session.key),
            leftovers=sorted(made.leftovers, key=lambda row: row.leftover.key),
            due=sorted(made.due, key=lambda row: row.session.key),
            due_files=sorted(made.due_files, key=lambda row: row.leftover.key),
        )

    assert normal(other) == normal(plan)


@given(sessions_drawn, policies(), leftovers_drawn, free_disks)
def test_plan_of_rule_that_is_off_is_that_without_it(
    sessions: list[StoredSession], policy: RetentionPolicy, leftovers: list[Leftover], free: int | None
) -> None:
    """Off never removes: with every rule off nothing goes, and each one that is switched off takes nothing itself."""
    off = RetentionPolicy(ttl=None, quarantine_for=None)
    plan = make_plan(sessions, off, leftovers, free)
    assert plan.removals == []
    assert {row.reason for row in plan.leftovers} <= {"no_owner", "legacy", "trash_expired"}
    for rule in ("max_sessions", "max_disk_bytes", "min_free_disk"):
        without = replace(policy, **{rule: None} | ({"low_water": None} if rule == "max_disk_bytes" else {}))
        less = make_plan(sessions, without, leftovers, free)
        assert rule not in less.by_reason()
        if rule not in make_plan(sessions, policy, leftovers, free).by_reason() and rule == "max_sessions":
            assert keys(less.removals) == keys(make_plan(sessions, policy, leftovers, free).removals)


@given(sessions_drawn, policies(), leftovers_drawn, free_disks)
def test_plan_is_held_exactly_where_it_removes_more_than_the_fraction(
    sessions: list[StoredSession], policy: RetentionPolicy, leftovers: list[Leftover], free: int | None
) -> None:
    """At least twenty sessions, and more of them going than the fraction; held or not, the plan is the same."""
    plan = make_plan(sessions, policy, leftovers, free)
    fraction = policy.max_removed_fraction
    enough = len(sessions) >= GUARD_LEAST_SESSIONS
    assert (plan.held is not None) == (
        fraction is not None and enough and len(plan.removals) / len(sessions) > fraction
    )
    unguarded = make_plan(sessions, replace(policy, max_removed_fraction=None), leftovers, free)
    assert unguarded.held is None
    assert unguarded.removals == plan.removals
