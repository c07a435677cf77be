"""``sessions forecast``: what will expire on which day, and what is on the disk then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes.program import Program
from tests.fakes.states import remember_run


@pytest.fixture
def three(program: Program) -> Program:
    """A workspace of which one session is expired, and the others after one and three days; all are announced."""
    program.add("web_now", days=30.5)
    program.add("web_one", days=29.5)
    program.add("web_three", days=27.5)
    remember_run(program.sessions_dir, datetime.now(UTC) - timedelta(hours=4), announced=timedelta(hours=21))
    return program


def test_forecast_tells_what_goes_on_which_day(three: Program) -> None:
    """A row for now and for each day; the figures of the last are what is left, where no trash keeps it."""
    three.write_config('[session]\ntrash_for = "off"\n')
    sizes = {path.stem: path.stat().st_size for path in three.sessions_dir.glob("*.json")}
    result = three.run("sessions", "forecast", "--days", "3")
    assert (result.code, result.err) == (0, "")
    cells = [line.split("\t") for line in result.lines[:5]]
    assert cells[0] == ["DAY", "SESSIONS", "SIZE", "LEFT", "ON DISK"]
    assert [row[1] for row in cells[1:]] == ["1", "1", "0", "1"]
    assert [row[2] for row in cells[1:]] == [f"{sizes['web_now']} B", f"{sizes['web_one']} B", "0 B",
                                             f"{sizes['web_three']} B"]  # fmt: skip
    assert [row[3] for row in cells[1:]] == ["2", "1", "1", "0"]
    first = datetime.fromisoformat(cells[1][0]).date()
    assert [row[0] for row in cells[1:]] == [(first + timedelta(days=day)).isoformat() for day in range(4)]
    assert result.lines[-3:] == [
        "Without further use, 3 of 3 sessions will be deleted in 3 days.",
        f"3 sessions due, {sum(sizes.values())} B; `miniclaw sessions due` lists them.",
        f"On disk: {sum(sizes.values())} B now, 0 B then.",
    ]


def test_forecast_json_holds_every_day(three: Program) -> None:
    """For programs: thirty days unless said otherwise, times with a zone."""
    before = datetime.now(UTC)
    course = three.run("sessions", "forecast", "--json").json
    assert before <= datetime.fromisoformat(course["now"]) <= datetime.now(UTC)
    assert course["sessions_now"] == 3
    assert course["due"] == {"sessions": 3, "bytes": course["bytes_now"]}
    assert len(course["days"]) == 31
    assert [day["sessions"] for day in course["days"][:5]] == [1, 1, 0, 1, 0]
    assert sum(day["bytes"] for day in course["days"]) == course["bytes_now"]
    assert course["days"][-1]["bytes_left"] == 0


def test_forecast_agrees_with_the_dry_run_about_now(three: Program) -> None:
    """The first day is what a cleanup would remove now, with budgets and what lies in trash and quarantine."""
    three.write_config('[session]\nmax_sessions = 1\nmax_disk_bytes = "2MiB"\n')
    quarantine = three.sessions_dir / ".quarantine"
    quarantine.mkdir()
    (quarantine / "web_c.json.20261101T000000Z-0123abcd").write_bytes(b"x" * 1000)
    course = three.run("sessions", "forecast", "--days", "0", "--json").json
    plan = three.run("sessions", "cleanup", "--dry-run", "--json").json
    assert len(course["days"]) == 1
    assert (course["days"][0]["sessions"], course["days"][0]["bytes"]) == (2, plan["remove"]["bytes"])
    assert course["bytes_now"] == plan["sessions_bytes"] + 1000


@pytest.mark.parametrize(("notice", "expected"), [("on", [0, 2, 0, 1]), ("off", [1, 1, 0, 1])])
def test_forecast_of_what_is_not_announced_has_it_a_day_later(
    program: Program, notice: str, expected: list[int]
) -> None:
    """The first run only announces what has expired, unless nothing waits for a notice."""
    program.write_config(f'[session]\nnotice = "{notice}"\n')
    for days in (30.5, 29.5, 27.5, 20):
        program.add(f"web_{days}", days=days)
    course = program.run("sessions", "forecast", "--days", "3", "--json").json
    assert [day["sessions"] for day in course["days"]] == expected
    assert course["due"]["sessions"] == 3


def test_forecast_of_nothing_is_no_error(program: Program) -> None:
    """Before the first session nothing will go, and nothing is made."""
    result = program.run("sessions", "forecast", "--days", "1")
    assert (result.code, result.err) == (0, "")
    assert result.lines[-2] == "Without further use, 0 of 0 sessions will be deleted in 1 day."
    assert not program.home.exists()


def test_forecast_on_a_terminal_has_bars_in_proportion(program: Program) -> None:
    """The longest bar is the day on which most go; a day on which something goes has one, another has none."""
    for number in range(40):
        program.add(f"web_{number}", days=29.5)
    program.add("web_x", days=27.5)
    result = program.run_on_terminal("sessions", "forecast", "--days", "3")
    assert result.code == 0
    bars = [line.count("█") for line in result.out.splitlines()[1:5]]
    assert bars == [0, 24, 0, 1]


def test_forecast_on_a_terminal_without_blocks_has_plain_bars(program: Program) -> None:
    """Where the terminal's encoding has no blocks, other characters do."""
    program.write_config('[session]\nnotice = "off"\n')
    program.add("web_x", days=40)
    result = program.run_on_terminal("sessions", "forecast", "--days", "0", PYTHONIOENCODING="latin-1")
    assert result.code == 0
    assert "#" * 24 in result.out


@pytest.mark.parametrize("days", ["1000000000", "36501", "-1", "1.5", "x", "", "1_0"])
def test_forecast_of_days_beyond_the_calendar_says_what_would_be_right(program: Program, days: str) -> None:
    """A hundred years are enough for anybody."""
    result = program.run("sessions", "forecast", f"--days={days}")
    assert (result.code, result.out) == (2, "")
    assert f"{days!r}: give a number of days from 0 to 36500" in result.err
