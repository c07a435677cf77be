"""``sessions due``: which sessions go soon, why, whether that was announced, and when they go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.ways import directly
from tests.fakes.program import Program, Result
from tests.fakes.states import remember_run

BOTH_WAYS = True

HEADINGS = ["SESSION", "LAST USED", "SIZE", "REASON", "ANNOUNCED", "GOES (UTC)"]
HINT = "A message to a session keeps it; so does `miniclaw sessions pin ID`."


def rows_of(result: Result) -> list[list[str]]:
    """Return the cells of the table."""
    assert (result.code, result.err) == (0, ""), result
    table = result.lines[: result.lines.index("")]
    cells = [line.split("\t") for line in table]
    assert cells[0] == HEADINGS
    return cells[1:]


def minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


@directly("a start writes its own state")
def test_due_lists_what_goes_first_first(program: Program) -> None:
    """What had expired before anybody announced it goes a run later than what was announced; pinned ones do not go."""
    for days in (31, 25, 22):
        program.add(f"web_{days}", days=days)
    program.add("web_pinned", days=40, pinned=True)
    last = datetime.now(UTC) - timedelta(hours=4)
    remember_run(program.sessions_dir, last, announced=timedelta(hours=21))
    program.add("web_new", days=40)
    rows = rows_of(result := program.run("sessions", "due"))
    assert [(row[0], row[1], row[3], row[4]) for row in rows] == [
        ("web_31", "31d", "ttl", "yes"),
        ("web_new", "40d", "ttl", "next run"),
        ("web_25", "25d", "ttl", "yes"),
    ]
    next_run = last + timedelta(days=1)
    assert [row[5] for row in rows] == [minute(next_run + timedelta(days=days)) for days in (0, 1, 5)]
    assert result.lines[-2].startswith("3 sessions due, ")
    assert result.lines[-2].endswith(", of 5.")
    assert result.lines[-1] == HINT


@directly("a start writes its own state")
def test_due_json_has_a_row_for_each_session(program: Program) -> None:
    """For programs: the rows of the dry run's `due_sessions`."""
    size = program.add("web_25", days=25).stat().st_size
    last = datetime.now(UTC) - timedelta(hours=4)
    remember_run(program.sessions_dir, last, announced=timedelta(hours=4))
    (row,) = program.run("sessions", "due", "--json").json
    assert datetime.fromisoformat(row.pop("goes_at")) - last == timedelta(days=6)
    assert abs(row.pop("age_days") - 25) < 0.01
    assert datetime.fromisoformat(row.pop("last_accessed")) < last
    assert row == {"session_id": "web_25", "bytes": size, "reason": "ttl", "announced": True}
    (planned,) = program.run("sessions", "cleanup", "--dry-run", "--json").json["due_sessions"]
    assert (planned["session_id"], planned["announced"]) == ("web_25", True)


def test_due_where_nothing_is_says_so(program: Program) -> None:
    """No table and no hint; in JSON no rows."""
    program.add("web_1", days=1)
    result = program.run("sessions", "due")
    assert (result.code, result.lines) == (0, ["0 sessions due, 0 B, of 1."])
    assert program.run("sessions", "due", "--json").json == []


@directly("there is nothing that a gateway could own")
def test_due_of_nothing_at_all_makes_nothing(program: Program) -> None:
    """Before the first session nothing is due, and nothing is made by looking."""
    assert program.run("sessions", "due").lines == ["0 sessions due, 0 B, of 0."]
    assert not program.home.exists()


def test_due_by_max_sessions_is_named_as_such(program: Program) -> None:
    """The least recently used beyond the number; they wait for a notice as the others do."""
    program.write_config("[session]\nmax_sessions = 2\n")
    for days in (2, 3, 4):
        program.add(f"web_{days}", days=days)
    ((session, *_, reason, announced, _),) = rows_of(program.run("sessions", "due"))
    assert (session, reason, announced) == ("web_4", "max_sessions", "next run")


@directly("a start writes its own state")
def test_due_that_a_budget_takes_before_its_ttl_goes_with_the_next_run(program: Program) -> None:
    """It is announced, and so the budget may take it; the list does not promise more days than there are."""
    program.write_config("[session]\nmax_sessions = 1\n")
    for days in (25, 24):
        program.add(f"web_{days}", days=days)
    last = datetime.now(UTC) - timedelta(hours=4)
    remember_run(program.sessions_dir, last, announced=timedelta(hours=21))
    next_run = last + timedelta(days=1)
    assert [(row[0], row[3], row[5]) for row in rows_of(program.run("sessions", "due"))] == [
        ("web_25", "max_sessions", minute(next_run)), ("web_24", "ttl", minute(next_run + timedelta(days=6))),
    ]  # fmt: skip
    plan = program.run("sessions", "cleanup", "--dry-run")
    assert "1 more due soon, " in plan.out


