"""A scan with a ledger finds what one without finds, and opens less."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miniclaw.session.clock import to_microseconds
from miniclaw.session.directory import SessionDirectory
from miniclaw.session.folder import Folder
from miniclaw.session.ledger import Ledger, fingerprint
from miniclaw.session.ledger_file import LEDGER_NAME, LedgerFile
from miniclaw.session.manager import SessionManager
from miniclaw.session.operations import open_operations
from miniclaw.session.plan import CleanupPlan, scan_sync
from miniclaw.session.retention import RetentionPolicy
from miniclaw.session.rows import ScanRow, StoredSession
from miniclaw.session.saved_files import SavedFiles
from miniclaw.session.scanning import DirectoryScan
from miniclaw.session.store import FileSessionStore, open_store
from miniclaw.session.types import Session
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import session_dict, write_session

POLICY = RetentionPolicy()


@pytest.fixture(autouse=True)
def nothing_is_racy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a test are new; the rule about new ones has a test of its own."""
    monkeypatch.setattr("miniclaw.session.scanning.RACY_SECONDS", -1)


def scan(path: Path, ledger: Ledger | None, **options: object) -> tuple[list[ScanRow], tuple[int, int], int]:
    """Return the rows, what only counted, and how many files were opened."""
    with (
        SessionDirectory.open(path) as directory,
        DirectoryScan(directory, ledger=ledger, **options) as scanning,  # type: ignore[arg-type]
    ):
        rows: list[ScanRow] = []
        while not scanning.complete:
            rows += scanning.next_batch(seconds=1)
        return sorted(rows, key=lambda row: row.key), scanning.take_kept(), scanning.opened


def plan(path: Path, clock: WallClock, ledger: Ledger | None, policy: RetentionPolicy = POLICY) -> CleanupPlan:
    with SessionDirectory.open(path) as directory:
        return scan_sync(directory, policy, clock.now, ledger=ledger)


def told(plan: CleanupPlan) -> tuple[object, ...]:
    removals = sorted((row.session.key, row.reason, row.session.size) for row in plan.removals)
    problems = sorted((problem.key, problem.kind) for problem in plan.problems)
    future = sorted(row.session.key for row in plan.future)
    return removals, problems, future, plan.sessions_scanned, plan.readable, plan.sessions_bytes, plan.pinned


def populate(path: Path, clock: WallClock) -> None:
    for number in range(30):
        write_session(path, f"telegram_{number}", clock.ago(days=number * 2))
    write_session(path, "web_Capital", clock.ago(days=1))
    write_session(path, "web_ahead", clock.ago(days=-1))
    pinned = path / "web_pinned.json"
    pinned.write_text(json.dumps({**session_dict("web_pinned", clock.ago(days=90)), "pinned": True}))
    (path / "web_bad.json").write_text("{")
    (path / "notes.txt").write_text("no session")


def test_scan_second_time_opens_nothing_that_is_sound(sessions_dir: Path, clock: WallClock) -> None:
    """After a quiet day only what could not be read is looked at again, and the rows are the same."""
    populate(sessions_dir, clock)
    ledger = Ledger()
    first, _, opened = scan(sessions_dir, ledger)
    assert (opened, len(ledger)) == (34, 33)
    second, _, opened = scan(sessions_dir, ledger)
    assert second == first
    assert opened == 2  # the damaged one, and the one whose name does not tell its id, for its row


def test_scan_with_staying_counts_what_no_rule_takes(sessions_dir: Path, clock: WallClock) -> None:
    """Of a hundred thousand sessions that stay no row is made."""
    populate(sessions_dir, clock)
    ledger = Ledger()
    scan(sessions_dir, ledger)
    rows, (kept, kept_bytes), opened = scan(sessions_dir, ledger, staying=POLICY.surely_staying(clock.now))
    names = [f"telegram_{number}.json" for number in range(16)]
    assert kept == 17
    assert kept_bytes > sum((sessions_dir / name).stat().st_size for name in names)
    assert {row.key for row in rows}.isdisjoint(names)
    assert opened == 1


@pytest.mark.parametrize(
    "policy",
    [
        POLICY, RetentionPolicy(ttl=None), RetentionPolicy(ttl=timedelta(days=4)), RetentionPolicy(max_sessions=5),
        RetentionPolicy(ttl_by_channel={"telegram": timedelta(days=10), "web": None}),
    ],
)  # fmt: skip
def test_plan_is_the_same_with_a_ledger_and_without(
    sessions_dir: Path, clock: WallClock, policy: RetentionPolicy
) -> None:
    """What is known changes what is read, never what is decided."""
    populate(sessions_dir, clock)
    ledger = Ledger()
    plain = told(plan(sessions_dir, clock, None, policy))
    assert told(plan(sessions_dir, clock, ledger, policy)) == plain
    assert told(plan(sessions_dir, clock, ledger, policy)) == plain


