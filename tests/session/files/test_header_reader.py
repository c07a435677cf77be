"""Headers that come from a slow disk, and from memory."""

from __future__ import annotations

import errno
import itertools
import os
import time
from pathlib import Path

import pytest

from miniclaw.errors import SessionFileError
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.entries import ScanRow, StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.header_reader import _waits
from miniclaw.session.files.scan import DirectoryScan
from tests.fakes.clock import WallClock
from tests.fakes.descriptors import open_descriptors
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.session.scans import scan


def test_scan_from_a_slow_disk_finds_the_same_and_leaves_nothing_open(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are asked for ahead are neither lost nor doubled, also where one of them vanishes or is none."""
    monkeypatch.setattr("miniclaw.session.files.header_reader.WAIT_FACTOR", 0)
    monkeypatch.setattr("miniclaw.session.files.header_reader.LEAST_WAITS", 0)
    for number in range(300):
        write_session(sessions_dir, f"telegram_{number}", clock.now)
    write_session(sessions_dir, "telegram_zz", clock.now).write_bytes(b"{")
    fs = FaultyOs()
    gone = itertools.count()

    def vanish(call: str, args: tuple[object, ...]) -> None:
        if call == "open" and str(args[0]).endswith(".json") and next(gone) == 150:
            os.unlink(sessions_dir / str(args[0]))

    fs.on(vanish)
    before = open_descriptors()
    with SessionDirectory.open(sessions_dir, fs=fs) as directory, DirectoryScan(directory) as scanning:
        keys: list[str] = []
        while batch := scanning.next_batch(seconds=0.005):
            keys += [row.key for row in batch]
    assert len([name for name, _ in fs.calls if name == "read_ahead"]) > 100
    assert sorted(keys) == sorted(os.listdir(sessions_dir))
    assert len(keys) == 300
    assert not open_descriptors() - before


def test_scan_from_a_slow_disk_that_breaks_off_leaves_nothing_open(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for ahead is closed also when something unforeseen ends the scan."""
    monkeypatch.setattr("miniclaw.session.files.header_reader.WAIT_FACTOR", 0)
    monkeypatch.setattr("miniclaw.session.files.header_reader.LEAST_WAITS", 0)
    for number in range(100):
        write_session(sessions_dir, f"telegram_{number}", clock.now)
    before = open_descriptors()
    with SessionDirectory.open(sessions_dir) as directory, DirectoryScan(directory) as scanning:
        scanning.next_batch(seconds=-1)
        monkeypatch.setattr(directory, "read_opened", lambda *_, **__: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            scanning.next_batch(seconds=1)
    assert len(open_descriptors() - before) <= 1  # the one whose reading broke off


def test_scan_from_memory_asks_for_nothing_ahead(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing waits, each file takes four system calls and no more."""
    monkeypatch.setattr("miniclaw.session.files.header_reader.WAIT_FACTOR", 1e9)
    for number in range(100):
        write_session(sessions_dir, f"telegram_{number}", clock.now)
    fs = FaultyOs()
    with SessionDirectory.open(sessions_dir, fs=fs) as directory, DirectoryScan(directory) as scanning:
        while scanning.next_batch(seconds=1):
            pass
    calls = [name for name, args in fs.calls if not str(args[0]).startswith((".", "/"))]
    assert [calls.count(name) for name in ("read_ahead", "fstat", "readv", "read")] == [0, 100, 100, 0]


def test_scan_on_a_busy_machine_asks_for_nothing_ahead(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other programs that take the processor make no slow disk: what waits for nothing needs no read-ahead."""
    monkeypatch.setattr("miniclaw.session.files.header_reader.WAIT_FACTOR", 0)
    asked = []
    for waits in (0, 64):
        monkeypatch.setattr("miniclaw.session.files.header_reader._waits", itertools.count(0, waits).__next__)
        for number in range(200):
            write_session(sessions_dir, f"telegram_{number}", clock.now)
        fs = FaultyOs()
        with SessionDirectory.open(sessions_dir, fs=fs) as directory, DirectoryScan(directory) as scanning:
            while scanning.next_batch(seconds=1):
                pass
        asked.append(len([name for name, _ in fs.calls if name == "read_ahead"]))
    assert asked[0] == 0 < asked[1]


def test_waits_counts_a_wait() -> None:
    """A thread that sleeps gives up the processor each time."""
    before = _waits()
    for _ in range(5):
        time.sleep(0.001)
    assert _waits() - before >= 5


def test_scan_from_a_slow_disk_with_few_descriptors_reads_all(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only a few files can be open at a time, that is no fault of the files."""
    monkeypatch.setattr("miniclaw.session.files.header_reader.WAIT_FACTOR", 0)
    monkeypatch.setattr("miniclaw.session.files.header_reader.LEAST_WAITS", 0)
    for number in range(200):
        write_session(sessions_dir, f"telegram_{number}", clock.now)
    fs = FaultyOs()
    left = [3]

    def few(call: str, args: tuple[object, ...]) -> None:
        if call == "open" and str(args[0]).endswith(".json"):
            if not left[0]:
                raise OSError(errno.EMFILE, "Too many open files")
            left[0] -= 1
        elif call == "fstat":
            left[0] += 1  # it is read and closed, then

    with SessionDirectory.open(sessions_dir, fs=fs) as directory, DirectoryScan(directory) as scanning:
        fs.on(few)
        rows: list[ScanRow] = []
        while batch := scanning.next_batch(seconds=1):
            rows += batch
    assert len(rows) == 200
    assert all(isinstance(row, StoredSession) for row in rows)


def test_scan_file_that_finds_no_memory_is_a_problem_and_not_the_end(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file that is too large for the machine keeps no other from being judged, and no gateway from starting."""
    write_session(sessions_dir, "telegram_1", clock.now)
    file = write_session(sessions_dir, "telegram_2", clock.now)
    file.write_bytes(b" " * 5000 + file.read_bytes())

    def none_left(fs: OsCalls, fd: int, *, size: int = 0) -> bytes:
        raise MemoryError

    monkeypatch.setattr("miniclaw.session.files.directory.read_whole", none_left)
    rows, _, _ = scan(sessions_dir, None)
    assert [(row.key, getattr(row, "kind", None)) for row in rows] == [
        ("telegram_1.json", None), ("telegram_2.json", "unreadable"),
    ]  # fmt: skip
    with (
        SessionDirectory.open(sessions_dir) as directory,
        pytest.raises(SessionFileError, match="Cannot allocate memory"),
    ):
        directory.load("telegram_2")
