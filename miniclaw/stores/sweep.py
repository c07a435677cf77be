"""The cleanup of a runtime over a store: list, plan, announce, remove, report.

The plan is made by the one planner of `miniclaw.session.retention`, from the headers that a rule may concern. The store
decides about each session in the step of its removal, from conditions that are data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import trio
from msgspec.structs import asdict, replace

from miniclaw.clock import to_microseconds
from miniclaw.errors import SessionNotFoundError
from miniclaw.loggers import get_logger
from miniclaw.session.entries import StoredSession, Tally
from miniclaw.session.hooks.hooks import Hooks
from miniclaw.session.hooks.types import DueEntry, RemovalCandidate, RemovedSession
from miniclaw.session.maintenance.announcements import WHY, find_new
from miniclaw.session.records.cleanup_log import CleanupLog
from miniclaw.session.records.history import Actor, EventKind
from miniclaw.session.records.result import CleanupResult, Progress, plan_event
from miniclaw.session.removal.transaction import Removal
from miniclaw.session.retention.noted import Noted
from miniclaw.session.retention.notice import LastRun, Notice, Rules
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.planner import FindLive, Planner
from miniclaw.session.retention.policy import PlanRow, RetentionPolicy, lead_of, notice_of
from miniclaw.session.retention.timeline import Ages
from miniclaw.session.types import Session, SessionHeader
from miniclaw.stores.history import encode_event
from miniclaw.stores.hot import decoded, new_op, patiently
from miniclaw.stores.paging import PAGE, Paged
from miniclaw.stores.protocol import SessionStore
from miniclaw.stores.types import Candidate, Header, Outcome

BATCH: Final = 100
"""Sessions that are removed in one call."""

RECORD_SECONDS: Final = 2
"""Longest time for the note of a run that is cancelled."""

_HOUR: Final = timedelta(hours=1)
_ZERO: Final = timedelta(0)
_CLOCK: Final = "this machine's clock and the store's differ by more than five minutes"

log: Final = get_logger("miniclaw.session.cleanup")


class Sweeper:
    """Makes and carries out the plans of one runtime.

    Args:
        store: The store.
        policy: The rules.
        interval: Time between two daily runs.
        notice: If true, the daily runs remove only sessions that a run has announced.
        hooks: The hooks of the program.
        now: The present.
        live: Finds a session that this program has in memory.
    """

    def __init__(
        self,
        store: SessionStore,
        *,
        policy: RetentionPolicy,
        interval: timedelta,
        notice: bool,
        hooks: Hooks,
        now: Callable[[], datetime],
        live: FindLive,
    ) -> None:
        self._store = store
        self.policy = policy
        self._interval = interval
        self._notice = notice
        self._hooks = hooks
        self._now = now
        self._live = live
        self._log = CleanupLog(Path())
        self._turns = trio.Lock()
        self._stopping = False

    def stop(self) -> None:
        """End the run under way after its present batch."""
        self._stopping = True

    def rules(self) -> Rules:
        """Return the rules of the runs, for the record of the last one."""
        policy = self.policy
        return Rules(self._interval, policy.ttl, dict(policy.ttl_by_channel), None, policy.max_sessions)

    # Plan ----------------------------------------------------------------------------------------------------

    async def plan(self, last: LastRun | None = None, *, waits: bool = False) -> CleanupPlan:
        """Return the plan of a run that would begin now.

        Args:
            last: The last daily run; None: none is known.
            waits: If true, the run removes only what was announced.
        """
        now = self._now()
        present = to_microseconds(now)
        ages = replace(Ages.by_wall_clock(now), lived=present)  # the store's clock never stood still
        headers = await self._concerned()
        announced = Noted()
        for header in headers:
            self._note(announced, header, now)
        notice = Notice(ages, self.rules(), last, announced.renewed(), waits=waits, on=self._notice)
        planner = Planner(self.policy, notice, live=self._live)
        totals = await patiently(self._store.totals)
        size = sum(header.size for header in headers)
        rest = Tally(max(0, totals.sessions - len(headers)), max(0, totals.size - size))
        for start in range(0, len(headers), PAGE):
            await trio.lowlevel.checkpoint()
            planner.feed(map(_row_of, headers[start : start + PAGE]))
        planner.feed((), rest)
        return planner.plan()

    async def _concerned(self) -> list[Header]:
        """Return the headers that a rule may concern: those that are due, or all for a rule about their number."""
        policy = self.policy
        ttls = [ttl for ttl in (policy.ttl, *policy.ttl_by_channel.values()) if ttl is not None]
        ages = [ttl - lead_of(ttl, self._interval) for ttl in ttls]
        if policy.max_sessions is None and not ages:
            return []
        least = max(_ZERO, min(ages, default=_ZERO))
        older_than = None if policy.max_sessions is not None or not least else least

        async def page(last: Header | None) -> Sequence[Header]:
            after = "" if last is None else last.session_id
            return await self._store.headers(older_than=older_than, after=after, limit=PAGE)

        return [header async for header in Paged(page)]

    def _note(self, announced: Noted, header: Header, now: datetime) -> None:
        """Enter an announcement as the planner counts it: by its beginning, a notice period before `due_at`.

        One that is later than a rule's own announcement would be now does not count for that rule: it was another's.
        """
        if header.due_at is None:
            return
        row, ttl, age = _row_of(header), self.policy.ttl_of(header.channel), now - header.last_accessed
        rules = [(row.identity_by_number, _ZERO, notice_of(None, self._interval))]
        if ttl is not None:
            rules.append((row.identity, ttl - age, notice_of(ttl, self._interval)))
        for identity, left, period in rules:
            if header.due_at <= now + max(left, period):
                announced.add(identity, max(0, to_microseconds(header.due_at - period)), row.mark)

    # Run -----------------------------------------------------------------------------------------------------

    async def run(
        self,
        *,
        confirmed: bool = False,
        by: Actor,
        last: LastRun | None = None,
        waits: bool = False,
        removes: bool = True,
    ) -> CleanupResult:
        """Announce and remove what the rules select, after the run under way, if any.

        Args:
            confirmed: If true, remove also what `max_removed_fraction` holds.
            by: The actor.
            last: The last daily run; None: none is known.
            waits: If true, announce, and remove only what was announced.
            removes: If false, announce and remove nothing.

        Raises:
            StoreError: The store cannot be listed, or does not answer.

        Cancellation: the batch under way is completed or not; log and history have the removals so far.
        """
        async with self._turns:
            with self._log.run() as run_log:
                started, op = trio.current_time(), new_op()
                plan = await self.plan(last, waits=waits)
                progress = Progress(plan, run_log)
                progress.due = len(plan.due)
                run_log.problems(plan)
                if waits:
                    progress.announced = await self._announce(plan)
                if not removes:
                    log.info("Session cleanup only announces; nothing is removed", sessions=len(plan.removals))
                    return progress.result(seconds=trio.current_time() - started)
                if plan.held and not confirmed:
                    result = progress.result(held=True, seconds=trio.current_time() - started)
                    log.warning("Session cleanup held", because=plan.held, **asdict(result))
                    event = plan_event(plan, "held", by, because=plan.held)
                    await self._store.note(encode_event(event), by=by, op=op)
                    return result
                return await self._carry_out(plan, progress, by=by, op=op, announced=waits, started=started)

    async def _carry_out(
        self, plan: CleanupPlan, progress: Progress, *, by: Actor, op: str, announced: bool, started: float
    ) -> CleanupResult:
        done, expired = False, 0
        try:
            expired = await self._empty_trash(by, op)
            batches = _batches(plan.removals, self.policy)
            while batches and not self._stopping:
                if not await self._remove(progress, batches.pop(0), by=by, op=op, announced=announced):
                    break
            done = not (batches and self._stopping)
        finally:
            seconds = trio.current_time() - started
            result = progress.result(interrupted=not done, seconds=seconds)
            result = replace(result, leftovers_removed={"trash": expired} if expired else {})
            log.info("Session cleanup complete" if done else "Session cleanup interrupted", **asdict(result))
            kind: EventKind = "cleanup" if done else "interrupted"
            event = replace(progress.event(kind, by, seconds=seconds), sessions=[])
            with trio.move_on_after(RECORD_SECONDS, shield=True):
                await self._store.note(encode_event(event), by=by, op=op)
        return result

    async def _empty_trash(self, by: Actor, op: str) -> int:
        expired = 0
        while gone := await patiently(partial(self._store.empty_trash, None, by=by, op=op)):
            expired += len(gone)
        return expired

    async def _remove(
        self, progress: Progress, rows: Sequence[PlanRow], *, by: Actor, op: str, announced: bool
    ) -> bool:
        """Remove sessions that one rule selects; return False if the run has to end."""
        reason, trash_for = rows[0].reason, self.policy.trash_for
        answers = await self._hooks.ask([(self._candidate(row), partial(self._load, row)) for row in rows])
        asked = [row for row, answer in zip(rows, answers, strict=True) if answer is None]
        candidates = [Candidate(row.session.key, row.session.header.last_accessed) for row in asked]
        call = partial(
            self._store.remove_if_unused, candidates, min_age=self._min_age(rows[0]), trash_for=trash_for,
            reason=reason, by=by, op=op, now=self._now(), announced=announced,
        )  # fmt: skip
        outcomes = {outcome.session_id: outcome for outcome in await patiently(call)} if candidates else {}
        removals = [_removal_of(row, outcomes.get(row.session.key)) for row in rows]
        progress.add_removals(rows, removals)
        for removal in removals:
            if removal.outcome == "removed":
                self._hooks.removed(
                    RemovedSession(
                        session_id=removal.key, reason=reason, bytes_freed=removal.bytes_freed,
                        entry_id=removal.entry_id, by=by,
                    )
                )  # fmt: skip
        if any(outcome.verdict == "clock" for outcome in outcomes.values()):
            log.warning("Sessions are kept", because=_CLOCK, now=self._now().isoformat())
            return False
        return True

    def _min_age(self, row: PlanRow) -> timedelta:
        ttl = self.policy.ttl_of(row.session.header.channel)
        return ttl if row.reason == "ttl" and ttl is not None else self.policy.least_idle

    def _candidate(self, row: PlanRow) -> RemovalCandidate:
        header = row.session.header
        return RemovalCandidate(
            session_id=header.session_id, channel=header.channel, chat_id=header.chat_id,
            last_accessed=header.last_accessed, pinned=header.pinned, bytes=row.session.size, reason=row.reason,
            goes_to_trash=self.policy.trash_for is not None,
        )  # fmt: skip

    async def _load(self, row: PlanRow) -> Session:
        return await load_for_hook(self._store, row.session.key)

    # Announcements -------------------------------------------------------------------------------------------

    async def _announce(self, plan: CleanupPlan) -> int:
        """Announce the sessions that are due and not announced; return their number."""
        new = [due for due in plan.due if due.noted is None]
        if not new or not self._notice:
            return 0
        by_delay: dict[timedelta, list[Candidate]] = defaultdict(list)
        for due in new:
            ttl = self.policy.ttl_of(due.session.header.channel) if due.reason == "ttl" else None
            # In whole hours, so that one call announces many; `min_age` protects a session until it has expired.
            delay = max(notice_of(ttl, self._interval), due.stays // _HOUR * _HOUR)
            by_delay[delay].append(Candidate(due.session.key, due.session.header.last_accessed))
        entries = [
            DueEntry(
                session_id=due.session.key, channel=due.session.header.channel, chat_id=due.session.header.chat_id,
                last_accessed=due.session.header.last_accessed, goes_at=plan.now + due.stays, reason=due.reason,
            )
            for due in new
        ]  # fmt: skip
        await self._hooks.tell_due(entries)
        announced = 0
        for delay, candidates in by_delay.items():
            for start in range(0, len(candidates), PAGE):
                part = candidates[start : start + PAGE]
                announced += await patiently(partial(self._store.announce, part, delay))
        found = find_new(plan)
        if found.late:
            goes_at = plan.now + found.stays
            because = "; ".join(WHY[why] for why in found.reasons)
            log.warning(
                "Expired sessions announced; they are deleted unless they are used", sessions=len(found.late),
                bytes=found.bytes, goes_at=goes_at.isoformat(timespec="minutes"), reasons=found.reasons,
                because=because,
            )  # fmt: skip
            event = plan_event(
                plan, "announced", "service", sessions=found.late, files=(), because=because,
                announced=len(found.late), goes_at=goes_at,
            )  # fmt: skip
            await self._store.note(encode_event(event), by="service", op=new_op())
        return announced


async def load_for_hook(store: SessionStore, session_id: str) -> Session:
    """Return a copy of a session, for `before_remove`.

    Raises:
        SessionNotFoundError: It does not exist any more.
    """
    stored = await patiently(partial(store.load, session_id))
    if stored is None:
        raise SessionNotFoundError(session_id)
    return decoded(stored)


def _row_of(header: Header) -> StoredSession:
    last = SessionHeader(header.session_id, header.channel, header.chat_id, header.last_accessed, header.pinned)
    return StoredSession(header.session_id, header.size, last)


def _removal_of(row: PlanRow, outcome: Outcome | None) -> Removal:
    """Return an outcome as the tally of a run counts it; None: the program keeps the session."""
    header, key = row.session.header, row.session.key
    if outcome is None or outcome.verdict not in {"removed", "gone"}:
        return Removal(key, "kept", header=header, reason="kept" if outcome is None else outcome.verdict)
    if outcome.verdict == "gone":
        return Removal(key, "vanished", header=header)
    freed = 0 if outcome.entry_id else outcome.size
    return Removal(key, "removed", freed, header, entry_id=outcome.entry_id, size=outcome.size)


def _batches(rows: Iterable[PlanRow], policy: RetentionPolicy) -> list[list[PlanRow]]:
    """Return batches of rows that have one reason and one TTL."""
    groups: dict[tuple[str, timedelta | None], list[PlanRow]] = defaultdict(list)
    for row in rows:
        groups[row.reason, policy.ttl_of(row.session.header.channel) if row.reason == "ttl" else None].append(row)
    return [group[start : start + BATCH] for group in groups.values() for start in range(0, len(group), BATCH)]