def _replace(path: Path, clock: WallClock) -> None:
    write_session(path, "telegram_20", clock.now)


def _rewrite_in_place(path: Path, clock: WallClock) -> None:
    text = (path / "telegram_20.json").read_text()
    new = text.replace(session_dict("telegram_20", clock.ago(days=40))["last_accessed"], "2026-11-22T12:00:00Z", 1)
    (path / "telegram_20.json").write_text(new)


def _rename_over(path: Path, clock: WallClock) -> None:
    os.rename(path / "telegram_1.json", path / "telegram_20.json")


def _rename_to_another_name(path: Path, clock: WallClock) -> None:
    os.rename(path / "telegram_1.json", path / "telegram_999.json")


def _swap(path: Path, clock: WallClock) -> None:
    os.rename(path / "telegram_1.json", path / "x")
    os.rename(path / "telegram_20.json", path / "telegram_1.json")
    os.rename(path / "x", path / "telegram_20.json")


def _damage_keeping_size_and_mtime(path: Path, clock: WallClock) -> None:
    file = path / "telegram_20.json"
    status = file.stat()
    file.write_bytes(b"x" * status.st_size)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_back(path: Path, clock: WallClock) -> None:
    shutil.copy2(path / "telegram_20.json", path / "x")
    os.rename(path / "x", path / "telegram_20.json")


def _delete(path: Path, clock: WallClock) -> None:
    os.unlink(path / "telegram_1.json")


def _link(path: Path, clock: WallClock) -> None:
    os.link(path / "telegram_1.json", path / "telegram_77.json")


@pytest.mark.parametrize(
    "change",
    [
        _replace, _rewrite_in_place, _rename_over, _rename_to_another_name, _swap, _damage_keeping_size_and_mtime,
        _copy_back, _delete, _link,
    ],
)  # fmt: skip
def test_plan_after_a_change_is_that_of_the_files(sessions_dir: Path, clock: WallClock, change: object) -> None:
    """Whatever was done to a file since, by us or by others, it is judged by what it is."""
    populate(sessions_dir, clock)
    ledger = Ledger()
    plan(sessions_dir, clock, ledger)
    change(sessions_dir, clock)  # type: ignore[operator]
    assert told(plan(sessions_dir, clock, ledger)) == told(plan(sessions_dir, clock, None))


def test_plan_file_with_a_second_name_is_judged_each_time(sessions_dir: Path, clock: WallClock) -> None:
    """A link to a session is never taken for one, however often it was seen: both names have one inode."""
    populate(sessions_dir, clock)
    _link(sessions_dir, clock)
    ledger = Ledger()
    for _ in range(3):
        assert told(plan(sessions_dir, clock, ledger)) == told(plan(sessions_dir, clock, None))


