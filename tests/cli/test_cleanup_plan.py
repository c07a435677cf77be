"""``sessions cleanup`` by all rules: the plan as it is shown and as JSON, what is held, and that the run does just that."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from miniclaw.formats import format_size
from tests.cli.ways import directly
from tests.fakes.program import Program, refusing_rename

UNMET = "max_sessions: it cannot be met, what is left is protected or would not be enough"
DOCS = Path(__file__).parents[2] / "docs" / "commands.md"

BOTH_WAYS = True


def _add_leftovers(program: Program) -> dict[str, str]:
    """Leave one leftover of each kind behind that is old enough to go, and return the kinds by their files."""
    directory = program.sessions_dir
    (directory / ".quarantine").mkdir(parents=True)
    (directory / ".work" / "rm-0123456789abcdef").mkdir(parents=True)
    files = {
        "web_q.json.20200101T000000Z-0123abcd": "quarantined",
        "tmp-0123456789abcdef": "temporary",
        "web_l.json.corrupted": "legacy",
    }
    places = [directory / ".quarantine", directory / ".work", directory]
    ago = (datetime.now(UTC) - timedelta(days=3)).timestamp()
    for (name, _), place in zip(files.items(), places, strict=True):
        (place / name).write_bytes(b"x" * 100)
        os.utime(place / name, (ago, ago))
    (directory / ".quarantine" / "notes.txt").write_text("mine")
    return files


@pytest.fixture
def full(program: Program) -> Program:
    """A workspace in which several rules take something, and leftovers of several kinds go."""
    program.write_config('[session]\nmax_sessions = 3\ntrash_for = "7d"\n')
    for days in (1.5, 2.5, 3.5, 4.5, 31, 32):
        program.add(f"web_{days}", days=days)
    program.add("web_pinned", days=99)
    assert program.run("sessions", "pin", "web_pinned").code == 0
    _add_leftovers(program)
    return program


@directly("a start sweeps temporary files")
def test_dry_run_is_grouped_by_reason_then_rows_then_leftovers(full: Program) -> None:
    """First how many go why, then which, the oldest first in each group, then what is beside the sessions."""
    sizes = {path.stem: path.stat().st_size for path in full.sessions_dir.glob("*.json")}
    going = sum(sizes[f"web_{days}"] for days in (31, 32, 3.5, 4.5))
    before = full.content()
    result = full.run("sessions", "cleanup", "--dry-run")
    assert (result.code, result.err) == (0, "")
    assert full.content() == before
    assert [line.split("\t") for line in result.lines] == [
        ["REASON", "SESSIONS", "SIZE"],
        ["ttl", "2", f"{sizes['web_31'] + sizes['web_32']} B"],
        ["max_sessions", "2", f"{sizes['web_3.5'] + sizes['web_4.5']} B"],
        [""],
        ["SESSION", "LAST USED", "SIZE", "REASON"],
        ["web_32", "32d", f"{sizes['web_32']} B", "ttl"],
        ["web_31", "31d", f"{sizes['web_31']} B", "ttl"],
        ["web_4.5", "4d", f"{sizes['web_4.5']} B", "max_sessions"],
        ["web_3.5", "3d", f"{sizes['web_3.5']} B", "max_sessions"],
        [""],
        ["LEFTOVERS", "REASON", "FILES", "SIZE"],
        ["in quarantine", "quarantine_expired", "1", "100 B"],
        ["temporary files", "no_owner", "1", "100 B"],
        ["of an earlier implementation, to be moved to quarantine", "legacy", "1", "100 B"],
        [""],
        ["FILE", "AGE", "SIZE", "REASON"],
        ["web_q.json.20200101T000000Z-0123abcd", result.lines[16].split("\t")[1], "100 B", "quarantine_expired"],
        ["tmp-0123456789abcdef", "3d", "100 B", "no_owner"],
        ["web_l.json.corrupted", "3d", "100 B", "legacy"],
        [""],
        [f"4 sessions would be removed, {format_size(going)}, of 7 scanned. Nothing was changed."],
        ["1 kept: pinned."],
        ["left alone: .quarantine/notes.txt: its name is not that of a file in quarantine, which ends in .TIME-RANDOM"],
    ]  # fmt: skip


@directly("a start sweeps temporary files")
def test_dry_run_json_is_the_whole_plan(full: Program) -> None:
    """For programs: every count and every row; all that goes, and why."""
    plan = full.run("sessions", "cleanup", "--dry-run", "--json").json
    assert plan["version"] == 2
    assert (plan["sessions_scanned"], plan["readable"], plan["pinned"]) == (7, 7, 1)
    assert plan["sessions_bytes"] == sum(path.stat().st_size for path in full.sessions_dir.glob("*.json"))
    assert {reason: tally["sessions"] for reason, tally in plan["by_reason"].items()} == {"ttl": 2, "max_sessions": 2}
    assert sum(tally["bytes"] for tally in plan["by_reason"].values()) == plan["remove"]["bytes"]
    assert {(row["session_id"], row["reason"], row["removes"]) for row in plan["sessions"]} == {
        ("web_31", "ttl", True), ("web_32", "ttl", True), ("web_3.5", "max_sessions", True),
        ("web_4.5", "max_sessions", True),
    }  # fmt: skip
    assert plan["leftovers_by_kind"] == {
        kind: {"files": 1, "bytes": 100} for kind in ("quarantined", "temporary", "legacy")
    }
    assert {(row["kind"], row["reason"]) for row in plan["leftovers"]} == {
        ("quarantined", "quarantine_expired"), ("temporary", "no_owner"), ("legacy", "legacy"),
    }  # fmt: skip
    assert (plan["held"], plan["unmet"], plan["min_idle"], plan["future"]) == (None, [], 0, [])
    assert [problem["file"] for problem in plan["problems"]] == [".quarantine/notes.txt"]


def test_dry_run_json_fields_are_those_of_the_documentation(full: Program) -> None:
    """The plan is versioned: a field that is not described, or described and not there, is a mistake."""
    plan = full.run("sessions", "cleanup", "--dry-run", "--json").json
    section = DOCS.read_text(encoding="utf-8").partition("### The plan as JSON")[2].partition("\n## ")[0]
    described = re.findall(r"^\| `(\w+)`", section, re.MULTILINE)
    assert described == list(plan)


@directly("it reads the log")
def test_cleanup_does_what_the_dry_run_says(full: Program) -> None:
    """The same sessions, the same leftovers, and the rest as it was."""
    plan = full.run("sessions", "cleanup", "--dry-run", "--json").json
    before = full.files()
    result = full.run("sessions", "cleanup", "--yes")
    assert result.code == 0
    assert "temporary=1" in result.err  # what a program that died has left goes as soon as somebody owns the place
    assert before - full.files() == {row["file"] for row in plan["sessions"]} | {"web_l.json.corrupted"}
    assert result.lines[0].startswith("7 sessions scanned, 4 removed, ")
    assert result.lines[1:] == [
        "removed: 2 ttl, 2 max_sessions.",
        "4 in the trash; `miniclaw trash list` shows them, and `miniclaw trash restore ID` restores one.",
        "leftovers removed: 1 quarantined; 1 of them in the trash.",
        "moved to quarantine: 1 of an earlier implementation.",
        "1 kept: pinned.",
    ]
    assert not (full.sessions_dir / ".work" / "tmp-0123456789abcdef").exists()
    quarantine = {path.name.partition(".json")[0] for path in (full.sessions_dir / ".quarantine").iterdir()}
    assert quarantine == {"notes.txt", "web_l"}
    again = full.run("sessions", "cleanup", "--dry-run", "--json").json
    assert (again["sessions"], again["leftovers"]) == ([], [])


@directly("a start sweeps temporary files")
def test_cleanup_question_names_leftovers(full: Program) -> None:
    """Whoever says yes knows to what; a no changes nothing."""
    before = full.content()
    result = full.run_on_terminal("sessions", "cleanup", prompt="[y/N]: ", answer="n\n")
    assert result.code == 1
    assert re.search(r"Remove 4 sessions, .* and 3 leftovers, 300 B\?", result.out)
    assert full.content() == before


def _crowd(program: Program) -> None:
    program.write_config("[session]\nmax_removed_fraction = 0.5\n")
    for number in range(20):
        program.add(f"web_{number}", days=31 if number < 12 else 1)


def test_cleanup_that_is_held_removes_nothing_and_says_how_to_let_it_through(program: Program) -> None:
    """Exit code 1, the reason and the command; also without anybody to ask, and with --yes."""
    _crowd(program)
    before = program.files()
    dry = program.run("sessions", "cleanup", "--dry-run")
    reason = "it would remove 12 of 20 sessions, more than max_removed_fraction = 0.5 allows"
    assert f"A cleanup would be held: {reason}. To let it through: `miniclaw sessions cleanup --confirm`" in dry.lines
    assert program.run("sessions", "cleanup", "--dry-run", "--json").json["held"] == reason
    for options in ([], ["--yes"]):
        result = program.run("sessions", "cleanup", "--yes", *options)
        assert result.code == 1
        assert f"Held: {reason}. Nothing was removed; to let it through: `miniclaw sessions cleanup --confirm`" in (
            result.err.splitlines()
        )
        assert "Session cleanup held" not in result.err  # the log would say the same once more
        assert program.files() == before
    as_json = program.run("sessions", "cleanup", "--yes", "--json")
    assert (as_json.code, as_json.json["held"], as_json.json["sessions_deleted"]) == (1, reason, 0)
    on_terminal = program.run_on_terminal("sessions", "cleanup")
    assert on_terminal.code == 1
    assert "[y/N]" not in on_terminal.out
    assert program.files() == before
    assert program.run("history", "--json").json[-1]["event"] == "held"


def test_cleanup_confirmed_lets_through_what_was_held(program: Program) -> None:
    """What somebody has confirmed goes, at a terminal after the question, which says that it is much."""
    _crowd(program)
    asked = program.run_on_terminal("sessions", "cleanup", "--confirm", prompt="[y/N]: ", answer="n\n")
    assert asked.code == 1
    assert "That is much: it would remove 12 of 20 sessions" in asked.out
    assert len(program.files()) == 20
    result = program.run("sessions", "cleanup", "--yes", "--confirm")
    assert result.code == 0
    assert program.files() == {f"web_{number}.json" for number in range(12, 20)}
    assert program.run("sessions", "cleanup", "--yes").code == 0


def test_cleanup_tells_budgets_that_stay_unmet(program: Program) -> None:
    """What is left is protected, and how much of it by min_idle; that is no failure."""
    program.write_config("[session]\nmax_sessions = 1\n")
    for number in range(3):
        program.add(f"web_{number}", days=0.1)
    dry = program.run("sessions", "cleanup", "--dry-run")
    assert f"unmet: {UNMET}." in dry.lines
    assert "2 kept: a budget would take it, but for min_idle." in dry.lines
    plan = program.run("sessions", "cleanup", "--dry-run", "--json").json
    assert (plan["unmet"], plan["min_idle"]) == (["max_sessions"], 2)
    result = program.run("sessions", "cleanup", "--yes")
    assert result.code == 0
    assert f"unmet: {UNMET}.\n" in result.err
    assert len(program.files()) == 3


def test_dry_run_without_sessions_lists_the_trash_that_expired(program: Program) -> None:
    """Where the sessions directory is gone there may still be the trash of an earlier version to be looked at."""
    program.write_config('[session]\ntrash_for = "1h"\n')
    program.add("web_a", days=1)
    assert program.run("sessions", "delete", "--yes", "web_a").code == 0
    (program.trash_dir / "notes.txt").write_text("mine")
    program.trash_dir.rename(program.home / "workspace" / "trash")
    for path in sorted(program.sessions_dir.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    program.sessions_dir.rmdir()
    result = program.run("sessions", "cleanup", "--dry-run")
    assert result.code == 0
    assert result.lines[0] == "0 sessions would be removed, 0 B, of 0 scanned. Nothing was changed."
    assert result.lines[1].startswith("left alone: notes.txt: ")
    assert not program.sessions_dir.exists()
    assert program.run("trash", "restore", "web_a").code == 0
    assert program.files() == {"web_a.json"}
    assert program.sessions_dir.stat().st_mode & 0o777 == 0o700


def test_dry_run_names_what_is_ahead_of_the_clock_and_counts_many_strangers(program: Program) -> None:
    """The first twenty entries that are not ours are named, and how many more there are."""
    program.add("web_\nfuture", days=-3)
    for number in range(23):
        (program.sessions_dir / f"note-{number}").touch()
    result = program.run("sessions", "cleanup", "--dry-run")
    assert "kept: web_\\nfuture is ahead of the clock" in result.lines
    assert sum(line.startswith("left alone: note-") for line in result.lines) == 20
    assert result.lines[-1] == "left alone: 3 entries more; --json has them all"
    problems = program.run("sessions", "cleanup", "--dry-run", "--json").json["problems"]
    assert len(problems) == 23


@directly("it changes the command's own process")
def test_cleanup_that_the_system_refuses_is_exit_code_1(program: Program) -> None:
    """What could not be removed is counted and stays; the others go."""
    program.add("web_a", days=31)
    path = program.add("web_b", days=31)
    result = program.run_python(refusing_rename("web_b.json"), "sessions", "cleanup", "--yes")
    assert result.code == 1
    assert result.lines[0].startswith("2 sessions scanned, 1 removed, ")
    assert "1 could not be removed; the log above says why.\n" in result.err
    assert "web_b" in result.err
    assert path.exists()
