"""The history: each event is a line that stays, whatever happens to the file; and no trouble with it is more than told."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from miniclaw.errors import StoreIOError
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.entries import FileTally, Tally
from miniclaw.session.records import history as history_module
from miniclaw.session.records.history import History, HistoryEvent, HistorySession
from tests.fakes.durable_os import DurableOs
from tests.fakes.folders import hidden_folder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.patience import PATIENCE_SECONDS

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
EVENT = HistoryEvent(
    at=NOW,
    event="cleanup",
    by="service",
    reasons={"ttl": Tally(2, 300), "max_sessions": Tally(1, 50)},
    bytes_freed=350,
    duration_seconds=0.25,
    sessions_scanned=12,
    because="it was due",
    sessions=[HistorySession("telegram_1", NOW - timedelta(days=31), 100, "ttl")],
    leftovers={"temporary": FileTally(1, 10)},
)


def history_at(path: Path, fs: OsCalls | None = None) -> History:
    return History(hidden_folder(path.parent, path.name, fs))


@pytest.fixture
def path(sessions_dir: Path) -> Path:
    return sessions_dir / ".state"


@pytest.fixture
def history(path: Path, fs: FaultyOs) -> History:
    return history_at(path, fs)


def on(day: int, **fields: object) -> HistoryEvent:
    return replace(EVENT, at=NOW + timedelta(days=day), **fields)


def days(history: History) -> list[int]:
    return [(event.at - NOW).days for event in history.read()[0]]


# Appending and reading ------------------------------------------------------------------------------------------


def test_history_gives_back_what_was_appended(history: History, path: Path) -> None:
    """Events come back whole, the newest last, also to another instance, in a private file of one line each."""
    events = [on(day) for day in range(3)]
    for event in events:
        history.append(event)
    assert history.read() == history_at(path).read() == (events, 0)
    assert history.path == path / "history.jsonl"
    assert history.path.stat().st_mode & 0o777 == 0o600
    assert history.path.read_bytes().count(b"\n") == 3
    assert os.listdir(path) == ["history.jsonl"]


@pytest.mark.parametrize(("limit", "found"), [(0, []), (1, [2]), (2, [1, 2]), (9, [0, 1, 2]), (None, [0, 1, 2])])
def test_read_with_a_limit_gives_the_newest(history: History, limit: int | None, found: list[int]) -> None:
    """A limit leaves out the oldest."""
    for day in range(3):
        history.append(on(day))
    assert [(event.at - NOW).days for event in history.read(limit)[0]] == found


def test_missing_history_is_empty_and_is_not_made(history: History, path: Path) -> None:
    """Before the first event there is none, with and without the folder."""
    assert history.read() == ([], 0)
    assert not path.exists()
    path.mkdir()
    assert history.read() == ([], 0)
    assert os.listdir(path) == []


@given(
    st.builds(
        HistoryEvent,
        at=st.datetimes(timezones=st.just(UTC)),
        event=st.text(),
        by=st.text(),
        because=st.text(),
        reasons=st.dictionaries(st.text(), st.builds(Tally, st.integers(0, 2**60), st.integers(0, 2**60)), max_size=3),
        sessions=st.lists(st.builds(HistorySession, st.text()), max_size=3),
    )
)
def test_line_of_any_event_is_one_line_and_is_read_again(event: HistoryEvent) -> None:
    """Whatever texts an event holds, it takes one line and comes back."""
    line = history_module._encode_line(event)
    assert line.count(b"\n") == 1
    assert history_module._decode(line) == event


def test_append_is_durable(path: Path) -> None:
    """The line is on the disk when the call returns, and the file's name with the first one."""
    fs = DurableOs(path)
    history = history_at(path, fs)
    for day in range(2):
        history.append(on(day))
        assert fs.unsynced == set()


def test_file_that_another_process_made_gets_its_name_synced(history: History, path: Path, fs: FaultyOs) -> None:
    """Who made the file may have died before its name was on the disk: the first append sees to it, the next need not."""
    history_at(path).append(EVENT)
    history.append(on(1))
    assert [name for name, _ in fs.calls].count("fsync") == 3
    history.append(on(2))
    assert [name for name, _ in fs.calls].count("fsync") == 4


