"""``sessions cleanup``: what is expired goes, nothing else does, and a dry run says it all beforehand."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from miniclaw.session.files.directory import SessionDirectory
from tests.cli.ways import directly
from tests.fakes.program import Program

BOTH_WAYS = True


def _add_problems(program: Program) -> dict[str, str]:
    """Put everything into the directory that is no sound session; return the kind of each by its name."""
    directory = program.sessions_dir
    old = program.add("web_old", days=400).read_bytes()
    (directory / "web_corrupt.json").write_text("no JSON")
    (directory / "web_empty.json").write_bytes(b"")
    (directory / "web_truncated.json").write_bytes(old[: len(old) // 2])
    (directory / "web_stolen.json").write_bytes(old)
    (directory / "web_link.json").symlink_to(directory / "web_old.json")
    (directory / "web_folder.json").mkdir()
    (directory / "notes.txt").write_text("mine")
    os.unlink(directory / "web_old.json")
    return {
        "web_corrupt.json": "corrupt",
        "web_empty.json": "corrupt",
        "web_truncated.json": "corrupt",
        "web_stolen.json": "mismatched",
        "web_link.json": "foreign",
        "web_folder.json": "foreign",
        "notes.txt": "foreign",
    }


def test_cleanup_removes_the_expired_ones_and_only_those(program: Program) -> None:
    """31 days are older than the TTL, 29 are not, and a time ahead of the clock is nobody's age."""
    program.write_config('[session]\ntrash_for = "off"\n')
    freed = sum(program.add(f"telegram_{n}", days=31 + n).stat().st_size for n in range(3))
    program.add("web_fresh", days=29)
    program.add("web_future", days=-400)
    result = program.run("sessions", "cleanup", "--yes")
    assert result.code == 0
    assert result.lines == [f"5 sessions scanned, 3 removed, {freed} B freed.", "1 kept: ahead of the clock."]
    assert program.files() == {"web_fresh.json", "web_future.json"}


def test_cleanup_json_is_the_result(program: Program) -> None:
    """For programs: all counts, as JSON and nothing else on standard output."""
    program.write_config('[session]\ntrash_for = "off"\n')
    size = program.add("telegram_1", days=31).stat().st_size
    program.add("web_fresh", days=1)
    result = program.run("sessions", "cleanup", "--yes", "--json")
    assert result.code == 0
    assert {key: result.json[key] for key in ("sessions_scanned", "sessions_deleted", "bytes_freed", "failed")} == {
        "sessions_scanned": 2, "sessions_deleted": 1, "bytes_freed": size, "failed": 0,
    }  # fmt: skip
    assert result.json["interrupted"] is False


def test_cleanup_puts_off_no_daily_run_and_announces_nothing(program: Program) -> None:
    """A command acts at once; the daily cleanup goes on at its times, and what is due is for it to announce."""
    program.add("telegram_1", days=31)
    program.add("telegram_2", days=25)
    assert program.run("sessions", "cleanup", "--yes").code == 0
    assert program.files() == {"telegram_2.json"}
    assert program.run("status", "--json").json["last_run_at"] is None
    (row,) = program.run("sessions", "due", "--json").json
    assert (row["session_id"], row["announced"]) == ("telegram_2", False)


def test_cleanup_follows_the_configured_ttls(program: Program) -> None:
    """The TTL of the channel holds before the general one, and never is never."""
    program.write_config('[session]\nttl = "5d"\nttl_by_channel = {web = "never", telegram = "60d"}\n')
    for session_id in ("other_4", "web_400", "telegram_59"):
        program.add(session_id, days=int(session_id.partition("_")[2]))
    program.add("other_6", days=6)
    program.add("telegram_61", days=61)
    assert program.run("sessions", "cleanup", "--yes").code == 0
    assert program.files() == {"other_4.json", "web_400.json", "telegram_59.json"}


def test_cleanup_goes_by_the_content_and_not_by_the_times_of_the_file(program: Program) -> None:
    """A copied or restored file is as old as its conversation."""
    old, new = program.add("web_old", days=31), program.add("web_new", days=1)
    ago = (datetime.now(UTC) - timedelta(days=400)).timestamp()
    os.utime(new, (ago, ago))
    assert program.run("sessions", "cleanup", "--yes").code == 0
    assert not old.exists()
    assert new.exists()


def test_cleanup_twice_does_nothing_more(program: Program) -> None:
    """What is gone is gone, and what was kept is kept again."""
    program.add("telegram_1", days=31)
    program.add("web_fresh", days=29)
    program.run("sessions", "cleanup", "--yes")
    assert program.run("sessions", "cleanup", "--yes").lines == ["1 session scanned, 0 removed, 0 B freed."]
    assert program.files() == {"web_fresh.json"}


def test_cleanup_before_the_first_session_is_no_error(program: Program) -> None:
    """On a fresh machine there is nothing to do, and nothing is made."""
    result = program.run("sessions", "cleanup", "--yes")
    assert (result.code, result.lines) == (0, ["0 sessions scanned, 0 removed, 0 B freed."])
    assert not program.home.exists()


