"""Looking at the workspace without owning it: everything here works beside a running gateway, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from miniclaw.cli import Settings
from miniclaw.cli.output import scan_progress
from miniclaw.errors import SessionsDirectoryMissingError
from miniclaw.session.directory import SessionDirectory
from miniclaw.session.rows import Leftover, ProblemFile, StoredSession
from miniclaw.session.scanning import DirectoryScan

if TYPE_CHECKING:
    from miniclaw.session.cleanup_plan import CleanupPlan
    from miniclaw.session.history import History
    from miniclaw.session.trash import Trash

_STEP_SECONDS = 0.2  # between two reports of the progress


def log_to_terminal(settings: Settings) -> None:
    """Have what is logged told to the person at the terminal: warnings and errors, unless the file asks for more."""
    from miniclaw.log import configure_logging  # noqa: PLC0415 - start-up time

    level = settings.config.log.level
    configure_logging("warning" if level == "info" else level, "console")


def leave_out_of_log(event: str) -> None:
    """Log an event no more, for the command itself tells it; until logging is set up anew."""
    import structlog  # noqa: PLC0415 - start-up time

    def process(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if fields["event"] == event:
            raise structlog.DropEvent
        return fields

    structlog.configure(processors=[process, *structlog.get_config()["processors"]])


@contextmanager
def sessions_opened(settings: Settings) -> Iterator[SessionDirectory | None]:
    """Have the sessions directory open to read; None where there is none yet, which means no sessions."""
    try:
        directory = SessionDirectory.open(settings.home.sessions_dir)
    except SessionsDirectoryMissingError:
        yield None
        return
    with directory:
        yield directory


class Listing(Struct):
    """What a listing of the sessions directory has found; by the headers alone.

    Attributes:
        sessions: In no order.
        problems: What could not be read as a session, foreign entries left out.
    """

    sessions: list[StoredSession] = field(default_factory=list)
    problems: list[ProblemFile] = field(default_factory=list)


def list_directory(directory: SessionDirectory | None) -> Listing:
    """List the sessions; nothing, where there is no directory."""
    found = Listing()
    if directory is None:
        return found
    with DirectoryScan(directory) as scan, scan_progress() as progress:
        entries = 0
        while batch := scan.next_batch(seconds=_STEP_SECONDS):
            entries += len(batch)
            for row in batch:
                if isinstance(row, StoredSession):
                    found.sessions.append(row)
                elif row.kind != "foreign":
                    found.problems.append(row)
            if progress:
                progress(entries)
    return found


def find_trash(settings: Settings) -> Trash:
    """Return the trash; where it is not made yet, it is empty."""
    from miniclaw.session.trash import Trash  # noqa: PLC0415 - start-up time

    return Trash.at(settings.home.trash_dir)


def find_leftovers(settings: Settings, directory: SessionDirectory | None, now: datetime) -> list[Leftover]:
    """Return what lies beside the sessions. What cannot be looked at is an ERROR in the log."""
    from miniclaw.session.leftovers import list_leftovers  # noqa: PLC0415 - start-up time

    trash = find_trash(settings)
    return trash.leftovers() if directory is None else list_leftovers(directory, now=now, trash=trash)


def make_plan(
    settings: Settings, directory: SessionDirectory | None, now: datetime, leftovers: Sequence[Leftover]
) -> CleanupPlan:
    """Return what a cleanup would do now."""
    from miniclaw.session.plan import Planner, scan_sync  # noqa: PLC0415 - start-up time

    policy = settings.config.session.retention_policy()
    if directory is None:
        planner = Planner(policy, now)
        planner.add_leftovers(leftovers)
        return planner.finish()
    with scan_progress() as progress:
        return scan_sync(
            directory, policy, now, on_progress=progress, leftovers=leftovers, free_disk=directory.free_disk()
        )


def find_history(settings: Settings) -> History:
    """Return the history, to read."""
    from miniclaw.session.state import StateDirectory  # noqa: PLC0415 - start-up time

    return StateDirectory(settings.home.state_dir).history()
