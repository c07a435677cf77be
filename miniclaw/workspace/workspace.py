"""A workspace as seen from outside: opened once, its owner asked once, all of it judged at one moment.

A command and the API of a running gateway read the workspace in this way, without ownership. A workspace without a
sessions directory has no sessions yet. Plan, status, quarantine and the verdicts on sessions have modules of their own,
which take a `Workspace`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from msgspec import Struct, field

from miniclaw.clock import SystemClock
from miniclaw.errors import SessionsDirectoryMissingError, StoreError
from miniclaw.loggers import get_logger
from miniclaw.session.entries import Leftover, ProblemFile, StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.ledger import LedgerFile
from miniclaw.session.files.scan import DirectoryScan
from miniclaw.session.files.subdirectory import STATE_NAME, TRASH_NAME, Folder
from miniclaw.session.records.moment import Moment, by_wall_clock, look_at
from miniclaw.session.records.state import StateDirectory

if TYPE_CHECKING:
    from pathlib import Path

    from miniclaw.config import Config, Home
    from miniclaw.session.files.ledger import Ledger
    from miniclaw.session.journal.overlay import KnownSegments
    from miniclaw.session.ownership.holder import Holder
    from miniclaw.session.records.history import HistoryEvent
    from miniclaw.session.removal.leftovers import Refused
    from miniclaw.session.retention.notice import Notice
    from miniclaw.session.retention.policy import RetentionPolicy
    from miniclaw.session.trash.trash import Trash

STEP_SECONDS: Final = 0.2
"""Time between two progress reports of a scan."""

Progress: TypeAlias = Callable[[int], None]
"""Called now and then with the number of entries scanned so far; an exception that it raises ends the scan."""

Scanning: TypeAlias = Callable[[], AbstractContextManager[Progress | None]]
"""Entered around each scan; yields the scan's `Progress`, or None."""

log: Final = get_logger("miniclaw.admin.looking")


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

    @property
    def others(self) -> list[ProblemFile]:
        """All that are no readable sessions."""
        return [*self.problems, *self.conflicts, *self.foreign]


