"""``sessions stats``: counts, sizes and ages, by channel and in all."""

from __future__ import annotations

from datetime import timedelta

import pytest

from miniclaw.cli.sessions.stats import percentile
from tests.fakes.program import Program


@pytest.mark.parametrize(
    ("number", "percent", "expected"),
    [(0, 50, None), (1, 50, 1), (1, 100, 1), (2, 50, 1), (3, 50, 2), (4, 90, 4), (100, 50, 50), (100, 90, 90),
     (100, 99, 99), (100, 100, 100), (1000, 99, 990), (10, 1, 1)],
)  # fmt: skip
def test_percentile_is_the_least_value_that_so_many_are_not_above(
    number: int, percent: int, expected: int | None
) -> None:
    """The nearest rank: a value that there is, and never one in between."""
    assert percentile(range(1, number + 1), percent) == expected


def test_stats_json_counts_by_channel_and_in_all(program: Program) -> None:
    """Counts, bytes and percentiles, of each channel and of everything."""
    sizes = {}
    for days in range(1, 11):
        channel = "web" if days <= 8 else "mail"
        sizes[days] = program.add(f"{channel}_{days}", days=days, mood="x" * days * 100).stat().st_size
    (program.sessions_dir / "web_bad.json").write_text("{")
    stats = program.run("sessions", "stats", "--json").json
    assert stats["all"]["sessions"] == 10
    assert stats["all"]["bytes"] == sum(sizes.values())
    assert list(stats["channels"]) == ["mail", "web"]
    assert stats["channels"]["mail"]["sessions"] == 2
    assert stats["channels"]["mail"]["bytes"] == sizes[9] + sizes[10]
    assert stats["all"]["age_days"] == pytest.approx({"p50": 5, "p90": 9, "p99": 10, "max": 10}, abs=0.01)
    assert stats["all"]["size_bytes"] == {"p50": sizes[5], "p90": sizes[9], "p99": sizes[10], "max": sizes[10]}
    assert stats["channels"]["web"]["size_bytes"]["max"] == sizes[8]
    assert stats["unreadable"] == 1


def test_stats_for_a_person_are_humanised(program: Program) -> None:
    """Ages and sizes with a unit, a line for each channel, and one for all."""
    program.add("web_a", days=2.5)
    program.add("mail_b", days=0.5, mood="x" * 5000)
    result = program.run("sessions", "stats")
    assert result.code == 0
    cells = [line.split("\t") for line in result.lines]
    assert cells[0] == ["CHANNEL", "SESSIONS", "AGE P50", "AGE P90", "AGE P99", "AGE MAX"]
    assert cells[1] == ["mail", "1", "12h", "12h", "12h", "12h"]
    assert cells[2] == ["web", "1", "2d", "2d", "2d", "2d"]
    assert cells[3] == ["all", "2", "12h", "2d", "2d", "2d"]
    assert cells[5] == ["CHANNEL", "SIZE", "SIZE P50", "SIZE P90", "SIZE P99", "SIZE MAX"]
    assert cells[6][0] == "mail"
    assert cells[6][1] == "5.1 KiB"
    assert "unreadable" not in result.out


def test_stats_of_trash_and_quarantine_are_told(program: Program) -> None:
    """What takes room beside the sessions is counted, damaged files too."""
    program.write_config('[session]\ntrash_for = "7d"\n')
    program.add("web_a", days=2)
    program.add("web_b", days=2).write_text("{")
    assert program.run("sessions", "delete", "--yes", "web_a").code == 0
    quarantine = program.sessions_dir / ".quarantine"
    quarantine.mkdir()
    (quarantine / "web_c.json.20261101T000000Z-0123abcd").write_bytes(b"x" * 100)
    result = program.run("sessions", "stats")
    assert any(line.startswith("trash       1 file, ") for line in result.lines)
    assert "quarantine  1 file, 100 B" in result.lines
    assert "unreadable  1 file" in result.lines
    stats = program.run("sessions", "stats", "--json").json
    assert stats["quarantine"] == {"files": 1, "bytes": 100}
    assert stats["trash"]["files"] == 1
    assert stats["trash"]["bytes"] == sum(path.stat().st_size for path in program.trash_dir.iterdir())


def test_stats_of_nothing_are_empty_and_make_nothing(program: Program) -> None:
    """Before the first session there is nothing to count; that is no error."""
    result = program.run("sessions", "stats")
    assert (result.code, result.err) == (0, "")
    assert ["all", "0", "-", "-", "-", "-"] in [line.split("\t") for line in result.lines]
    stats = program.run("sessions", "stats", "--json").json
    assert stats["all"]["age_days"] == {"p50": None, "p90": None, "p99": None, "max": None}
    assert not program.home.exists()


def test_percentile_works_for_durations() -> None:
    """Ages are compared as they are."""
    ages = [timedelta(days=day) for day in (1, 2, 3)]
    assert percentile(ages, 50) == timedelta(days=2)
