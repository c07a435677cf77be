"""Cancellation at every point of what has to do with the trash: nothing is lost, half done, or done without a receipt."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from miniclaw.session.retention.policy import RetentionPolicy
from tests.fakes.cancelling import Cancelling
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session
from tests.faults.cancelling_home import OLD, TRASHED, Case, Home, cancel_everywhere

POLICY = RetentionPolicy(trash_for=timedelta(days=7))
BOTH = sorted(OLD)
QUARANTINED = "web_aside"
FILE_ID = f"{QUARANTINED}.json.20261001T083015Z-0a1b2c3d"


async def empty_trash(home: Home) -> None:
    await home.operations().empty_trash([home.entry_id])


async def delete(home: Home) -> None:
    await home.operations().delete(BOTH)


async def erase(home: Home) -> None:
    await home.operations().delete([TRASHED, *BOTH], erase=True)


async def restore(home: Home) -> None:
    await home.operations().restore(TRASHED)


async def move(home: Home) -> None:
    try:
        await home.operations().move("web_cold", "web_moved")
    finally:
        names = {path.name for path in home.directory.rglob("*.json")}
        assert names & {"web_cold.json", "web_moved.json"}


async def pin(home: Home) -> None:
    await home.operations().set_pinned("web_cold", True)


def lay_in_quarantine(home: Home) -> str:
    folder = home.directory / ".quarantine"
    folder.mkdir(exist_ok=True, mode=0o700)
    return write_session(folder, QUARANTINED, home.clock.ago(days=1)).rename(folder / FILE_ID).name


async def add_to_quarantine(home: Home) -> None:
    await home.operations().quarantine.add(["web_bad.json"])


async def restore_quarantined(home: Home) -> None:
    await home.operations().quarantine.restore(lay_in_quarantine(home))


async def delete_quarantined(home: Home) -> None:
    await home.operations().quarantine.delete([lay_in_quarantine(home)])


def check_receipts(home: Home) -> None:
    """What is in the trash by a command is told in the history."""
    told = {row.session_id for event in home.history().read()[0] for row in event.sessions}
    assert home.trashed() - {TRASHED} <= told


CASES = {
    "restore_session": Case(lambda home: home.manager.restore_session(TRASHED), TRASHED),
    "set_pinned": Case(lambda home: home.manager.set_pinned("web_cold", True)),
    "delete_session": Case(
        lambda home: home.manager.delete_session("web_cold"), "web_cold", frozenset({"web_cold"}), completes=True
    ),
    "cleanup_run": Case(lambda home: home.cleanup().run(), "web_old", OLD),
    "operations_delete": Case(delete, "web_old", OLD, completes=True),
    "operations_erase": Case(erase, "web_old", OLD, completes=True, erases=True),
    "operations_restore": Case(restore, TRASHED),
    "operations_empty_trash": Case(empty_trash, TRASHED, completes=True, erases=True),
    "operations_set_pinned": Case(pin),
    "operations_move": Case(move, "web_cold", frozenset({"web_cold"}), completes=True, erases=True),
    "quarantine_add": Case(add_to_quarantine, "web_bad"),
    "quarantine_restore": Case(restore_quarantined, QUARANTINED),
    "quarantine_delete": Case(delete_quarantined, QUARANTINED),
}


@pytest.fixture
def days_pass(clock: WallClock) -> DaysPass:
    """trio's clock, standing still: no deadline ever comes."""
    return DaysPass(clock)


@pytest.mark.parametrize("how", ["yield", "call"])
@pytest.mark.parametrize("name", CASES)
async def test_trash_operation_cancelled_anywhere_leaves_everything_in_order(
    name: str,
    how: str,
    tmp_path: Path,
    clock: WallClock,
    days_pass: DaysPass,
    logs: LogRecorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each session is in its place or whole in the trash, no lock or thread stays, and no Cancelled is swallowed."""
    cancelling = Cancelling(monkeypatch)
    points = await cancel_everywhere(CASES[name], how, tmp_path, clock, logs, cancelling, policy=POLICY)
    print(points, "points")
    assert points


@pytest.mark.parametrize("how", ["yield", "call"])
async def test_deletion_cancelled_anywhere_is_told(
    how: str,
    tmp_path: Path,
    clock: WallClock,
    days_pass: DaysPass,
    logs: LogRecorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever a command has put into the trash until it was cut short is in the history."""

    async def delete_and_look(home: Home) -> None:
        try:
            await home.operations().delete(BOTH)
        finally:
            check_receipts(home)

    case = Case(delete_and_look, "web_old", OLD, completes=True)
    assert await cancel_everywhere(case, how, tmp_path, clock, logs, Cancelling(monkeypatch), policy=POLICY)
