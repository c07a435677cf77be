"""Readers of a workspace: its sessions, trash, quarantine, state and history, and the plan of a cleanup."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, TypeAlias

from msgspec import Struct, field

from miniclaw.config import Config, Home
from miniclaw.errors import SessionsDirectoryMissingError, StoreError
from miniclaw.loggers import get_logger
from miniclaw.session.entries import Leftover, ProblemFile, StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.scan import DirectoryScan

if TYPE_CHECKING:
    from pathlib import Path

    from miniclaw.clock import Clock
    from miniclaw.session.files.ledger import Ledger
    from miniclaw.session.files.subdirectory import Folder
    from miniclaw.session.records.history import HistoryEvent
    from miniclaw.session.records.moment import Moment
    from miniclaw.session.records.state import StateDirectory
    from miniclaw.session.removal.leftovers import Refused
    from miniclaw.session.retention.notice import DueFile, DueSession, Notice
    from miniclaw.session.retention.plan import CleanupPlan
    from miniclaw.session.retention.schedule import Schedule
    from miniclaw.session.trash.trash import Trash

log = get_logger("miniclaw.admin.looking")

_STEP_SECONDS = 0.2  # between two progress reports

Progress: TypeAlias = Callable[[int], None]
"""Called now and then with the number of entries scanned so far; an exception that it raises ends the scan."""


class Place(Protocol):
    """A home and its configuration: the settings of a command, or the context of a running gateway."""

    @property
    def home(self) -> Home:
        """The home, which names all folders."""
        ...

    @property
    def config(self) -> Config:
        """The configuration in force."""
        ...


class FixedPlace(Struct, frozen=True):
    """A place whose rules do not change."""

    home: Home
    config: Config


@contextmanager
def sessions_opened(place: Place) -> Iterator[SessionDirectory | None]:
    """Open the sessions directory to read, for a block; None if it does not exist yet: there are no sessions."""
    try:
        directory = SessionDirectory.open(place.home.sessions_dir)
    except SessionsDirectoryMissingError:
        yield None
        return
    with directory:
        yield directory


class Listing(Struct):
    """The content of the sessions directory, judged by the headers alone.

    Attributes:
        sessions: The readable sessions, in no order.
        problems: Files in a session's place that cannot be read as a session.
        conflicts: Copies of sessions that other programs have made.
        foreign: Other entries that are no sessions.
    """

    sessions: list[StoredSession] = field(default_factory=list)
    problems: list[ProblemFile] = field(default_factory=list)
    conflicts: list[ProblemFile] = field(default_factory=list)
    foreign: list[ProblemFile] = field(default_factory=list)


def find_folder(place: Place, directory: SessionDirectory | None, hidden_name: str, earlier: Path | None) -> Folder:
    """Return a folder of the sessions directory, to read only.

    If no owner has made it yet, the folder of earlier versions is returned; the next owner moves its content into the
    hidden one (`miniclaw.session.records.migration`). If both exist, as after an interrupted move or a run of a program
    without a workspace, the hidden one is returned, and a WARNING names the other if it holds files of miniclaw.

    Args:
        place: The workspace.
        directory: The sessions directory; None: it does not exist yet.
        hidden_name: The folder's name in the sessions directory.
        earlier: The folder of earlier versions, which may be missing; None: they had none.
    """
    from miniclaw.session.files.subdirectory import Folder  # noqa: PLC0415 - start-up time

    folder = Folder(place.home.sessions_dir / hidden_name)
    if directory is not None:
        folder = Folder.within(directory, hidden_name)
    before = None if earlier is None else Folder(earlier)
    if before is None or not before.is_there():
        return folder
    if not folder.is_there():
        return before
    _tell_of_both(before.path, folder.path, hidden_name)
    return folder


@lru_cache(maxsize=64)  # one warning for each folder: a running gateway reads its workspace all day
def _tell_of_both(earlier: Path, shown: Path, hidden_name: str) -> None:
    from miniclaw.session.files.subdirectory import Folder  # noqa: PLC0415 - start-up time
    from miniclaw.session.records.migration import holds_ours  # noqa: PLC0415 - likewise

    if holds_ours(Folder(earlier), hidden_name):
        log.warning(
            "A folder of an earlier version is not shown; its content is not moved in yet",
            path=str(earlier),
            shown=str(shown),
            what_to_do="start the gateway anew, or restore without one: either moves it in, or says why it cannot",
        )


def find_ledger(place: Place, directory: SessionDirectory) -> Ledger:
    """Return the stat cache of the last cleanup, which saves reading unchanged files; it may be empty."""
    from miniclaw.session.files.ledger_file import LedgerFile  # noqa: PLC0415 - likewise
    from miniclaw.session.files.subdirectory import STATE_NAME  # noqa: PLC0415 - start-up time

    return LedgerFile(find_folder(place, directory, STATE_NAME, place.home.earlier.state)).load()


def list_directory(place: Place, directory: SessionDirectory | None, on_progress: Progress | None = None) -> Listing:
    """List the sessions; without a directory, there are none. Files that the stat cache knows are not opened."""
    found = Listing()
    if directory is None:
        return found
    with DirectoryScan(directory, ledger=find_ledger(place, directory)) as scan:
        entries = 0
        while batch := scan.next_batch(seconds=_STEP_SECONDS):
            entries += len(batch)
            for row in batch:
                if isinstance(row, StoredSession):
                    found.sessions.append(row)
                elif row.kind == "conflict":
                    found.conflicts.append(row)
                elif row.kind == "foreign":
                    found.foreign.append(row)
                else:
                    found.problems.append(row)
            if on_progress:
                on_progress(entries)
    return found


def find_trash(place: Place, directory: SessionDirectory | None) -> Trash:
    """Return the trash, to read while the directory is open; it is empty if it does not exist yet."""
    from miniclaw.session.files.subdirectory import TRASH_NAME  # noqa: PLC0415 - start-up time
    from miniclaw.session.trash.trash import Trash  # noqa: PLC0415 - start-up time

    return Trash(find_folder(place, directory, TRASH_NAME, place.home.earlier.trash))


def find_trashes(place: Place, directory: SessionDirectory | None) -> list[Trash]:
    """Return the trash of `find_trash`, and that of earlier versions, in which a migration may have left entries."""
    from miniclaw.session.files.subdirectory import Folder  # noqa: PLC0415 - start-up time
    from miniclaw.session.trash.trash import Trash  # noqa: PLC0415 - likewise

    shown, earlier = find_trash(place, directory), place.home.earlier.trash
    return [shown] if earlier is None or earlier == shown.path else [shown, Trash(Folder(earlier))]


@contextmanager
def trash_opened(place: Place) -> Iterator[Trash]:
    """Open the trash to read, for a block."""
    with sessions_opened(place) as directory:
        yield find_trash(place, directory)


def find_leftovers(
    place: Place, directory: SessionDirectory | None, now: datetime, *, refused: Refused | None = None
) -> list[Leftover]:
    """Return the leftovers beside the sessions, as `list_leftovers`."""
    from miniclaw.session.removal.leftovers import list_leftovers, log_refused  # noqa: PLC0415 - start-up time

    trash = find_trash(place, directory)
    return (
        trash.leftovers()
        if directory is None
        else list_leftovers(directory, now=now, trash=trash, refused=refused or log_refused)
    )


def make_plan(
    place: Place,
    directory: SessionDirectory | None,
    notice: Notice,
    leftovers: Sequence[Leftover],
    on_progress: Progress | None = None,
) -> CleanupPlan:
    """Return the plan of a cleanup at the moment of `notice`."""
    from miniclaw.session.retention.planner import Planner  # noqa: PLC0415 - start-up time
    from miniclaw.workspace.plan import scan_sync  # noqa: PLC0415 - start-up time

    policy = place.config.session.retention_policy()
    if directory is None:
        planner = Planner(policy, notice)
        planner.add_leftovers(leftovers)
        return planner.finish()
    return scan_sync(
        directory,
        policy,
        notice,
        on_progress=on_progress,
        leftovers=leftovers,
        free_disk=directory.free_disk(),
        ledger=find_ledger(place, directory),
    )


class Timetable(Struct, frozen=True):
    """The times of the daily runs.

    Attributes:
        now: The moment at which it was made.
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
        from miniclaw.session.retention.policy import notice_of  # noqa: PLC0415 - start-up time

        if self.schedule is None or self.schedule.interval is None:
            return None
        moment = self.now + due.stays
        if self.waits and due.noted is None and self.next_run is not None:
            moment = max(moment, self.next_run + notice_of(None, self.schedule.interval))  # the next run announces it
        return self.schedule.run_from(self.next_run, moment)


