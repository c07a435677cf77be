"""The plan of a dry run: a scan judged by the rules, without trio and without ownership of the directory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from miniclaw.session.entries import Leftover
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.ledger import Ledger
from miniclaw.session.files.scan import DirectoryScan
from miniclaw.session.retention.notice import Notice
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.planner import Planner
from miniclaw.session.retention.policy import RetentionPolicy

_STEP_SECONDS = 0.2  # between two progress reports


def scan_sync(
    directory: SessionDirectory,
    policy: RetentionPolicy,
    notice: Notice,
    *,
    on_progress: Callable[[int], None] | None = None,
    leftovers: Sequence[Leftover] = (),
    free_disk: int | None = None,
    ledger: Ledger | None = None,
) -> CleanupPlan:
    """Plan a cleanup of a directory that need not be owned. Blocks.

    Each session to be removed is read whole, as the removal does, to distinguish damaged files from expired sessions.

    Args:
        directory: The sessions directory.
        policy: The retention rules.
        notice: The moment at which all sessions are judged, and the earlier announcements.
        on_progress: Called with the number of entries scanned so far.
        leftovers: The leftovers to judge along with the sessions.
        free_disk: Free bytes on the disk; None: unknown, and `min_free_disk` removes nothing.
        ledger: The stat cache of an earlier scan, if there is one.

    Raises:
        StoreIOError: The directory cannot be listed.
    """
    planner = Planner(policy, notice)
    planner.add_leftovers(leftovers)
    entries = 0
    expired = partial(policy.is_expired, ages=notice.ages)
    staying = policy.surely_staying(notice.ages, notice.rules.interval)
    with DirectoryScan(directory, expired, ledger=ledger, staying=staying) as scan:
        while not scan.complete:
            rows = scan.next_batch(seconds=_STEP_SECONDS)
            kept, kept_bytes = scan.take_kept()
            planner.add(rows)
            planner.add_kept(kept, kept_bytes)
            entries += len(rows) + kept
            if on_progress is not None:
                on_progress(entries)
    plan = planner.finish(free_disk=free_disk)
    while sessions := planner.unconfirmed(plan):
        planner.confirm({each.key: directory.read_row(each.key, verify=lambda _: True) for each in sessions})
        plan = planner.finish(free_disk=free_disk)
    return plan
