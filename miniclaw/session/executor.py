"""Execution of a cleanup plan, in batches that are bounded in time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final, TypeAlias, TypeVar

import trio

from miniclaw.session.entries import Leftover, LeftoverRemoval, StoredSession
from miniclaw.session.hooks.hooks import ASKED_AT_ONCE
from miniclaw.session.manager import SessionManager
from miniclaw.session.records.history import Actor
from miniclaw.session.records.result import Progress
from miniclaw.session.removal.transaction import Removal, TrashOrder
from miniclaw.session.retention.leftover_rules import LeftoverRow
from miniclaw.session.retention.policy import PlanRow
from miniclaw.session.threads import PENDING, Epilogue, Job
from miniclaw.session.types import Session, SessionHeader

REMOVAL_BATCH: Final = 32
"""Sessions removed in one thread call: some milliseconds on a disk, some tens on an SD card."""

TRASH_BATCH: Final = 8
"""Sessions moved to the trash in one thread call: each of them is synced there."""

TRASHED_BYTES: Final = 1024 * 1024
"""Most bytes moved to the trash in one thread call, except for a single larger one: a board packs some MB a second."""

ASKED: Final = 4 * ASKED_AT_ONCE
"""Sessions about which the program is asked before the first of them is removed."""

AddLate: TypeAlias = Callable[[Callable[[Progress], None]], Epilogue]
"""Called on the trio thread with a function that adds the outcomes of a late batch to a tally."""

Row = TypeVar("Row", PlanRow, LeftoverRow)


class Executor:
    """Removes the entries of a plan.

    Args:
        progress: The plan; counts and logs the outcome of each batch.
        manager: Asked for its consent to each session.
        by: The actor, for the trash.
        add_late: Takes the batches that outlast the run.
    """

    def __init__(self, progress: Progress, manager: SessionManager, *, by: Actor, add_late: AddLate) -> None:
        self._progress = progress
        self._plan = progress.plan
        self._manager = manager
        self._by = by
        self._add_late = add_late

    async def carry_out(self, ends: Callable[[], bool]) -> bool:
        """Remove the leftovers first, because they free space, then the sessions; return whether all batches were done.

        The run ends if the disk does not answer, since each further batch would only wait again.

        Args:
            ends: Returns true if no further batch may begin.

        Cancellation: a batch that has begun is completed, and no further one begins.
        """
        plan = self._plan
        if not await self._each(plan.leftovers, self._sweep, ends):
            return False
        for start in range(0, len(plan.removals), ASKED):
            if ends():
                return False
            going = await self._ask(plan.removals[start : start + ASKED])
            if not await self._each(going, self._remove, ends):
                return False
        return not ends()

    async def _each(
        self, rows: Sequence[Row], remove: Callable[[Sequence[Row]], Awaitable[bool]], ends: Callable[[], bool]
    ) -> bool:
        for batch in self._batches(rows):
            if ends():
                return False
            await trio.lowlevel.checkpoint()
            if not await remove(batch):
                return False
        return True

    def _batches(self, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
        """Yield batches of up to `REMOVAL_BATCH` rows and up to `TRASHED_BYTES`; a single row may weigh more."""
        batch: list[Row] = []
        weight = 0
        for row in rows:
            size = max(_file_of(row).size, TRASHED_BYTES // TRASH_BATCH) if self._plan.trashes(row) else 0
            if batch and (len(batch) == REMOVAL_BATCH or weight + size > TRASHED_BYTES):
                yield batch
                batch, weight = [], 0
            batch.append(row)
            weight += size
        if batch:
            yield batch

    async def _sweep(self, rows: Sequence[LeftoverRow]) -> bool:
        """Remove leftovers, as `Job.run` does; return False if the disk does not answer."""
        leftovers = [row.leftover for row in rows]
        job = Job[list[LeftoverRemoval]](lambda late: self._add_late(lambda progress: progress.add_leftovers(late)))
        job.commit()
        removals = await job.run(
            partial(self._manager.store.remove_leftovers, leftovers, job.settle, order=self._order(rows))
        )
        if removals is None:
            removals = [LeftoverRemoval(leftover, "pending", reason=PENDING) for leftover in leftovers]
        self._progress.add_leftovers(removals)
        return all(done.outcome != "pending" for done in removals)

    async def _ask(self, rows: Sequence[PlanRow]) -> Sequence[PlanRow]:
        """Ask the program about some rows, and return those that it does not keep."""
        remover = self._manager.remover
        if not remover.hooks.asks:
            return rows
        row_of = {row.session.key: row for row in rows}
        kept = await remover.ask(
            [row.session for row in rows], _reasons(rows), lambda key: self._plan.trashes(row_of[key])
        )
        outcomes = [Removal(key, "kept_by_hook", reason=reason) for key, reason in kept.items()]
        self._progress.add_removals(rows, outcomes)
        return [row for row in rows if row.session.key not in kept]

    async def _remove(self, rows: Sequence[PlanRow]) -> bool:
        """Remove sessions; return False if the disk does not answer."""

        def late(removals: list[Removal]) -> Epilogue:
            return self._add_late(lambda progress: progress.add_removals(rows, removals))

        def still_goes(session: SessionHeader | Session) -> bool:
            # Judged at the time of the plan: a clock that jumps during the run must not expire a session.
            same = (row for row in rows if row.session.header.session_id == session.session_id)
            return any(self._plan.still_goes(row, session) for row in same)

        remover = self._manager.remover
        removals = await remover.remove(
            [row.session for row in rows], still_goes, late=late, order=self._order(rows),
            reasons=_reasons(rows), by=self._by,
        )  # fmt: skip
        self._progress.add_removals(rows, removals)
        await remover.hooks.told()
        return all(removal.outcome not in {"pending", "unanswered"} for removal in removals)

    def _order(self, rows: Sequence[PlanRow] | Sequence[LeftoverRow]) -> TrashOrder | None:
        plan = self._plan
        if plan.policy.trash_for is None:
            return None
        reasons = {_file_of(row).key: row.reason for row in rows if plan.trashes(row)}
        return TrashOrder(reasons, self._by, plan.now, plan.policy.trash_for)


def _reasons(rows: Sequence[PlanRow]) -> dict[str, str]:
    return {row.session.key: row.reason for row in rows}


def _file_of(row: PlanRow | LeftoverRow) -> StoredSession | Leftover:
    return row.leftover if isinstance(row, LeftoverRow) else row.session