class Outlook(Struct, frozen=True):
    """A cleanup in advance: its plan, and the facts shown with it.

    Attributes:
        plan: The plan.
        foreign: Files beside the sessions that are not miniclaw's.
        warnings: Possible mistakes in the rules, in sentences.
        timetable: The times of the daily runs.
    """

    plan: CleanupPlan
    foreign: list[ProblemFile]
    warnings: list[str]
    timetable: Timetable


def find_timetable(place: Place, moment: Moment) -> Timetable:
    """Return the times of the daily runs as of a moment, by the rules of a place."""
    session = place.config.session
    schedule = session.schedule if session.mode == "enforce" else None
    next_run = None if schedule is None else schedule.next_run(moment.ages, moment.last_run, moment.boottime)
    return Timetable(moment.ages.now, schedule, next_run, session.notice == "on")


def look_ahead(place: Place, moment: Moment, on_progress: Progress | None = None, *, waits: bool = False) -> Outlook:
    """Return the plan of a cleanup at a moment, and the facts shown with it.

    With `waits`, the cleanup deletes only announced sessions, unless the configuration switches notice off.
    """
    from miniclaw.session.removal.leftovers import list_foreign  # noqa: PLC0415 - likewise
    from miniclaw.workspace.channels import channel_warnings  # noqa: PLC0415 - start-up time

    session = place.config.session
    notice = notice_at(place, moment, waits=waits and session.notice == "on")
    with sessions_opened(place) as directory:
        leftovers = find_leftovers(place, directory, notice.ages.now)
        plan = make_plan(place, directory, notice, leftovers, on_progress)
        trash = find_trash(place, directory)
        foreign = trash.foreign() if directory is None else list_foreign(directory, trash)
        warnings = channel_warnings(session, directory)
    return Outlook(plan, foreign, warnings, find_timetable(place, moment))


