"""Execution of a cleanup plan, in batches that are bounded in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar

import trio

from miniclaw.session.entries import Leftover, LeftoverRemoval, StoredSession
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.records.cleanup_log import RunLog
from miniclaw.session.records.history import Actor
from miniclaw.session.records.late_batches import LateBatches
from miniclaw.session.records.result import Progress
from miniclaw.session.removal.transaction import TrashOrder
from miniclaw.session.retention.leftover_rules import LeftoverRow
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.policy import PlanRow
from miniclaw.session.threads import PENDING, Epilogue, Job
from miniclaw.session.types import Session, SessionHeader

REMOVAL_BATCH: Final = 32
"""Sessions removed in one thread call: some milliseconds on a disk, some tens on an SD card."""

TRASH_BATCH: Final = 8
"""Sessions moved to the trash in one thread call: each of them is synced there."""

TRASHED_BYTES: Final = 1024 * 1024
"""Most bytes moved to the trash in one thread call, except for a single larger one: a board packs some MB a second."""

T = TypeVar("T")


async def carry_out(
    progress: Progress,
    manager: SessionManager,
    store: FileSessionStore,
    *,
    by: Actor,
    log: RunLog,
    late: LateBatches,
    ends: Callable[[], bool],
) -> bool:
    """Remove the entries of a plan, leftovers first because they free space; return whether all batches were done.

    The run ends if the disk does not answer, since each further batch would only wait again.

    Args:
        progress: The plan; counts the outcome of each batch.
        manager: Asked for its consent to each session.
        store: The store of the leftovers.
        by: The actor, for the trash.
        log: The log of the run.
        late: Takes the batches that outlast the run.
        ends: Returns true if no further batch may begin.

    Cancellation: a batch that has begun is completed, and no further one begins.
    """
    plan = progress.plan
    weigh = partial(_size_in_batch, plan=plan)
    for leftovers in _batches(plan.leftovers, weigh):
        if ends():
            return False
        await trio.lowlevel.checkpoint()
        order = _order(leftovers, plan, by)
        swept = await _sweep(store, [row.leftover for row in leftovers], late.leftovers, order)
        progress.add_leftovers(swept)
        log.leftovers(swept)
        if any(done.outcome == "pending" for done in swept):
            return False
    for rows in _batches(plan.removals, weigh):
        if ends():
            return False
        await trio.lowlevel.checkpoint()
        removals = await manager.remove_sessions(
            [row.session for row in rows], partial(_still_goes, plan, rows),
            late=partial(late.removals, rows), order=_order(rows, plan, by),
        )  # fmt: skip
        progress.add_removals(rows, removals)
        log.removals(removals, plan.ages)
        if any(removal.outcome in {"pending", "unanswered"} for removal in removals):
            return False
    return not ends()


def _order(rows: Sequence[PlanRow] | Sequence[LeftoverRow], plan: CleanupPlan, by: Actor) -> TrashOrder | None:
    if plan.policy.trash_for is None:
        return None
    reasons = {_file_of(row).key: row.reason for row in rows if plan.trashes(row)}
    return TrashOrder(reasons, by, plan.now, plan.policy.trash_for)


def _size_in_batch(row: PlanRow | LeftoverRow, *, plan: CleanupPlan) -> int:
    return max(_file_of(row).size, TRASHED_BYTES // TRASH_BATCH) if plan.trashes(row) else 0


def _file_of(row: PlanRow | LeftoverRow) -> StoredSession | Leftover:
    return row.leftover if isinstance(row, LeftoverRow) else row.session


async def _sweep(
    store: FileSessionStore,
    leftovers: Sequence[Leftover],
    late: Callable[[list[LeftoverRemoval]], Epilogue],
    order: TrashOrder | None,
) -> list[LeftoverRemoval]:
    """Remove leftovers, as `Job.run` does; return them as pending if the disk takes too long."""
    job = Job(late)
    job.commit()
    removals = await job.run(partial(store.remove_leftovers, leftovers, job.settle, order=order))
    if removals is None:
        return [LeftoverRemoval(leftover, "pending", reason=PENDING) for leftover in leftovers]
    return removals


def _batches(rows: Sequence[T], weigh: Callable[[T], int] = lambda _: 0) -> Iterator[Sequence[T]]:
    """Yield batches of up to `REMOVAL_BATCH` rows and up to `TRASHED_BYTES`; a single row may weigh more."""
    batch: list[T] = []
    weight = 0
    for row in rows:
        if batch and (len(batch) == REMOVAL_BATCH or weight + weigh(row) > TRASHED_BYTES):
            yield batch
            batch, weight = [], 0
        batch.append(row)
        weight += weigh(row)
    if batch:
        yield batch


def _still_goes(plan: CleanupPlan, batch: Sequence[PlanRow], session: SessionHeader | Session) -> bool:
    # Judged at the time of the plan: a clock that jumps during the run must not expire a session.
    rows = (row for row in batch if row.session.header.session_id == session.session_id)
    return any(plan.still_goes(row, session) for row in rows)
