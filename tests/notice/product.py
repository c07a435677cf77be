"""The rule of the product, as a trial drives it: its own clock, schedule and planner, over files that are none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from miniclaw.clock import Reading, from_microseconds, to_microseconds
from miniclaw.session.entries import StoredSession
from miniclaw.session.retention.noted import Noted
from miniclaw.session.retention.notice import LastRun, Notice, Rules
from miniclaw.session.retention.planner import Planner
from miniclaw.session.retention.policy import DAILY, RetentionPolicy
from miniclaw.session.retention.schedule import Schedule
from miniclaw.session.retention.timeline import Timeline
from miniclaw.session.types import SessionHeader

if TYPE_CHECKING:
    from tests.notice.trial import Trial

_HOUR: Final = 3_600_000_000
_TRUE_BEGIN: Final = to_microseconds(datetime(2027, 9, 1, tzinfo=UTC))  # of the true time line


class ProductRule:
    """The rule of the product.

    Args:
        ttl: In hours.
    """

    def __init__(self, ttl: float) -> None:
        self.set_ttl(ttl)
        self.lose_state()

    def set_ttl(self, ttl: float) -> None:
        self._policy = RetentionPolicy(ttl=timedelta(hours=ttl))
        self._keeps = _in_microseconds(ttl)

    def lose_state(self) -> None:
        self._timeline = Timeline()
        self._last: LastRun | None = None
        self._due, self._ahead = Noted(), Noted()

    def start(self, trial: Trial) -> None:
        self.poll(trial)

    def use(self, trial: Trial, session: str) -> None:
        self._observe(trial)
        assert self._timeline.seen is not None
        trial.files[session].stamp = (self._timeline.seen.now - _TRUE_BEGIN) / _HOUR

    def poll(self, trial: Trial) -> None:
        self._observe(trial)
        ages = self._timeline.ages()
        schedule = Schedule(DAILY)
        if schedule.delay(ages, self._last, _in_microseconds(trial.machine.boottime)):
            return
        rules = Rules(DAILY, ttl=self._policy.ttl, quarantine_for=self._policy.quarantine_for)
        notice = Notice(ages, rules, self._last, self._due, self._ahead)
        planner = Planner(self._policy, notice)
        planner.feed([_stored(session, file.stamp, file.inode) for session, file in trial.files.items()])
        plan = planner.plan()
        for due in plan.due:
            if due.noted is None:
                trial.announce(due.session.header.chat_id)
        for row in plan.removals:
            trial.remove(row.session.header.chat_id)
        self._due, self._ahead = notice.due.renewed(), notice.ahead.renewed()
        self._last = schedule.due_at(notice.ended(), self._last)

    def _observe(self, trial: Trial) -> None:
        machine = trial.machine
        reading = Reading(
            _TRUE_BEGIN + _in_microseconds(machine.wall),
            _in_microseconds(machine.boottime),
            str(machine.boot),
            machine.synchronised,
        )
        self._timeline.observe(reading, keeps=self._keeps)


def _in_microseconds(hours: float) -> int:
    return round(hours * _HOUR)


def _stored(session: str, stamp: float, inode: int) -> StoredSession:
    used = from_microseconds(_TRUE_BEGIN + _in_microseconds(stamp))
    return StoredSession(f"web_{session}.json", 100, SessionHeader(f"web_{session}", "web", session, used), inode)