def find_state(place: Place, directory: SessionDirectory | None) -> StateDirectory:
    """Return the saved state of the services, to read while the directory is open."""
    from miniclaw.session.files.subdirectory import STATE_NAME  # noqa: PLC0415 - start-up time
    from miniclaw.session.records.state import StateDirectory  # noqa: PLC0415 - likewise

    return StateDirectory(find_folder(place, directory, STATE_NAME, place.home.earlier.state))


def find_moment(place: Place, clock: Clock) -> Moment:
    """Return the present moment, with the last run and the announcements, from the state's files and a clock.

    State that cannot be read is logged as a WARNING; ages are by the wall clock then.
    """
    from miniclaw.session.records.moment import by_wall_clock, look_at  # noqa: PLC0415 - start-up time

    with sessions_opened(place) as directory:
        if directory is None:
            return by_wall_clock(clock)
        try:
            return look_at(find_state(place, directory), clock)
        except StoreError as error:
            log.warning("State could not be read; ages are by the wall clock", error=str(error))
            return by_wall_clock(clock)


def notice_at(place: Place, moment: Moment, *, waits: bool = False) -> Notice:
    """Return the notice of a run at this moment by the rules of a place.

    Args:
        place: The source of the rules.
        moment: The moment.
        waits: If true, the run deletes only announced sessions, as the daily run does.
    """
    session = place.config.session
    return moment.notice(session.retention_policy(), session.schedule.interval, waits=waits, on=session.notice == "on")


def read_history(place: Place, limit: int | None = None) -> tuple[list[HistoryEvent], int]:
    """Return the history's events, at most `limit` of the newest, oldest first; and the number of unreadable lines."""
    with sessions_opened(place) as directory:
        return find_state(place, directory).history().read(limit)