@directly("it looks for the traces of an owner")
def test_dry_run_names_what_would_go_the_oldest_first_and_changes_nothing(program: Program) -> None:
    """Age, size and reason of each; no file, no state and no lock is made."""
    sizes = [program.add("telegram_1", days=31.5).stat().st_size, program.add("web_a", days=90.5).stat().st_size]
    program.add("web_fresh", days=29)
    result = program.run("sessions", "cleanup", "--dry-run")
    assert (result.code, result.err) == (0, "")
    assert [line.split("\t") for line in result.lines[:6]] == [
        ["REASON", "SESSIONS", "SIZE"],
        ["ttl", "2", f"{sum(sizes)} B"],
        [""],
        ["SESSION", "LAST USED", "SIZE", "REASON"],
        ["web_a", "90d", f"{sizes[1]} B", "ttl"],
        ["telegram_1", "31d", f"{sizes[0]} B", "ttl"],
    ]
    assert result.lines[-2] == f"2 sessions would be removed, {sum(sizes)} B, of 3 scanned. Nothing was changed."
    assert result.lines[-1].startswith("1 more due soon, ")
    assert {path.name for path in program.sessions_dir.iterdir()} == {
        "telegram_1.json", "web_a.json", "web_fresh.json",
    }  # fmt: skip
    assert not program.state_dir.exists()


def test_dry_run_json_lists_removals_future_and_problems(program: Program) -> None:
    """For programs: the whole plan, with a version."""
    kinds = _add_problems(program)
    path = program.add("telegram_1", days=31)
    program.add("web_future", days=-3)
    program.add("web_fresh", days=1)
    result = program.run("sessions", "cleanup", "--dry-run", "--json")
    assert result.code == 0
    plan = result.json
    assert plan["version"] == 2
    assert plan["sessions_scanned"] == 7
    assert plan["remove"] == {"sessions": 1, "bytes": path.stat().st_size}
    assert [row["file"] for row in plan["sessions"]] == ["telegram_1.json"]
    assert [row["session_id"] for row in plan["future"]] == ["web_future"]
    assert {problem["file"]: problem["kind"] for problem in plan["problems"]} == kinds


def test_dry_run_and_cleanup_agree(program: Program) -> None:
    """What the dry run says is what goes."""
    for n in range(25, 36):
        program.add(f"web_{n}", days=n + 0.5)
    planned = {row["file"] for row in program.run("sessions", "cleanup", "--dry-run", "--json").json["sessions"]}
    before = program.files()
    assert planned == {f"web_{n}.json" for n in range(30, 36)}
    assert program.run("sessions", "cleanup", "--yes").code == 0
    assert before - program.files() == planned


@directly("it reads the log")
def test_problems_are_named_by_the_dry_run_and_kept_by_the_cleanup(program: Program) -> None:
    """Nothing is removed for being unreadable: corrupt, cut off, misnamed, a link, a folder, somebody's notes."""
    kinds = _add_problems(program)
    contents = {path.name: _content(path) for path in program.sessions_dir.iterdir()}
    dry = program.run("sessions", "cleanup", "--dry-run")
    assert dry.code == 0
    for name, kind in kinds.items():
        if kind != "foreign":
            assert any(line.startswith(f"kept: {name}: {kind}, ") for line in dry.lines), name
    assert sum(line.startswith("left alone: ") for line in dry.lines) == 3
    result = program.run("sessions", "cleanup", "--yes")
    assert result.code == 0
    assert result.lines == [
        "4 sessions scanned, 0 removed, 0 B freed.",
        "3 kept: corrupt.",
        "1 kept: under another session's name.",
        "3 entries left alone: no session. `--dry-run` names them.",
    ]
    for name, kind in kinds.items():
        assert (name in result.err) == (kind != "foreign")
    assert {name: _content(program.sessions_dir / name) for name in program.files()} == contents


def _content(path: Path) -> object:
    if path.is_symlink():
        return path.readlink()
    return sorted(path.iterdir()) if path.is_dir() else path.read_bytes()


@pytest.mark.parametrize("command", [["cleanup"], ["cleanup", "--yes"], ["delete", "web_old"]], ids=" ".join)
def test_workspace_that_is_held_is_refused_with_the_holders_pid(program: Program, command: list[str]) -> None:
    """While a gateway runs no other process writes: it says who holds the workspace, and changes nothing."""
    path = program.add("web_old", days=31)
    with SessionDirectory.open(program.sessions_dir) as directory:
        directory.own()
        result = program.run("sessions", *command)
        assert (result.code, result.out) == (1, "")
        assert f"is held by process {os.getpid()}; stop it first" in result.err
        assert path.exists()
        assert not program.state_dir.exists()
    assert program.run("sessions", *command, "--yes").code == 0
    assert not path.exists()


def test_dry_run_works_while_a_gateway_runs(program: Program) -> None:
    """Looking needs no lock."""
    program.add("web_old", days=31)
    with SessionDirectory.open(program.sessions_dir) as directory:
        directory.own()
        result = program.run("sessions", "cleanup", "--dry-run", "--json")
    assert result.code == 0
    assert result.json["remove"]["sessions"] == 1


@pytest.mark.parametrize(
    "command",
    [
        ["sessions", "delete", "web_b"],
        ["sessions", "cleanup"],
        ["sessions", "cleanup", "--confirm"],
        ["trash", "empty"],
        ["quarantine", "delete", "web_q"],
    ],
    ids=" ".join,
)
def test_command_on_a_terminal_asks_nothing_while_the_workspace_is_held(program: Program, command: list[str]) -> None:
    """Nobody has to think about a question whose answer does not count."""
    program.write_config('[session]\ntrash_for = "7d"\n')
    program.add("web_a", days=1)
    assert program.run("sessions", "delete", "--yes", "web_a").code == 0
    program.add("web_b", days=31)
    with SessionDirectory.open(program.sessions_dir) as directory:
        directory.own()
        result = program.run_on_terminal(*command)
    assert result.code == 1
    assert result.out == (
        f"miniclaw: {program.sessions_dir} is held by process {os.getpid()}; "
        "stop it first, or use another directory "
        f"(it takes no commands at {program.home / 'workspace' / 'gateway.sock'})\n"
    )