def test_scan_file_that_is_just_new_is_not_entered(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another change within the clock's tick would look the same."""
    monkeypatch.setattr("miniclaw.session.scanning.RACY_SECONDS", 2)
    write_session(sessions_dir, "telegram_1", clock.now)
    ledger = Ledger()
    scan(sessions_dir, ledger)
    assert len(ledger) == 0


def test_scan_from_a_slow_disk_finds_the_same_and_leaves_nothing_open(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are asked for ahead are neither lost nor doubled, also where one of them vanishes or is none."""
    monkeypatch.setattr("miniclaw.session.header_reader.WAIT_FACTOR", 0)
    for number in range(300):
        write_session(sessions_dir, f"telegram_{number}", clock.now)
    write_session(sessions_dir, "telegram_zz", clock.now).write_bytes(b"{")
    fs = FaultyOs()
    gone = itertools.count()

    def vanish(call: str, args: tuple[object, ...]) -> None:
        if call == "open" and str(args[0]).endswith(".json") and next(gone) == 150:
            os.unlink(sessions_dir / str(args[0]))

    fs.on(vanish)
    descriptors = len(os.listdir("/proc/self/fd"))
    with SessionDirectory.open(sessions_dir, fs=fs) as directory, DirectoryScan(directory) as scanning:
        keys: list[str] = []
        while batch := scanning.next_batch(seconds=0.005):
            keys += [row.key for row in batch]
    assert len([name for name, _ in fs.calls if name == "read_ahead"]) > 100
    assert sorted(keys) == sorted(os.listdir(sessions_dir))
    assert (len(keys), len(os.listdir("/proc/self/fd"))) == (300, descriptors)


def test_scan_from_a_slow_disk_that_breaks_off_leaves_nothing_open(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for ahead is closed also when something unforeseen ends the scan."""
    monkeypatch.setattr("miniclaw.session.header_reader.WAIT_FACTOR", 0)
    for number in range(100):
        write_session(sessions_dir, f"telegram_{number}", clock.now)
    descriptors = len(os.listdir("/proc/self/fd"))
    with SessionDirectory.open(sessions_dir) as directory, DirectoryScan(directory) as scanning:
        scanning.next_batch(seconds=-1)
        monkeypatch.setattr(directory, "read_opened", lambda *_, **__: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            scanning.next_batch(seconds=1)
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1  # the one whose reading broke off


def test_scan_from_memory_asks_for_nothing_ahead(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing waits, each file takes four system calls and no more."""
    monkeypatch.setattr("miniclaw.session.header_reader.WAIT_FACTOR", 1e9)
    for number in range(100):
        write_session(sessions_dir, f"telegram_{number}", clock.now)
    fs = FaultyOs()
    with SessionDirectory.open(sessions_dir, fs=fs) as directory, DirectoryScan(directory) as scanning:
        while scanning.next_batch(seconds=1):
            pass
    calls = [name for name, args in fs.calls if not str(args[0]).startswith((".", "/"))]
    assert [calls.count(name) for name in ("read_ahead", "fstat", "readv", "read")] == [0, 100, 100, 0]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["write", "rename", "delete", "pin", "scan"])), max_size=25)
)
def test_plan_with_a_ledger_through_any_changes_is_that_of_the_files(
    tmp_path: Path, clock: WallClock, steps: list[tuple[int, str]]
) -> None:
    """A ledger that has seen a long and eventful life tells the same as none."""
    path = tmp_path / "s" / str(abs(hash(tuple(steps))))
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    ledger = Ledger()
    for turn, (number, step) in enumerate(steps):
        file = path / f"telegram_{number}.json"
        if step == "write":
            write_session(path, f"telegram_{number}", clock.ago(days=(turn * 7) % 60))
        elif step == "pin":
            file.write_text(
                json.dumps({**session_dict(f"telegram_{number}", clock.ago(days=40)), "pinned": turn % 2 == 0})
            )
        elif step == "rename" and file.exists():
            os.rename(file, path / f"telegram_{(number + 1) % 10}.json")
        elif step == "delete":
            file.unlink(missing_ok=True)
        elif step == "scan":
            plan(path, clock, ledger)
    assert told(plan(path, clock, ledger)) == told(plan(path, clock, None))


# The file -------------------------------------------------------------------------------------------------------


async def test_cleanup_writes_the_ledger_and_the_next_one_uses_it(tmp_path: Path, clock: WallClock) -> None:
    """The daily scan after a quiet day opens no session."""
    sessions = tmp_path / "sessions"
    for number in range(50):
        write_session(sessions, f"telegram_{number}", clock.now)
    places = {"state_dir": tmp_path / "state", "trash_dir": tmp_path / "trash"}
    opened: list[int] = []
    for _ in range(2):
        async with open_operations(sessions, policy=POLICY, clock=clock, **places) as operations:  # type: ignore[arg-type]
            result = await operations.cleanup()
        assert (result.sessions_scanned, result.sessions_deleted) == (50, 0)
        ledger = LedgerFile(Folder(tmp_path / "state")).load()
        opened.append(scan(sessions, ledger)[2])
    assert opened == [0, 0]
    assert (tmp_path / "state" / LEDGER_NAME).stat().st_mode & 0o777 == 0o600


async def test_cleanup_removes_by_the_file_and_not_by_the_ledger(tmp_path: Path, clock: WallClock) -> None:
    """A ledger that lies, says nothing that could delete."""
    sessions = tmp_path / "sessions"
    path = write_session(sessions, "telegram_1", clock.now)
    status = path.stat()
    lying = Ledger()
    times = fingerprint(status.st_mtime_ns, status.st_ctime_ns)
    lying.add(status.st_ino, times, status.st_size, 2 * to_microseconds(clock.ago(days=400)))
    lying.settle()
    LedgerFile(Folder(tmp_path / "state")).save(lying)
    places = {"state_dir": tmp_path / "state", "trash_dir": tmp_path / "trash"}
    async with open_operations(sessions, policy=POLICY, clock=clock, **places) as operations:  # type: ignore[arg-type]
        assert (await operations.cleanup()).sessions_deleted == 0
    assert path.exists()


async def drain(store: FileSessionStore) -> int:
    """Scan to the end, and return how many sessions there were."""
    count = 0
    async with store.scan() as scanning:
        while not scanning.complete:
            count += len(await scanning.next_batch())
    return count


async def test_scan_after_own_saves_opens_none_of_them(tmp_path: Path, clock: WallClock) -> None:
    """The daily scan after a day of chats opens no session, and neither does the one after that."""
    fs = FaultyOs()
    async with open_store(tmp_path / "sessions", fs=fs) as store:
        store.keep_ledger(LedgerFile(Folder(tmp_path / "state")))
        manager = SessionManager(store, clock=clock)
        for _ in range(3):
            for number in range(20):
                session = await manager.get_or_create_session("web", str(number))
                await manager.set_pinned(session.session_id, number == 7)
            await manager.save_all_sessions()
            clock.move(hours=1)
            for _ in range(2):
                fs.calls.clear()
                assert await drain(store) == 20
                assert [args for name, args in fs.calls if name == "open" and str(args[0]).endswith(".json")] == []
    with SessionDirectory.open(tmp_path / "sessions") as directory:
        known, plain = (
            scan_sync(directory, POLICY, clock.ago(days=-40), ledger=ledger)
            for ledger in (LedgerFile(Folder(tmp_path / "state")).load(), None)
        )
    assert told(known) == told(plain)
    assert (len(known.removals), known.pinned) == (19, 1)


async def test_scan_after_own_save_and_another_hand_reads_the_file(tmp_path: Path, clock: WallClock) -> None:
    """What is remembered of a save holds only for the file as it was saved."""
    sessions = tmp_path / "sessions"
    async with open_store(sessions) as store:
        store.keep_ledger(LedgerFile(Folder(tmp_path / "state")))
        manager = SessionManager(store, clock=clock)
        await manager.get_or_create_session("web", "1")
        await manager.save_all_sessions()
        write_session(sessions, "web_1", clock.ago(days=400))
        async with store.scan() as scanning:
            (row,) = await scanning.next_batch()
    assert isinstance(row, StoredSession)
    assert row.header.last_accessed == clock.ago(days=400)


async def test_scan_that_is_broken_off_loses_no_saves(
    tmp_path: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cleanup that a shutdown cut short leaves to the next one what was remembered."""
    monkeypatch.setattr("miniclaw.session.store_scan.SCAN_BATCH_SECONDS", -1.0)
    async with open_store(tmp_path / "sessions") as store:
        store.keep_ledger(LedgerFile(Folder(tmp_path / "state")))
        manager = SessionManager(store, clock=clock)
        for number in range(40):
            await manager.get_or_create_session("web", str(number))
        await manager.save_all_sessions()
        saved = store.directory.saved_files
        assert saved is not None
        async with store.scan() as scanning:
            await scanning.next_batch()
        assert (scanning.complete, len(saved)) == (False, 40)
        assert await drain(store) == 40
        assert len(saved) == 0


def test_saved_files_are_bounded(tmp_path: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway of very many chats remembers some of them, and what it remembers is the newest."""
    monkeypatch.setattr("miniclaw.session.saved_files.MAX_NOTES", 3)
    saved, status = SavedFiles(), tmp_path.stat()
    for number in range(5):
        session = Session(f"web_{number}", "web", str(number), clock.now, clock.now)
        saved.note(f"web_{number}.json", session, status)
    session.pinned = True
    saved.note("web_0.json", session, status)
    assert [file.entry[2] & 1 for file in saved.all().values()] == [1, 0, 0]


@pytest.mark.parametrize("content", [b"", b"{}", b"miniclaw-ledger-1\n" + b"x" * 100])
def test_ledger_file_damaged_is_an_empty_ledger(tmp_path: Path, logs: LogRecorder, content: bytes) -> None:
    """A damaged ledger costs a slower scan, and is told as no more than that."""
    (tmp_path / LEDGER_NAME).write_bytes(content)
    assert len(LedgerFile(Folder(tmp_path)).load()) == 0
    assert logs.one("Ledger is begun anew; this scan reads every file")["level"] == "info"


def test_ledger_file_missing_is_an_empty_ledger_in_silence(tmp_path: Path, logs: LogRecorder) -> None:
    """The first scan has none."""
    assert len(LedgerFile(Folder(tmp_path / "nowhere")).load()) == 0
    assert logs.events == []


def test_ledger_file_that_cannot_be_written_is_a_warning(tmp_path: Path, clock: WallClock, logs: LogRecorder) -> None:
    """A full disk costs the next scan some time."""
    fs = FaultyOs()
    fs.fail("fsync")
    ledger = Ledger()
    ledger.add(1, 2, 3, 4)
    ledger.settle()
    LedgerFile(Folder(tmp_path, fs=fs)).save(ledger)
    assert logs.one("Ledger could not be written; the next scan reads more files")["level"] == "warning"
    assert os.listdir(tmp_path) == []


def test_ledger_file_unchanged_is_not_written(tmp_path: Path) -> None:
    """A quiet day writes nothing to the card."""
    LedgerFile(Folder(tmp_path)).save(Ledger())
    assert os.listdir(tmp_path) == []
