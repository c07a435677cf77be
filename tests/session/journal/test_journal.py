"""The journal itself, over system calls that fail, come back short or hang."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from miniclaw.errors import StoreIOError
from miniclaw.session.disk.syscalls import Bytes
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.journal.index import MAX_SEGMENTS
from miniclaw.session.journal.journal import SEGMENT_BYTES, Batch, Journal
from miniclaw.session.journal.records import Record, body, read_segment
from tests.fakes.crash import segments
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.patience import PATIENCE_SECONDS

ID = "web_a"
NAME = "web_a.json"


class ShortOs(FaultyOs):
    """Writes one byte less than asked for, as often as is asked for.

    Attributes:
        short: The number of writes that come back short from now on.
    """

    short = 0

    def pwrite(self, fd: int, data: Bytes, offset: int) -> int:
        if self.short and len(data) > 1:
            self.short -= 1
            data = data[:-1]
        return super().pwrite(fd, data, offset)


@pytest.fixture
def fs() -> ShortOs:
    return ShortOs()


@pytest.fixture
def journal(directory: SessionDirectory) -> Iterator[Journal]:
    journal = Journal(directory)
    yield journal
    journal.close()


def batch(*texts: str, session_id: str = ID, is_saved: Callable[[], bool] = lambda: False) -> Batch:
    """Return a batch of records that are told apart by these texts."""
    records = [(session_id, body("use", {"s": session_id, "prev": text})) for text in texts]
    return Batch(records, {session_id: is_saved})


def read(path: Path) -> list[Record]:
    return read_segment(path.read_bytes())[0]


def told(sessions_dir: Path) -> list[list[str]]:
    """Return what each segment has told, by the texts of `batch`."""
    return [[record.prev for record in read(path) if record.op == "use"] for path in segments(sessions_dir)]


def fail_once(fs: FaultyOs, name: str, number: int) -> None:
    """Have the next call of this name fail."""
    failed: list[str] = []

    def hook(called: str, _: tuple[Any, ...]) -> None:
        if called == name and not failed:
            failed.append(name)
            raise OSError(number, os.strerror(number))

    fs.on(hook)


def test_commit_rewrites_what_came_back_short(journal: Journal, fs: ShortOs, sessions_dir: Path) -> None:
    """A short write is no error: the rest follows, and the record is whole."""
    fs.short = 3
    journal.commit(batch("one", "two"))
    assert told(sessions_dir) == [["one", "two"]]


@pytest.mark.parametrize(
    ("name", "number"),
    [("pwrite", errno.EIO), ("pwrite", errno.ENOSPC), ("sync_data", errno.EIO), ("fstat", errno.EIO)],
)
def test_commit_that_fails_seals_its_segment_for_ever(
    journal: Journal, fs: ShortOs, sessions_dir: Path, logs: LogRecorder, name: str, number: int
) -> None:
    """After any error the whole batch goes to a new segment, and so does all that follows."""
    journal.commit(batch("before"))
    fs.short = 1
    fail_once(fs, name, number)
    journal.commit(batch("one", "two"))
    sealed = segments(sessions_dir)[0].read_bytes()
    journal.commit(batch("three"))
    assert segments(sessions_dir)[0].read_bytes() == sealed
    assert told(sessions_dir)[1] == ["one", "two", "three"]
    assert logs.one("Journal segment failed; another one is begun")
    first, second = (read(path) for path in segments(sessions_dir))
    assert max(record.i for record in first) < min(record.i for record in second)


@pytest.mark.parametrize("name", ["pwrite", "sync_data"])
def test_commit_that_fails_twice_is_refused_and_the_next_one_has_a_new_segment(
    journal: Journal, fs: ShortOs, sessions_dir: Path, name: str
) -> None:
    """Nobody is told that it is written; no descriptor is tried again."""
    journal.commit(batch("before"))
    fs.fail(name, errno.EIO)
    for _ in range(2):
        with pytest.raises(StoreIOError):
            journal.commit(batch("never told"))
    fs.clear()
    journal.commit(batch("after"))
    assert told(sessions_dir)[0][0] == "before"
    assert told(sessions_dir)[-1] == ["after"]


def test_commit_without_room_for_a_segment_leaves_nothing_in_the_index(journal: Journal, fs: ShortOs) -> None:
    """A full disk does not let the index grow with each message."""
    fs.fail("write", errno.ENOSPC)
    for _ in range(20):
        with pytest.raises(StoreIOError):
            journal.commit(batch("one"))
    assert journal.segments == 0
    fs.clear()
    journal.commit(batch("one"))
    assert journal.segments == 1


def test_commit_into_a_segment_deleted_by_hand_begins_another(journal: Journal, sessions_dir: Path) -> None:
    """A record counts only in a segment that the next start finds."""
    journal.commit(batch("one"))
    segments(sessions_dir)[0].unlink()
    journal.commit(batch("two"))
    assert told(sessions_dir) == [["two"]]


def test_commit_beyond_a_segment_begins_the_next_and_uses_the_one_prepared(
    journal: Journal, fs: ShortOs, sessions_dir: Path
) -> None:
    """A segment keeps its bound; the next one is there before it is needed, and made only once."""
    large = "x" * (SEGMENT_BYTES // 2)
    journal.commit(batch(large))
    needs = [journal.needs_spare]
    journal.prepare()
    assert [*needs, journal.needs_spare] == [True, False]
    assert len(segments(sessions_dir)) == 2
    fs.fail("write", errno.ENOSPC)  # no segment can be made any more
    journal.commit(batch(large))
    journal.void([NAME])
    assert [len(each) for each in told(sessions_dir)] == [1, 1]
    assert all(path.stat().st_size == SEGMENT_BYTES for path in segments(sessions_dir))


def test_prepare_that_fails_is_not_tried_again_with_each_message(
    journal: Journal, fs: ShortOs, logs: LogRecorder
) -> None:
    """A disk without room is asked once for each segment."""
    journal.commit(batch("x" * (SEGMENT_BYTES // 2)))
    fs.fail("write", errno.ENOSPC)
    journal.prepare()
    assert not journal.needs_spare
    assert logs.one("Next journal segment could not be made; a later commit tries again")


def test_prepare_beside_a_rotation_gives_no_earlier_segment_to_later_records(
    journal: Journal, fs: ShortOs, sessions_dir: Path
) -> None:
    """The order of the segments is that of the records."""
    large = "x" * (SEGMENT_BYTES // 2)
    journal.commit(batch(large))
    gate = fs.block("write")
    thread = threading.Thread(target=journal.prepare)
    thread.start()
    assert gate.reached.wait(PATIENCE_SECONDS)
    journal.commit(batch(large))
    gate.opened.set()
    thread.join()
    journal.commit(batch(large))
    numbers = [record.i for path in segments(sessions_dir) for record in read(path)]
    assert numbers == sorted(numbers)


def test_spent_are_the_oldest_segments_that_nobody_needs(journal: Journal, sessions_dir: Path) -> None:
    """A segment is deleted only after all before it, and never while it is written to."""
    large = "x" * (SEGMENT_BYTES * 2 // 3)
    saved: dict[str, bool] = {}
    for session_id in ("web_a", "web_b", "web_c", "web_d"):
        saved[session_id] = False
        journal.commit(batch(large, session_id=session_id, is_saved=lambda each=session_id: saved[each]))  # type: ignore[misc]
    saved["web_b"] = saved["web_c"] = saved["web_d"] = True
    assert journal.spent() == []
    saved["web_a"] = True
    assert journal.spent() == [1, 2, 3]
    assert journal.spent(whole=True) == [1, 2, 3, 4]
    journal.delete([1, 2, 3, 4])
    assert segments(sessions_dir) == []
    assert journal.segments == 0


def test_delete_that_is_not_synced_is_not_forgotten(journal: Journal, fs: ShortOs) -> None:
    """A power cut may bring the segment back, so a removal of its sessions still needs a `void`."""
    journal.commit(batch("one", is_saved=lambda: True))
    numbers = journal.spent(whole=True)
    fs.fail("fsync", errno.EIO)
    with pytest.raises(StoreIOError):
        journal.delete(numbers)
    assert journal.holds(NAME)
    fs.clear()
    journal.delete(numbers)
    assert not journal.holds(NAME)


def test_wanting_are_those_that_keep_old_and_suspect_segments(journal: Journal, fs: ShortOs) -> None:
    """More than so many segments, or one that has failed, are reason to save what they hold."""
    large = "x" * (SEGMENT_BYTES * 2 // 3)
    for number in range(MAX_SEGMENTS):
        journal.commit(batch(large, session_id=f"web_{number}"))
    assert journal.index.wanting() == set()
    journal.commit(batch(large, session_id="web_last"))
    assert journal.index.wanting() == {"web_0"}
    fail_once(fs, "sync_data", errno.EIO)
    journal.commit(batch("x", session_id="web_more"))
    assert journal.index.wanting() == {"web_0", "web_1", "web_last"}


def test_void_overtakes_a_batch_that_waits_to_be_written(journal: Journal, sessions_dir: Path) -> None:
    """A session that is removed between the making of a batch and its commit does not return."""
    journal.begin()
    waiting = batch("removed meanwhile")
    waiting.records += batch("kept", session_id="web_b").records
    waiting.needs["web_b"] = lambda: False
    journal.void([NAME])
    journal.commit(waiting)
    journal.end()
    assert told(sessions_dir) == [["kept"]]
    assert not journal.holds(NAME)
    journal.commit(batch("begun anew"))
    assert told(sessions_dir) == [["kept", "begun anew"]]


def test_void_asks_the_disk_only_for_what_segments_hold(journal: Journal, fs: ShortOs) -> None:
    """What the daily cleanup removes is in no segment, and costs no sync."""
    journal.commit(batch("one"))
    fs.calls.clear()
    journal.void(["web_old.json", "web_older.json"])
    assert not {name for name, _ in fs.calls} & {"pwrite", "sync_data"}
    journal.void([NAME])
    assert [name for name, _ in fs.calls].count("sync_data") == 1


@pytest.mark.parametrize("call", ["pwrite", "sync_data", "write", "open"])
def test_give_up_lets_the_next_commit_go_on_and_the_late_write_does_no_harm(
    journal: Journal, fs: ShortOs, sessions_dir: Path, call: str
) -> None:
    """A thread that hangs, also before its segment was created, writes nothing behind what came later."""
    if call in {"pwrite", "sync_data"}:
        journal.commit(batch("before"))
    gate = fs.block(call)
    hung = batch("hung")
    errors: list[BaseException] = []

    def commit() -> None:
        try:
            journal.commit(hung)
        except StoreIOError as error:
            errors.append(error)

    thread = threading.Thread(target=commit)
    thread.start()
    assert gate.reached.wait(PATIENCE_SECONDS)
    journal.give_up(hung)
    journal.commit(batch("hung", "later"))
    gate.opened.set()
    thread.join(PATIENCE_SECONDS)
    numbers = [record.i for path in segments(sessions_dir) for record in read(path)]
    assert numbers == sorted(numbers)
    assert told(sessions_dir)[-1] == ["hung", "later"]
    assert bool(errors) == (call in {"write", "open"})  # else it had its place before it was given up
    journal.commit(batch("last"))
    assert told(sessions_dir)[-1] == ["hung", "later", "last"]


def test_give_up_stops_a_batch_that_waits_for_another_thread(journal: Journal, fs: ShortOs, sessions_dir: Path) -> None:
    """A batch behind a hung `void` is written once, by who has taken it over, and not again behind newer ones."""
    journal.commit(batch("before"))
    gate = fs.block("sync_data")
    voiding = threading.Thread(target=journal.void, args=([NAME],))
    voiding.start()
    assert gate.reached.wait(PATIENCE_SECONDS)
    waiting = batch("waits", session_id="web_b")
    errors: list[BaseException] = []

    def commit() -> None:
        try:
            journal.commit(waiting)
        except StoreIOError as error:
            errors.append(error)

    thread = threading.Thread(target=commit)
    thread.start()
    journal.give_up(waiting)
    journal.commit(batch("waits", "newer", session_id="web_b"))
    gate.opened.set()
    for each in (voiding, thread):
        each.join(PATIENCE_SECONDS)
    assert errors
    assert told(sessions_dir)[-1] == ["waits", "newer"]
    assert sum(each.count("waits") for each in told(sessions_dir)) == 1
