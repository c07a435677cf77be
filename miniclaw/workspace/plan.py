"""The plan of a cleanup in advance, without trio and without ownership of the directory; and the times of the runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from msgspec import Struct

from miniclaw.config import SessionConfig
from miniclaw.session.entries import Leftover, ProblemFile
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.ledger import Ledger
from miniclaw.session.files.scan import DirectoryScan
from miniclaw.session.records.moment import Moment
from miniclaw.session.removal.leftovers import list_foreign
from miniclaw.session.retention.notice import DueFile, DueSession, Notice
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.planner import Planner
from miniclaw.session.retention.policy import RetentionPolicy, notice_of
from miniclaw.session.retention.schedule import Schedule
from miniclaw.workspace.channels import channel_warnings
from miniclaw.workspace.workspace import STEP_SECONDS, Workspace


class Timetable(Struct, frozen=True):
    """The times of the daily runs.

    Attributes:
        schedule: The schedule of the runs; None: no scheduled run deletes anything.
        next_run: The time of the next run; None: none is scheduled.
        waits: If true, a run deletes only sessions and files that an earlier run has announced.
    """

    now: datetime
    schedule: Schedule | None = None
    next_run: datetime | None = None
    waits: bool = True

    def goes_at(self, due: DueSession | DueFile) -> datetime | None:
        """Return the time of the first daily run that may delete a session or file; None: no run is scheduled."""
        if self.schedule is None or self.schedule.interval is None:
            return None
        moment = self.now + due.stays
        if self.waits and due.noted is None and self.next_run is not None:
            moment = max(moment, self.next_run + notice_of(None, self.schedule.interval))  # the next run announces it
        return self.schedule.run_from(self.next_run, moment)


def find_timetable(workspace: Workspace) -> Timetable:
    """Return the times of the daily runs."""
    session, now, waits = workspace.config.session, workspace.moment.ages.now, workspace.config.session.notice == "on"
    if session.mode != "enforce":
        return Timetable(now, waits=waits)
    return Timetable(now, session.schedule, next_run(session, workspace.moment), waits)


def next_run(session: SessionConfig, moment: Moment) -> datetime | None:
    """Return the time of the next cleanup, by the files; one not later than now runs at the next start. None: never."""
    return session.schedule.next_run(moment.ages, moment.last_run, moment.boottime)


class Outlook(Struct, frozen=True):
    """A cleanup in advance: its plan, and the facts shown with it.

    Attributes:
        foreign: Files beside the sessions that are not miniclaw's.
        warnings: Possible mistakes in the rules, in sentences.
    """

    plan: CleanupPlan
    foreign: list[ProblemFile]
    warnings: list[str]
    timetable: Timetable


def look_ahead(workspace: Workspace, *, as_daily: bool = False) -> Outlook:
    """Return the plan of a cleanup, and the facts shown with it; with `as_daily`, of the daily run."""
    notice, trash, directory = workspace.notice(as_daily=as_daily), workspace.trash, workspace.directory
    plan = make_plan(workspace, notice, workspace.leftovers())
    foreign = trash.foreign() if directory is None else list_foreign(directory, trash)
    warnings = channel_warnings(workspace.config.session, directory, workspace.config.channels)
    return Outlook(plan, foreign, warnings, find_timetable(workspace))


def make_plan(workspace: Workspace, notice: Notice, leftovers: Sequence[Leftover]) -> CleanupPlan:
    """Return the plan of a cleanup at the moment of `notice`."""
    if workspace.directory is None:
        planner = Planner(workspace.policy, notice)
        planner.feed_leftovers(leftovers)
        return planner.plan()
    with workspace.scanning() as on_progress:
        return scan_sync(
            workspace.directory,
            workspace.policy,
            notice,
            on_progress=on_progress,
            leftovers=leftovers,
            free_disk=workspace.free_disk,
            ledger=workspace.ledger(),
        )


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
        policy: The rules.
        notice: The moment at which all sessions are judged, and the earlier announcements.
        on_progress: Called with the number of entries scanned so far.
        leftovers: The leftovers to judge along with the sessions.
        free_disk: Free bytes on the disk; None: unknown, and `min_free_disk` removes nothing.
        ledger: The stat cache of an earlier scan, if there is one.

    Raises:
        StoreIOError: The directory cannot be listed.
    """
    planner = Planner(policy, notice)
    planner.feed_leftovers(leftovers)
    entries = 0
    expired = partial(policy.is_expired, ages=notice.ages)
    staying = policy.surely_staying(notice.ages, notice.rules.interval)
    with DirectoryScan(directory, expired, ledger=ledger, staying=staying) as scan:
        while not scan.complete:
            rows = scan.next_batch(seconds=STEP_SECONDS)
            kept = scan.take_kept()
            planner.feed(rows, kept)
            entries += len(rows) + kept.sessions
            if on_progress is not None:
                on_progress(entries)
    plan = planner.plan(free_disk=free_disk)
    while sessions := planner.wants(plan):
        planner.feed_whole({each.key: directory.read_row(each.key, verify=lambda _: True) for each in sessions})
        plan = planner.plan(free_disk=free_disk)
    return plan