def test_due_where_no_run_comes_by_itself_says_so(program: Program) -> None:
    """They are due, and nobody deletes them but a command."""
    program.write_config('[session]\ncleanup_interval = "never"\n')
    program.add("web_old", days=31)
    assert rows_of(program.run("sessions", "due"))[0][-1] == "not by itself"
    assert program.run("sessions", "due", "--json").json[0]["goes_at"] is None


def test_due_in_the_mode_announce_says_that_nothing_is_deleted(program: Program) -> None:
    """The list is the same; it ends with what the mode means."""
    program.write_config('[session]\nmode = "announce"\n')
    program.add("web_old", days=31)
    result = program.run("sessions", "due")
    assert rows_of(result)[0][-1] == "not by itself"
    assert result.lines[-1] == "The mode is to announce: nothing is deleted by itself."
    assert program.run("sessions", "due", "--json").json[0]["goes_at"] is None


@directly("a start writes its own state")
def test_due_without_notice_goes_with_the_next_run(program: Program) -> None:
    """Where nothing waits, what has expired goes at once, and what has not is still told of a week before."""
    program.write_config('[session]\nnotice = "off"\n')
    program.add("web_old", days=31)
    program.add("web_25", days=25)
    last = datetime.now(UTC) - timedelta(hours=4)
    remember_run(program.sessions_dir, last)
    rows = rows_of(program.run("sessions", "due"))
    next_run = last + timedelta(days=1)
    assert [(row[0], row[5]) for row in rows] == [
        ("web_old", minute(next_run)), ("web_25", minute(next_run + timedelta(days=5))),
    ]  # fmt: skip


@directly("a start writes its own state")
def test_due_at_a_time_of_day_is_that_time(program: Program) -> None:
    """The runs come at that time of this machine, and so does the deletion."""
    program.write_config('[session]\ncleanup_at = "04:00"\n')
    program.add("web_old", days=31)
    remember_run(program.sessions_dir, datetime.now(UTC), announced=timedelta(hours=21))
    goes_at = datetime.fromisoformat(program.run("sessions", "due", "--json", TZ="UTC").json[0]["goes_at"])
    assert (goes_at.hour, goes_at.minute) == (4, 0)


@directly("a gateway tells its own log of it")
@pytest.mark.parametrize("content", [b"{", b"\xff" * 100, b'{"id": 1}'])
def test_due_with_a_state_that_cannot_be_read_goes_by_the_wall_clock_and_says_so(
    program: Program, content: bytes
) -> None:
    """Nothing counts as announced then, as for the gateway; standard error names the file."""
    program.add("web_old", days=31)
    program.state_dir.mkdir()
    (program.state_dir / "retention.json").write_bytes(content)
    result = program.run("sessions", "due")
    assert result.code == 0
    assert result.lines[1].split("\t")[4] == "next run"
    assert "State could not be read; ages are by the wall clock" in result.err
    assert "retention.json" in result.err


@directly("a gateway reads the list at its start")
def test_due_with_a_list_that_is_damaged_counts_nothing_as_announced(program: Program) -> None:
    """The worst is another announcement."""
    program.add("web_25", days=25)
    remember_run(program.sessions_dir, datetime.now(UTC), announced=timedelta(hours=4))
    path = program.state_dir / "due"
    path.write_bytes(path.read_bytes()[:-1])
    result = program.run("sessions", "due")
    assert (result.code, result.lines[1].split("\t")[4]) == (0, "next run")
    assert "List of what is due could not be read; it is announced anew" in result.err


@directly("it is about the terminal")
def test_due_on_a_terminal_fits_into_80_columns(program: Program) -> None:
    """Long ids are folded, and no row is wider than the terminal; the time of going is whole."""
    for number in range(3):
        program.add(f"telegram_-100{number}" + "1234567890" * 3, days=25 + number)
    result = program.run_on_terminal("sessions", "due", COLUMNS="80")
    assert result.code == 0
    assert max(map(len, result.out.splitlines())) <= 80
    assert result.out.count(":") >= 3
    assert " ttl " in result.out


@directly("what is shown is escaped in both ways by the same code")
def test_due_of_a_session_with_an_odd_id_is_escaped(program: Program) -> None:
    """What others have chosen does not command the terminal."""
    program.add("web_\x1b[31m", days=31)
    result = program.run("sessions", "due")
    assert "\x1b" not in result.out
    assert "web_\\x1b[31m" in result.out
