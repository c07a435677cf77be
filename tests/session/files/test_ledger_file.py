"""The ledger's file, and the cleanup that keeps it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from miniclaw.session.files import ledger as ledger_module
from miniclaw.session.files.ledger import LEDGER_NAME, Ledger, encode_use, fingerprint
from miniclaw.session.operations.operations import open_operations
from tests.fakes.clock import WallClock
from tests.fakes.folders import ledger_in
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.session.scans import POLICY, scan


@pytest.fixture(autouse=True)
def nothing_is_racy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a test are new; the rule about new ones has a test of its own."""
    monkeypatch.setattr("miniclaw.session.files.scan.RACY_SECONDS", -1)


async def test_cleanup_writes_the_ledger_and_the_next_one_uses_it(tmp_path: Path, clock: WallClock) -> None:
    """The daily scan after a quiet day opens no session."""
    sessions = tmp_path / "sessions"
    for number in range(50):
        write_session(sessions, f"telegram_{number}", clock.now)
    opened: list[int] = []
    for _ in range(2):
        async with open_operations(sessions, policy=POLICY, clock=clock) as operations:
            result = await operations.cleanup()
        assert (result.sessions_scanned, result.sessions_deleted) == (50, 0)
        ledger = ledger_in(sessions).load()
        opened.append(scan(sessions, ledger)[2])
    assert opened == [0, 0]
    assert (sessions / ".state" / LEDGER_NAME).stat().st_mode & 0o777 == 0o600


async def test_cleanup_removes_by_the_file_and_not_by_the_ledger(tmp_path: Path, clock: WallClock) -> None:
    """A ledger that lies, says nothing that could delete."""
    sessions = tmp_path / "sessions"
    path = write_session(sessions, "telegram_1", clock.now)
    status = path.stat()
    lying = Ledger()
    state = fingerprint(status.st_mtime_ns, status.st_ctime_ns, status.st_size)
    lying.add(status.st_ino, state, encode_use(clock.ago(days=400), pinned=False))
    lying.settle()
    ledger_in(sessions).save(lying)
    async with open_operations(sessions, policy=POLICY, clock=clock) as operations:
        assert (await operations.cleanup()).sessions_deleted == 0
    assert path.exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"miniclaw-ledger-2\n" + b"x" * 100])
def test_ledger_file_damaged_is_an_empty_ledger(tmp_path: Path, logs: LogRecorder, content: bytes) -> None:
    """A damaged ledger costs a slower scan, and is told as no more than that."""
    (tmp_path / ".state").mkdir()
    (tmp_path / ".state" / LEDGER_NAME).write_bytes(content)
    assert len(ledger_in(tmp_path).load()) == 0
    assert logs.one("Ledger is begun anew; this scan reads every file")["level"] == "info"


def test_ledger_file_missing_is_an_empty_ledger_in_silence(tmp_path: Path, logs: LogRecorder) -> None:
    """The first scan has none."""
    assert len(ledger_in(tmp_path).load()) == 0
    assert logs.events == []


def test_ledger_file_that_cannot_be_written_is_a_warning(tmp_path: Path, clock: WallClock, logs: LogRecorder) -> None:
    """A full disk costs the next scan some time."""
    fs = FaultyOs()
    fs.fail("fsync")
    ledger = Ledger()
    ledger.add(1, 2, 4)
    ledger.settle()
    ledger_in(tmp_path, fs).save(ledger)
    assert logs.one("Ledger could not be written; the next scan reads more files")["level"] == "warning"
    assert os.listdir(tmp_path / ".state") == []


def test_ledger_too_large_to_be_loaded_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that the next start would refuse is not written; the earlier one, and the ledger in memory, are kept."""
    ledger = Ledger()
    ledger.add(1, 2, 4)
    ledger.settle()
    ledger_in(tmp_path).save(ledger)
    monkeypatch.setattr(ledger_module, "_MOST_ENTRIES", 2048)
    for inode in range(1, 3000):
        ledger.add(inode, 2, 4)
    ledger.settle()
    ledger_in(tmp_path).save(ledger)
    assert len(ledger_in(tmp_path).load()) == 1
    assert len(ledger) == 2999


def test_ledger_file_unchanged_is_not_written(tmp_path: Path) -> None:
    """A quiet day writes nothing to the card."""
    ledger_in(tmp_path).save(Ledger())
    assert os.listdir(tmp_path) == []