def test_appends_of_two_threads_are_both_there(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one thread writes the file anew, no event of another is lost."""
    monkeypatch.setattr(history_module, "MAX_BYTES", 3000)
    monkeypatch.setattr(history_module, "KEEP_BYTES", 2900)

    def append() -> None:
        for _ in range(10):
            history.append(EVENT)

    threads = [threading.Thread(target=append) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    events, damaged = history.read()
    assert damaged == 0
    assert len(events) == 2900 // len(history_module._encode_line(EVENT))


# Damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 2, 40, 10**6])
def test_append_after_a_torn_line_begins_a_new_one(history: History, cut: int) -> None:
    """A line that a crash has cut off takes no other with it."""
    history.append(on(0))
    history.append(on(1))
    whole = history.path.read_bytes()
    history.path.write_bytes(whole[: max(whole.index(b"\n") + 2, len(whole) - cut)])
    history.append(on(2))
    assert (days(history), history.read()[1]) == (([0, 1, 2], 0) if cut == 1 else ([0, 2], 1))


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"\0" * 100,
        b"[]",
        b"null",
        b"{}",
        b'{"at":"2026-11-23T12:00:00","event":"cleanup","by":"x"}',
        b'{"at":"2026-11-23T12:00:00Z","event":7,"by":"x"}',
        b'{"at":"2026-11-23T12:00:00Z","event":"\xff","by":"x"}',
        b'{"x":' + b"[" * 100_000,
        b"\r",
    ],
    ids=lambda line: repr(line[:24]),
)
def test_damaged_lines_are_skipped_and_counted(history: History, line: bytes) -> None:
    """What nobody can read hides nothing else, and is told; white space is nothing."""
    history.append(on(0))
    with history.path.open("ab") as file:
        file.write(line + b"\n\n")
    history.append(on(1))
    assert days(history) == [0, 1]
    assert history.read()[1] == (1 if line.strip() else 0)


def test_events_of_a_newer_version_are_read(history: History) -> None:
    """Kinds and fields that this version does not know are no damage."""
    history.append(EVENT)
    newer = {**msgspec.to_builtins(EVENT), "version": 9, "event": "defrosted", "by": "robot", "mood": {"good": [1]}}
    with history.path.open("ab") as file:
        file.write(msgspec.json.encode(newer) + b"\n")
    events, damaged = history.read()
    assert damaged == 0
    assert [(event.version, event.event, event.by) for event in events] == [
        (1, "cleanup", "service"),
        (9, "defrosted", "robot"),
    ]


def test_event_that_is_no_text_is_refused(history: History) -> None:
    """What could not be read again is an error that the caller can log, and nothing is written."""
    with pytest.raises(StoreIOError, match="event"):
        history.append(replace(EVENT, because="\ud800"))
    assert history.read() == ([], 0)


# Trouble with the file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to(path.parent.parent / "victim"),
        lambda path: path.symlink_to("/nonexistent"),
        os.mkfifo,
        os.mkdir,
    ],
    ids=["link", "dangling link", "FIFO", "directory"],
)
def test_history_in_the_place_of_something_else_is_refused(
    history: History, path: Path, make: Callable[[Path], None]
) -> None:
    """A link is not followed, a FIFO not waited for; the error names the file."""
    path.mkdir()
    (path.parent / "victim").write_text("precious")
    make(history.path)
    for work in (lambda: history.append(EVENT), history.read):
        with pytest.raises(StoreIOError) as caught:
            work()
        assert caught.value.path == history.path
    assert (path.parent / "victim").read_text() == "precious"
    assert sorted(os.listdir(path.parent)) == [".state", "victim"]


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("elsewhere"), lambda path: path.write_text("a file")])
def test_folder_in_the_place_of_something_else_is_refused(
    history: History, path: Path, make: Callable[[Path], None]
) -> None:
    """Also what is wrong with the folder is a `StoreIOError`, and nothing appears behind a link."""
    (path.parent / "elsewhere").mkdir()
    make(path)
    for work in (lambda: history.append(EVENT), history.read):
        with pytest.raises(StoreIOError):
            work()
    assert os.listdir(path.parent / "elsewhere") == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE])
def test_folder_that_cannot_be_opened_is_an_error_of_the_store(path: Path, fs: FaultyOs, number: int) -> None:
    """What the system refuses is a `StoreIOError`, from an append as from a read."""
    fs.fail("open", number, path=path.name)
    history = history_at(path, fs)
    for work in (lambda: history.append(EVENT), history.read):
        with pytest.raises(StoreIOError, match=os.strerror(number)):
            work()


def test_append_to_a_hard_link_leaves_the_other_name(history: History, tmp_path: Path) -> None:
    """A backup by hard links keeps the history that it had, and the history goes on."""
    history.append(on(0))
    (tmp_path / "backup").hardlink_to(history.path)
    before = (tmp_path / "backup").read_bytes()
    history.append(on(1))
    history.append(on(2))
    assert days(history) == [0, 1, 2]
    assert (tmp_path / "backup").read_bytes() == before


@pytest.mark.parametrize("call", ["open", "fstat", "pread", "write", "fsync"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EACCES])
def test_append_that_is_refused_leaves_the_history_as_it_was(
    history: History, fs: FaultyOs, call: str, number: int
) -> None:
    """An event that cannot be written is an error for the log, and harms no other."""
    history.append(on(0))
    before = history.path.read_bytes()
    fs.fail(call, number)
    with pytest.raises(StoreIOError) as caught:
        history.append(on(1))
    assert caught.value.errno == number
    fs.clear()
    assert history.path.read_bytes() == before
    history.append(on(2))
    assert days(history) == [0, 2]


def test_append_on_a_disk_that_gets_full_is_cut_back(history: History, fs: FaultyOs) -> None:
    """Half a line is taken back; where even that is refused, it is told and the next event has its own line."""
    history.append(on(0))
    write = fs.write

    for refuse in ("nothing", "ftruncate"):
        written: list[int] = []

        def full(called: str, args: tuple[object, ...], written: list[int] = written) -> None:
            if called == "write":
                if written:
                    raise OSError(errno.ENOSPC, "full")
                written.append(write(args[0], args[1][:10]))  # type: ignore[arg-type,index]
                raise OSError(errno.ENOSPC, "full")

        fs.on(lambda called, args, hook=full, depth=[]: _once(hook, called, args, depth))  # type: ignore[misc]
        fs.fail(refuse)
        with pytest.raises(StoreIOError, match="full"):
            history.append(on(1))
        fs.clear()
        assert (days(history), history.read()[1]) == ([0], int(refuse == "ftruncate"))
    history.append(on(2))
    assert (days(history), history.read()[1]) == ([0, 2], 1)


def _once(hook: Callable[..., None], called: str, args: tuple[object, ...], depth: list[int]) -> None:
    """Call a hook that makes calls of its own, but not for those."""
    if depth:
        return
    depth.append(1)
    try:
        hook(called, args)
    finally:
        depth.pop()


def test_read_that_is_refused_says_so(history: History, fs: FaultyOs) -> None:
    """An unreadable history is an error, not an empty one."""
    history.append(EVENT)
    fs.fail("pread")
    with pytest.raises(StoreIOError, match="read"):
        history.read()