class Workspace:
    """A workspace, to read within a ``with`` block, in one thread.

    The directory is opened, and its owner probed, when either is first needed.

    Args:
        find_config: Returns the configuration in force, when it is first needed.
        moment: The moment as a running gateway knows it; None: it is read from the state's files.
        scanning: Shows the progress of a scan, or ends it.
        known_segments: Of the journal, for a process that reads the workspace again and again.
    """

    def __init__(
        self,
        home: Home,
        find_config: Callable[[], Config],
        moment: Moment | None = None,
        *,
        scanning: Scanning = nullcontext,
        known_segments: KnownSegments | None = None,
    ) -> None:
        self.home = home
        self._known_segments = known_segments
        self.scanning = scanning
        self._find_config = find_config
        self._moment = moment
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    @cached_property
    def config(self) -> Config:
        """The configuration in force."""
        return self._find_config()

    @property
    def policy(self) -> RetentionPolicy:
        """The retention rules in force."""
        return self.config.session.retention_policy()

    @cached_property
    def directory(self) -> SessionDirectory | None:
        """The sessions directory; None: it does not exist yet.

        Raises:
            SessionsDirectoryError: It cannot be opened.
        """
        try:
            directory = self._opened.enter_context(SessionDirectory.open(self.home.sessions_dir))
        except SessionsDirectoryMissingError:
            return None
        directory.known_segments = self._known_segments
        return directory

    @cached_property
    def holder(self) -> Holder | None:
        """The process that owns the directory; None: there is none.

        Raises:
            StoreError: The directory cannot be opened, or its locks cannot be probed.
        """
        return None if self.directory is None else self.directory.holder()

    @property
    def free_disk(self) -> int | None:
        """Free bytes on the disk; None: unknown."""
        return None if self.directory is None else self.directory.free_disk()

    @property
    def moment(self) -> Moment:
        """The moment, with the last run and the announcements.

        State that cannot be read is logged as a WARNING; ages are by the wall clock then.
        """
        try:
            return self.load_moment()
        except StoreError as error:
            if self._moment is None:
                raise
            log.warning("State could not be read; ages are by the wall clock", error=str(error))
            return self._moment

    def load_moment(self) -> Moment:
        """Return the moment; after an error, the next call returns the moment by the wall clock.

        Raises:
            StoreError: The state cannot be read, or the directory cannot be opened.
        """
        if self._moment is None:
            is_there, clock = self.directory is not None, SystemClock()
            self._moment = by_wall_clock(clock)
            if is_there:
                self._moment = look_at(self.state, clock)
        return self._moment

    def notice(self, *, as_daily: bool = False) -> Notice:
        """Return the notice of a run at this moment.

        Args:
            as_daily: If true, of the daily run, which deletes only announced sessions unless the configuration switches
                notice off.
        """
        session = self.config.session
        on = session.notice == "on"
        return self.moment.notice(self.policy, session.schedule.interval, waits=as_daily and on, on=on)

    def listing(self) -> Listing:
        """List the sessions. Files that the stat cache knows are not opened."""
        found = Listing()
        if self.directory is None:
            return found
        with self.scanning() as on_progress, DirectoryScan(self.directory, ledger=self.ledger()) as scan:
            entries = 0
            while batch := scan.next_batch(seconds=STEP_SECONDS):
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

    def leftovers(self, *, refused: Refused | None = None) -> list[Leftover]:
        """Return the leftovers beside the sessions, as `list_leftovers`."""
        from miniclaw.session.removal.leftovers import list_leftovers, log_refused  # noqa: PLC0415 - start-up time

        if self.directory is None:
            return self.trash.leftovers()
        now = self.moment.ages.now
        return list_leftovers(self.directory, now=now, trash=self.trash, refused=refused or log_refused)

    def ledger(self) -> Ledger:
        """Return the stat cache of the last cleanup, which saves reading unchanged files; it may be empty."""
        return LedgerFile(self._folder(STATE_NAME, self.home.earlier.state)).load()

    @property
    def state(self) -> StateDirectory:
        """The saved state of the services."""
        return StateDirectory(self._folder(STATE_NAME, self.home.earlier.state))

    def history(self, limit: int | None = None) -> tuple[list[HistoryEvent], int]:
        """Return the events, at most `limit` of the newest, oldest first; and the number of unreadable lines."""
        return self.state.history().read(limit)

    @property
    def trash(self) -> Trash:
        """The trash; it is empty if it does not exist yet."""
        return self.trashes[0]

    @cached_property
    def trashes(self) -> list[Trash]:
        """The trash, and that of earlier versions, in which a migration may have left entries."""
        from miniclaw.session.trash.trash import Trash  # noqa: PLC0415 - start-up time

        earlier = self.home.earlier.trash
        shown = Trash(self._folder(TRASH_NAME, earlier))
        return [shown] if earlier is None or earlier == shown.path else [shown, Trash(Folder(earlier))]

    def _folder(self, hidden_name: str, earlier: Path | None) -> Folder:
        """Return a folder of the sessions directory.

        If no owner has made it yet, the folder of earlier versions is returned; the next owner moves its content into
        the hidden one (`miniclaw.session.records.migration`). If both exist, as after an interrupted move or a run of a
        program without a workspace, the hidden one is returned, and a WARNING names the other if it holds files of
        miniclaw.
        """
        folder = Folder(self.home.sessions_dir / hidden_name)
        if self.directory is not None:
            folder = Folder.within(self.directory, hidden_name)
        before = None if earlier is None else Folder(earlier)
        if before is None or not before.is_there():
            return folder
        if not folder.is_there():
            return before
        _tell_of_both(before.path, folder.path, hidden_name)
        return folder


@lru_cache(maxsize=64)  # one warning for each folder: a running gateway reads its workspace all day
def _tell_of_both(earlier: Path, shown: Path, hidden_name: str) -> None:
    from miniclaw.session.records.migration import holds_ours  # noqa: PLC0415 - start-up time

    if holds_ours(Folder(earlier), hidden_name):
        log.warning(
            "A folder of an earlier version is not shown; its content is not moved in yet",
            path=str(earlier),
            shown=str(shown),
            what_to_do="start the gateway anew, or restore without one: either moves it in, or says why it cannot",
        )
