"""``history``: what was removed, when, by whom and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from miniclaw.session.entries import FileTally, Tally
from miniclaw.session.records.history import HistoryEvent, HistorySession
from tests.fakes.folders import state_in
from tests.fakes.program import Program

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


def record(sessions_dir: Path, *events: HistoryEvent) -> None:
    """Write events into the history, as the services do."""
    history = state_in(sessions_dir).history()
    for event in events:
        history.append(event)


EVENTS = [
    HistoryEvent(
        at=NOW, event="cleanup", by="service", reasons={"ttl": Tally(1200, 5000), "max_sessions": Tally(2, 100)},
        bytes_freed=5100, sessions_scanned=4000, leftovers={"trash": FileTally(1, 10), "temporary": FileTally(3, 9)},
    ),
    HistoryEvent(
        at=NOW + timedelta(days=1), event="held", by="service", because="it would remove 90 of 100 sessions",
        reasons={"ttl": Tally(90, 900)},
    ),
    HistoryEvent(
        at=NOW + timedelta(days=2), event="deleted", by="command", bytes_freed=300, reasons={"deleted": Tally(1, 300)},
        sessions=[HistorySession("web_\x1b[31m\na", NOW, 300, "deleted")],
    ),
]  # fmt: skip


def test_history_tells_events_for_a_person_the_newest_last(program: Program) -> None:
    """When, what, who, how many, how much, and why; what others wrote is escaped."""
    record(program.sessions_dir, *EVENTS)
    result = program.run("history")
    assert (result.code, result.err) == (0, "")
    assert [line.split("\t") for line in result.lines] == [
        ["WHEN (UTC)", "WHAT", "BY", "SESSIONS", "FREED", "DETAILS"],
        ["2026-11-23 04:00:00", "cleanup", "service", "1,202", "5.0 KiB",
         "ttl 1,200; max_sessions 2; trash 1 file; temporary 3 files"],
        ["2026-11-24 04:00:00", "held", "service", "90", "0 B", "ttl 90; it would remove 90 of 100 sessions"],
        ["2026-11-25 04:00:00", "deleted", "command", "1", "300 B", "web_\\x1b[31m\\na"],
    ]  # fmt: skip


@pytest.mark.parametrize(("limit", "kinds"), [("1", ["deleted"]), ("2", ["held", "deleted"]),
                                              ("9", ["cleanup", "held", "deleted"])])  # fmt: skip
def test_history_limit_shows_the_newest(program: Program, limit: str, kinds: list[str]) -> None:
    """The newest are what somebody asks for."""
    record(program.sessions_dir, *EVENTS)
    assert [event["event"] for event in program.run("history", "--json", "--limit", limit).json] == kinds
    assert [line.split("\t")[1] for line in program.run("history", "--limit", limit).lines[1:]] == kinds


def test_history_json_is_the_events_as_they_are(program: Program) -> None:
    """For programs: everything that the file says, the sessions too."""
    record(program.sessions_dir, *EVENTS)
    first, held, deleted = program.run("history", "--json").json
    assert first["reasons"] == {"ttl": {"sessions": 1200, "bytes": 5000}, "max_sessions": {"sessions": 2, "bytes": 100}}
    assert first["leftovers"]["temporary"] == {"files": 3, "bytes": 9}
    assert held["because"] == "it would remove 90 of 100 sessions"
    assert deleted["sessions"][0]["session_id"] == "web_\x1b[31m\na"


def test_history_that_is_damaged_is_read_as_far_as_it_goes(program: Program) -> None:
    """A line that was cut off costs that line; how many, is told."""
    record(program.sessions_dir, *EVENTS)
    with (program.state_dir / "history.jsonl").open("ab") as file:
        file.write(b'{"version": 1, "at": "2026')
    result = program.run("history")
    assert result.code == 0
    assert len(result.lines) == 4
    assert result.err == "1 line of the history could not be read.\n"
    shown = program.run("history", "--json")
    assert (len(shown.json), shown.err) == (3, result.err)


def test_history_of_nothing_is_empty_and_makes_nothing(program: Program) -> None:
    """Before the first event there is none; that is no error."""
    result = program.run("history")
    assert (result.code, len(result.lines), result.err) == (0, 1, "")
    assert program.run("history", "--json").json == []
    assert not program.home.exists()


def test_history_that_cannot_be_read_names_its_file(program: Program) -> None:
    """A directory in its place is told by its path."""
    path = program.state_dir / "history.jsonl"
    path.mkdir(parents=True)
    result = program.run("history")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"miniclaw: {path}: could not read: ")


def test_history_of_an_announcement_tells_how_many_and_why(program: Program) -> None:
    """It is no removal: nothing came free; when it goes is in the JSON, and few sessions are named."""
    goes_at = NOW + timedelta(days=1)
    event = HistoryEvent(
        at=NOW, event="announced", by="service", reasons={"ttl": Tally(2, 900)}, because="a rule was tightened",
        sessions=[HistorySession("web_a", NOW, 500, "ttl"), HistorySession("web_b", NOW, 400, "ttl")],
        leftovers={"quarantined": FileTally(1, 70)}, announced=2, goes_at=goes_at,
    )  # fmt: skip
    record(program.sessions_dir, event)
    assert program.run("history").lines[1].split("\t") == [
        "2026-11-23 04:00:00", "announced", "service", "2", "0 B",
        "ttl 2; quarantined 1 file; web_a, web_b; a rule was tightened",
    ]  # fmt: skip
    (told,) = program.run("history", "--json").json
    assert (told["announced"], datetime.fromisoformat(told["goes_at"])) == (2, goes_at)
