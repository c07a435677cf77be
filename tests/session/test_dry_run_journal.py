"""What a dry run lists after a crash is what the next owner's run removes: with uses and pins that only the journal has."""

from __future__ import annotations

import itertools
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.workspace.plan import scan_sync
from tests.fakes.clock import WallClock
from tests.fakes.journalled import NOW, Journalled, write_segment
from tests.fakes.logs import LogRecorder
from tests.fakes.moments import at_once
from tests.fakes.replayed import MISFIT

DAY: Final = timedelta(days=1)
TTL: Final = RetentionPolicy()
POLICIES: Final = [
    TTL,
    RetentionPolicy(ttl=None, max_sessions=2, min_idle=None),
    RetentionPolicy(ttl=10 * DAY, max_sessions=3, min_idle=DAY),
]


class Crashed(Struct, frozen=True):
    """A session after a crash.

    Attributes:
        saved: Days since the last use that its file has; None: there is no file.
        said: Days since the last use that the journal has; None: it has none. Only a use, if `speaks` is false.
        pins: The pin of the file, and that of the journal.
        fits: False: another session was put into the place of the file.
        is_long: True if the header can be read without the messages.
    """

    saved: int | None
    said: int | None
    speaks: bool
    pins: tuple[bool, bool]
    fits: bool
    is_long: bool

    def lay(self, path: Path, number: int) -> None:
        told = Journalled(f"web_{number}", begun=NOW - 100 * DAY)
        if self.saved is not None:
            told.add("x" * 9000 if self.is_long else "x", at=NOW - self.saved * DAY)
            told.use(pinned=self.pins[0]).forget_records()
            if not self.fits:
                told.session.created_at -= DAY
            told.save(path)
            if not self.fits:
                told.session.created_at += DAY
        if self.said is not None:
            if self.speaks:
                told.add("more", at=NOW - self.said * DAY)
            told.use(NOW - self.said * DAY, pinned=self.pins[1])
            write_segment(path, told.take(), number=number, first=number * 10)


_DAYS = st.none() | st.sampled_from([0, 1, 12, 29, 31, 50])
_SESSIONS = st.lists(
    st.builds(
        Crashed, saved=_DAYS, said=_DAYS, speaks=st.booleans(), pins=st.tuples(st.booleans(), st.booleans()),
        fits=st.sampled_from([True, True, True, False]), is_long=st.booleans(),
    ),
    min_size=2,
    max_size=7,
)  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES, ids=["ttl", "max_sessions", "both"])
def test_dry_run_after_a_crash_lists_exactly_what_the_run_removes(
    tmp_path: Path, logs: LogRecorder, policy: RetentionPolicy
) -> None:
    """The plan without ownership, with the journal over the files, is the plan of the owner who has applied it."""
    numbers = itertools.count()
    found = 0

    @settings(max_examples=30)
    @given(sessions=_SESSIONS)
    @example(sessions=[Crashed(1, 0, speaks=True, pins=(False, True), fits=False, is_long=True)])
    def check(sessions: list[Crashed]) -> None:
        nonlocal found
        path = tmp_path / str(next(numbers))
        path.mkdir(mode=0o700)
        for number, session in enumerate(sessions, 1):
            session.lay(path, number)
        with SessionDirectory.open(path) as reader:
            listed = scan_sync(reader, policy, at_once(NOW, policy))
        plan = trio.run(plan_of_the_owner, path, policy)
        assert told(listed) == told(plan)
        found += len(plan.removals)
        shutil.rmtree(path)

    check()
    assert found >= 8
    assert {event["event"] for event in logs.events if event["level"] == "error"} <= {MISFIT}
    logs.events.clear()


async def plan_of_the_owner(path: Path, policy: RetentionPolicy) -> CleanupPlan:
    """Return the plan of a run whose start has applied the journal."""
    plans: list[CleanupPlan] = []

    async def take(plan: CleanupPlan) -> None:
        plans.append(plan)

    await Cleanup(path, policy=policy, clock=WallClock(NOW)).run(on_plan=take, confirmed=True)
    return plans[0]


def told(plan: CleanupPlan) -> tuple[object, ...]:
    removals = sorted((row.session.key, row.reason, row.age) for row in plan.removals)
    return removals, plan.pinned, plan.readable, len(plan.problems), bool(plan.held), len(plan.future)
