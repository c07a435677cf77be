"""How large the history gets: events are bounded, old ones are forgotten, and shortening loses nothing else."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from miniclaw.session.records import history as history_module
from miniclaw.session.records.history import History, HistorySession
from tests.fakes.durable_os import DurableOs
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.session.records.test_history import EVENT, days, history_at, on

NOT_SHORTENED = "History could not be shortened"


@pytest.fixture
def path(sessions_dir: Path) -> Path:
    return sessions_dir / ".state"


@pytest.fixture
def history(path: Path, fs: FaultyOs) -> History:
    return history_at(path, fs)


# Bounds ---------------------------------------------------------------------------------------------------------


def test_event_names_at_most_so_many_sessions(history: History) -> None:
    """Of more sessions than the bound it says how many are left out."""
    sessions = [HistorySession(f"telegram_{number}") for number in range(history_module.MAX_SESSIONS + 5)]
    history.append(replace(EVENT, sessions=sessions[:-5]))
    history.append(replace(EVENT, sessions=sessions, sessions_omitted=2))
    first, second = history.read()[0]
    assert (len(first.sessions), first.sessions_omitted) == (history_module.MAX_SESSIONS, 0)
    assert (len(second.sessions), second.sessions_omitted) == (history_module.MAX_SESSIONS, 7)
    assert second.sessions == sessions[:-5]


def test_event_with_long_ids_is_bounded_in_bytes(history: History) -> None:
    """Ids may be long: an event is short all the same."""
    sessions = [HistorySession("telegram_" + "é" * 5000) for _ in range(1000)]
    history.append(replace(EVENT, sessions=sessions))
    (event,) = history.read()[0]
    assert 50 < len(event.sessions) < 1000 == len(event.sessions) + event.sessions_omitted
    assert history.path.stat().st_size <= history_module.MAX_EVENT_BYTES + 1


def test_history_forgets_what_is_too_old(history: History) -> None:
    """Up to 400 days old events stay; then those of more than 370 days go, as they are not needed to be written anew daily."""
    for day in (0, 20, 40, 400):
        history.append(on(day))
    assert days(history) == [0, 20, 40, 400]
    for day in (401, 402):
        history.append(on(day, because="more"))
    assert days(history) == [40, 400, 401, 402]


def test_clock_that_jumps_ahead_does_not_take_the_history(history: History) -> None:
    """One event of a wrong time does not make all others look old."""
    for day in (0, 1, 2, 30_000):
        history.append(on(day))
    history.append(on(3))
    assert days(history) == [0, 1, 2, 30_000, 3]


def test_history_that_gets_large_keeps_the_newest_as_they_are(
    history: History, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its size the file is written anew with the newest lines, unknown fields included, damaged ones not."""
    newer = msgspec.json.encode({**msgspec.to_builtins(on(0)), "mood": "good"})
    path.mkdir()
    history.path.write_bytes(b"garbage\n" + newer + b"\n")
    size = len(history_module._encode_line(EVENT))
    monkeypatch.setattr(history_module, "MAX_BYTES", 4 * size)
    monkeypatch.setattr(history_module, "KEEP_BYTES", 3 * size + 20)
    history.append(on(1))
    history.append(on(2))
    assert history.read()[1] == 1
    history.append(on(3))
    assert (days(history), history.read()[1]) == ([1, 2, 3], 0)
    monkeypatch.setattr(history_module, "KEEP_BYTES", 9 * size)
    history.path.write_bytes(b"garbage\n" + newer + b"\n" + newer + b"\n")
    history.append(on(1))
    history.append(on(2))
    assert history.path.read_bytes().startswith(newer + b"\n" + newer + b"\n")
    assert os.listdir(path) == ["history.jsonl"]


@pytest.mark.parametrize("call", ["rename", "unlink"])
def test_history_that_cannot_be_shortened_still_takes_events(
    history: History, fs: FaultyOs, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """An event that is on the disk is no failure because the file is too long."""
    history.append(on(0))
    monkeypatch.setattr(history_module, "MAX_BYTES", 100)
    monkeypatch.setattr(history_module, "KEEP_BYTES", 500)
    fs.fail("rename", errno.EACCES)
    fs.fail(call, errno.EACCES)
    history.append(on(1))
    assert logs.one(NOT_SHORTENED)["level"] == "warning"
    assert days(history) == [0, 1]


def test_shortening_is_durable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file is synced before it gets its name, and the name before the call returns."""
    history_at(path).append(on(0))
    monkeypatch.setattr(history_module, "MAX_BYTES", 100)
    monkeypatch.setattr(history_module, "KEEP_BYTES", 500)
    fs = DurableOs(path)
    history_at(path, fs).append(on(1))
    assert days(history_at(path)) == [1]
    assert fs.broken == []
    assert fs.unsynced == set()


def test_huge_history_is_read_from_its_end(history: History, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse or hostile file takes neither time nor memory, and the events at its end are read."""
    path.mkdir()
    with history.path.open("wb") as file:
        file.truncate(2**40)
    with history.path.open("ab") as file:
        file.write(b"\n" + history_module._encode_line(on(1)))
    assert days(history) == [1]
    history.append(on(2))
    assert days(history) == [1, 2]
    assert history.path.stat().st_size < 2000
