"""What is measured: the scan of the daily cleanup, with the ledger and without, and the cleanup itself."""

from __future__ import annotations

from datetime import UTC, datetime
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from miniclaw import RetentionPolicy
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.operations.operations import open_operations
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.workspace.plan import scan_sync

if TYPE_CHECKING:
    from miniclaw.session.files.ledger_file import LedgerFile

POLICY: Final = RetentionPolicy()
STATE_NAME: Final = ".state"


def _present() -> Any:
    """Return the moment as this version of the package takes it; another one may be measured beside it."""
    if "notice" not in signature(scan_sync).parameters:
        return datetime.now(UTC)
    from miniclaw.clock import SystemClock  # noqa: PLC0415 - an earlier version has none of them
    from miniclaw.session.records.moment import by_wall_clock  # noqa: PLC0415

    return by_wall_clock(SystemClock()).notice(POLICY, None, waits=False)


def scan(directory: Path) -> int:
    """Scan a directory of which nothing is known, as the first cleanup does; return how many sessions there are.

    What is read is entered into a new ledger, which is not written.

    Raises:
        RuntimeError: The files are not in order.
    """
    with SessionDirectory.open(directory) as sessions:
        return _checked(scan_sync(sessions, POLICY, _present(), **_new_ledger()))


def scan_known(directory: Path, state: Path) -> int:
    """Scan a directory by its ledger, whose folder lies in `state`; return how many sessions there are."""
    file = _ledger_file(state)
    with SessionDirectory.open(directory) as sessions:
        return _checked(scan_sync(sessions, POLICY, _present(), ledger=file.load()))


def write_ledger(directory: Path, state: Path) -> None:
    """Scan a directory and write its ledger into a folder in `state`; the files have to be old enough.

    Raises:
        RuntimeError: The ledger does not know all of them.
    """
    file = _ledger_file(state)
    with SessionDirectory.open(directory) as sessions:
        ledger = file.load()
        count = _checked(scan_sync(sessions, POLICY, _present(), ledger=ledger))
        file.save(ledger)
    if len(file.load()) != count:
        raise RuntimeError(f"the ledger knows {len(ledger)} of {count} sessions")


def read_rows(directory: Path) -> int:
    """Read the header of every file by one thread, in the order of the directory; return how many there are."""
    with SessionDirectory.open(directory) as sessions, sessions.fs.scandir(sessions.fd) as entries:
        return sum(sessions.read_row(entry.name) is not None for entry in entries)


def clean_up(directory: Path) -> int:
    """Remove what is expired, by the ledger in the directory, and return how many sessions that were."""

    async def run() -> int:
        async with open_operations(directory, policy=POLICY, **_places(directory)) as operations:
            return (await operations.cleanup(confirmed=True)).sessions_deleted

    return trio.run(run)


def _checked(plan: CleanupPlan) -> int:
    if plan.problems or plan.future or plan.removals:
        raise RuntimeError(f"the benchmark's own files are not in order: {[*plan.problems, *plan.future][:3]}")
    return plan.sessions_scanned


def _new_ledger() -> dict[str, Any]:
    try:
        from miniclaw.session.files.ledger import Ledger  # noqa: PLC0415 - `compare` may meet a revision that has none
    except ImportError:
        return {}
    return {"ledger": Ledger()}


def _ledger_file(state: Path) -> LedgerFile:
    from miniclaw.session.files.ledger_file import LedgerFile  # noqa: PLC0415
    from miniclaw.session.files.subdirectory import Folder  # noqa: PLC0415 - likewise

    return LedgerFile(Folder.within(SessionDirectory.open(state, create=True), STATE_NAME))


def _places(directory: Path) -> dict[str, Any]:
    """Return where a revision that `compare` meets, and that has to be told, finds what lies in the directory."""
    if "state_dir" not in signature(open_operations).parameters:
        return {}
    return {"state_dir": directory / STATE_NAME, "trash_dir": directory / ".trash"}
