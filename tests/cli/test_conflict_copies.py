"""Copies of sessions by sync programs and editors: every command that meets them says so, and none touches them."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.fakes.program import Program

BOTH_WAYS = True

COPIES = [
    "web_anna (pi's conflicted copy 2026-07-14).json",
    "web_anna.sync-conflict-20260714-093012-ABCDEF7.json",
    "web_anna.json~",
]
NAMES_THEM = "`miniclaw sessions cleanup --dry-run` names them"


def lay(program: Program) -> list[Path]:
    """Write a session and three copies of it; return these."""
    content = program.add("web_anna", days=1).read_bytes()
    copies = [program.sessions_dir / name for name in COPIES]
    for path in copies:
        path.write_bytes(content)
    return copies


def test_dry_run_names_each_copy_with_the_way_out(program: Program) -> None:
    """For a person and for a script: the file, its kind, and the command that moves it out of the way."""
    lay(program)
    lines = program.run("sessions", "cleanup", "--dry-run").lines
    problems = program.run("sessions", "cleanup", "--dry-run", "--json").json["problems"]
    assert [problem["file"] for problem in sorted(problems, key=lambda each: each["file"])] == sorted(COPIES)
    for problem in problems:
        name = problem["file"]
        assert problem["kind"] == "conflict"
        assert problem["way_out"] == f"miniclaw quarantine add {shlex.quote(name)}"
        assert shlex.split(problem["way_out"])[-1] == name
        told = f"kept: {name}: conflict, {problem['reason']}; `{problem['way_out']}` moves it out of the way"
        assert told in lines
    assert "1 scanned" in " ".join(lines)


def test_name_that_cannot_be_pasted_is_not_offered(program: Program) -> None:
    """The way out names no file whose name has control characters."""
    program.add("web_anna", days=1)
    (program.sessions_dir / "web_anna (\x1b[2J conflicted copy).json").write_text("{}")
    (problem,) = program.run("sessions", "cleanup", "--dry-run", "--json").json["problems"]
    assert problem["file"] == "web_anna (\x1b[2J conflicted copy).json"
    assert problem["way_out"] == "miniclaw quarantine add FILE"


def test_other_problems_have_no_such_way_out(program: Program) -> None:
    """A damaged session is its person's, and waits for that person."""
    program.add("web_anna", days=1).write_text("{")
    (problem,) = program.run("sessions", "cleanup", "--dry-run", "--json").json["problems"]
    assert (problem["kind"], problem["way_out"]) == ("corrupt", None)


def test_cleanup_counts_the_copies_and_leaves_them(program: Program) -> None:
    """They are neither scanned as sessions nor unreadable."""
    copies = lay(program)
    result = program.run("sessions", "cleanup", "--yes")
    assert result.code == 0
    assert "1 session scanned, 0 removed, 0 B freed." in result.lines
    assert "3 copies of sessions by a sync program or an editor left alone. `--dry-run` names them." in result.lines
    counts = program.run("sessions", "cleanup", "--yes", "--json").json
    assert (counts["conflicts"], counts["mismatched"], counts["foreign"]) == (3, 0, 0)
    assert all(path.exists() for path in copies)


def test_status_list_and_stats_count_the_copies(program: Program) -> None:
    """Each says how many there are, and none calls them unreadable."""
    (lay(program)[0]).unlink()
    told = "2 copies of sessions by a sync program or an editor"
    status = program.run("status")
    assert f"{'conflicts':<13} {told}; {NAMES_THEM}" in status.lines
    assert "unreadable" not in status.out
    assert program.run("status", "--json").json["sessions"]["conflicts"] == 2
    listed = program.run("sessions", "list")
    assert f"{told}; {NAMES_THEM}.\n" in listed.err
    assert "could not be read" not in listed.err
    assert f"{'conflicts':<11} {told}" in program.run("sessions", "stats").lines
    assert program.run("sessions", "stats", "--json").json["conflicts"] == 2


def test_nothing_is_said_where_there_are_none(program: Program) -> None:
    """A directory without copies has no line about them."""
    program.add("web_anna", days=1)
    for command in (["status"], ["sessions", "list"], ["sessions", "stats"], ["sessions", "cleanup", "--yes"]):
        result = program.run(*command)
        assert "cop" not in result.out + result.err


def test_erasure_names_the_copies_that_it_leaves(program: Program) -> None:
    """Who asks for erasure is told that more of what was said is left, and where; also where the session is gone."""
    copies = lay(program)
    (program.sessions_dir / "web_annabel (1).json").write_bytes(program.add("web_annabel", days=1).read_bytes())
    planned = program.run("sessions", "delete", "web_anna", "--erase", "--dry-run")
    for selection in (["web_anna"], ["--chat", "anna"], ["web_anna"]):
        result = program.run("sessions", "delete", *selection, "--erase", "--yes")
        assert result.code == 1
        for path in copies:
            assert f"kept: {path.name}: conflict, " in result.err
            assert f"kept: {path.name}: conflict, " in planned.out
        assert "annabel" not in result.err
    assert all(path.exists() for path in copies)
    assert not (program.sessions_dir / "web_anna.json").exists()


def test_erasure_names_every_file_with_messages_of_the_session(program: Program) -> None:
    """A file under another name, with a suffix or with a dot holds what was said as well, and no receipt hides it."""
    content = program.add("web_anna", days=1).read_bytes()
    left = ["Web_anna.json", "web_anna_1.json", "mail_old.json", "web_anna.json.1", ".web_anna.json.swp"]
    for name in left:
        (program.sessions_dir / name).write_bytes(content)
    planned = program.run("sessions", "delete", "--channel", "web", "--erase", "--dry-run")
    result = program.run("sessions", "delete", "web_anna", "--erase", "--yes")
    assert result.code == 1
    for name in left:
        assert result.err.count(f"kept: {name}: ") == planned.out.count(f"kept: {name}: ") == 1
    assert "5 files with messages of these sessions may remain; delete them by hand" in result.err
    assert "cannot be restored" not in result.out
    assert program.run("history", "--json").json[-1]["event"] == "deleted"


def test_erasure_where_the_quarantine_cannot_be_listed_is_refused(program: Program) -> None:
    """A copy may be there: nothing is erased, and nothing is said to be gone for good."""
    program.add("web_anna", days=1)
    (program.sessions_dir / ".quarantine").symlink_to(program.home)
    for selection in (["web_anna"], ["--chat", "anna"], ["--chat", "nobody"]):
        result = program.run("sessions", "delete", *selection, "--erase", "--yes")
        assert (result.code, result.out) == (1, "")
        assert f"{program.sessions_dir / '.quarantine'}: could not list: it is a symbolic link" in result.err
    assert program.files() == {"web_anna.json"}


def test_deletion_to_the_trash_is_not_about_copies(program: Program) -> None:
    """A session that can be restored is deleted as ever."""
    lay(program)
    assert program.run("sessions", "delete", "--channel", "web", "--yes").code == 0
