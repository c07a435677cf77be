"""``trash``: what was removed is listed, comes back, or goes for good."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from miniclaw.session.files.directory import SessionDirectory
from tests.cli.ways import directly
from tests.fakes.folders import trash_in
from tests.fakes.program import Program

BOTH_WAYS = True


@pytest.fixture
def program(program: Program) -> Program:
    """The program, with a trash."""
    program.write_config('[session]\ntrash_for = "7d"\n')
    return program


def _throw_away(program: Program, *session_ids: str) -> list[str]:
    """Put sessions into the trash, and return the ids of their entries."""
    for session_id in session_ids:
        program.add(session_id, days=2)
        assert program.run("sessions", "delete", "--yes", session_id).code == 0
    return [entry["id"] for entry in program.run("trash", "list", "--json").json]


def _trash_old(program: Program, session_id: str, days: float) -> str:
    """Put a session into the trash as it was so many days ago, and return the entry's id."""
    program.add(session_id, days=days + 30)
    now = datetime.now(UTC) - timedelta(days=days)
    with SessionDirectory.open(program.sessions_dir) as directory:
        stored = directory.find(session_id)
        trash = trash_in(program.sessions_dir)
        copy = trash.prepare(
            stored.key, stored.header, dir_fd=directory.fd, reason="ttl", by="service", now=now,
            keep_for=timedelta(days=7),
        )  # fmt: skip
        trash.commit([copy])
    (program.sessions_dir / stored.key).unlink()
    return copy.entry_id


def test_trash_list_tells_what_is_there_the_newest_last(program: Program) -> None:
    """Whose it is, when it was removed, until when it stays, and why it went."""
    old = _trash_old(program, "web_old", 5.5)
    expired = _trash_old(program, "web_\x1b[31m", 8.5)
    new = _throw_away(program, "web_new")[-1]
    result = program.run("trash", "list")
    assert (result.code, result.err) == (0, "")
    cells = [line.split("\t") for line in result.lines]
    assert cells[0] == ["SESSION", "REMOVED", "EXPIRES", "SIZE", "REASON", "ENTRY"]
    assert [[*row[:3], row[5]] for row in cells[1:]] == [
        ["web_\\x1b[31m", "8d ago", "expired", expired],
        ["web_old", "5d ago", "in 2d", old],
        ["web_new", cells[3][1], "in 7d", new],
    ]
    assert [row[4] for row in cells[1:3]] == ["ttl", "ttl"]
    assert cells[3][3] == f"{(program.trash_dir / f'{new}.gz').stat().st_size} B"


def test_trash_list_json_is_the_entries(program: Program) -> None:
    """For programs: everything that is known of each."""
    entry_id = _trash_old(program, "web_a", 1)
    (entry,) = program.run("trash", "list", "--json").json
    assert (entry["id"], entry["session_id"], entry["reason"], entry["by"]) == (entry_id, "web_a", "ttl", "service")
    removed, expires = (datetime.fromisoformat(entry[key]) for key in ("removed_at", "expires_at"))
    assert expires - removed == timedelta(days=7)
    assert entry["stored_size"] == (program.trash_dir / f"{entry_id}.gz").stat().st_size
    assert entry["problem"] == ""


def test_trash_list_shows_what_is_damaged_and_what_is_not_ours(program: Program) -> None:
    """A damaged entry is told with what is wrong; somebody's notes are left alone."""
    (entry,) = _throw_away(program, "web_a")
    (program.trash_dir / f"{entry}.gz").write_bytes(b"junk")
    (program.trash_dir / "notes\x1b.txt").write_text("mine")
    result = program.run("trash", "list")
    assert result.code == 0
    cells = result.lines[1].split("\t")
    assert (cells[0], cells[2], cells[5]) == ("?", "-", entry)
    assert cells[4].startswith("damaged: ")
    assert result.err.startswith("left alone: notes\\x1b.txt: ")


@pytest.mark.parametrize("command", [["list"], ["empty", "--yes"], ["empty", "--dry-run"]], ids=str)
def test_trash_of_nothing_is_no_error_and_makes_nothing(program: Program, command: list[str]) -> None:
    """Before the first removal there is no trash."""
    before = program.content()
    result = program.run("trash", *command)
    assert (result.code, result.err) == (0, "")
    assert program.content() == before
    assert not (program.home / "workspace").exists()


@pytest.mark.parametrize("by", ["session", "entry", "file"])
def test_restore_puts_a_session_back_as_used_just_now(program: Program, by: str) -> None:
    """By the session's id or the entry's: all that it held is there again, and retention begins anew."""
    path = program.add("web_a", days=40, mood="good")
    before = json.loads(path.read_bytes())
    assert program.run("sessions", "cleanup", "--yes").code == 0
    assert not path.exists()
    (entry,) = [row["id"] for row in program.run("trash", "list", "--json").json]
    start = datetime.now(UTC)
    name = {"session": "web_a", "entry": entry, "file": f"{entry}.gz"}[by]
    result = program.run("trash", "restore", name)
    assert (result.code, result.out, result.err) == (0, "Restored web_a; it counts as used just now.\n", "")
    after = json.loads(path.read_bytes())
    assert start <= datetime.fromisoformat(after["last_accessed"]) <= datetime.now(UTC)
    assert {**after, "last_accessed": ""} == {**before, "last_accessed": ""}
    assert program.run("trash", "list", "--json").json == []


def test_restore_twice_finds_nothing_the_second_time(program: Program) -> None:
    """An entry is a session or in the trash, and not both."""
    _throw_away(program, "web_a")
    assert program.run("trash", "restore", "web_a").code == 0
    result = program.run("trash", "restore", "web_a")
    assert (result.code, result.out) == (1, "")
    assert "nothing in the trash" in result.err
    assert "'web_a'" in result.err


def test_restore_over_a_session_changes_nothing(program: Program) -> None:
    """A newer session of that id stays as it is, and so does the entry."""
    _throw_away(program, "web_a")
    path = program.add("web_a", days=0)
    before = program.content()
    result = program.run("trash", "restore", "web_a")
    assert (result.code, result.out) == (1, "")
    assert str(path) in result.err
    assert "nothing is ever overwritten" in result.err
    after = program.content()
    assert after[str(path)] == before[str(path)]
    assert [name for name in after if name.endswith(".gz")] == [name for name in before if name.endswith(".gz")]


def test_restore_of_a_damaged_entry_keeps_it(program: Program) -> None:
    """It cannot come back, and is not thrown away either."""
    (entry,) = _throw_away(program, "web_a")
    path = program.trash_dir / f"{entry}.gz"
    path.write_bytes(path.read_bytes()[:-9])
    result = program.run("trash", "restore", "web_a")
    assert (result.code, result.out) == (1, "")
    assert str(path) in result.err
    assert path.exists()
    assert program.files() == set()


@pytest.mark.parametrize("name", ["web_b", "../config", "nonsense", ""])
def test_restore_of_what_is_not_there_makes_nothing(program: Program, name: str) -> None:
    """Neither a workspace nor a lock."""
    before = program.content()
    result = program.run("trash", "restore", name)
    assert (result.code, result.out) == (1, "")
    assert "nothing in the trash" in result.err
    assert program.content() == before


def _entries(program: Program) -> set[str]:
    return {path.name.removesuffix(".gz") for path in program.trash_dir.iterdir()}


@pytest.mark.parametrize(
    ("arguments", "left"),
    [([], []), (["web_a"], [2]), (["ENTRY 0"], [1, 2]), (["web_b", "ENTRY 1"], [0]), (["--expired"], [0, 1, 2])],
    ids=str,
)
def test_empty_deletes_what_it_is_told(program: Program, arguments: list[str], left: list[int]) -> None:
    """All, all of a session, or one entry; of what is only expired there is none here."""
    entries = [_trash_old(program, "web_a", 3), _trash_old(program, "web_a", 2), _trash_old(program, "web_b", 1)]
    arguments = [entries[int(each[-1])] if each.startswith("ENTRY") else each for each in arguments]
    dry = program.run("trash", "empty", "--dry-run", *arguments)
    assert dry.code == 0
    number = len(entries) - len(left)
    noun = "entry" if number == 1 else "entries"
    assert dry.lines[-1].startswith(f"{number} {noun} of the trash would be deleted for good, ")
    assert _entries(program) == set(entries)
    assert program.run("trash", "empty", "--yes", *arguments).code == 0
    assert _entries(program) == {entries[index] for index in left}


def test_empty_says_how_much_came_free(program: Program) -> None:
    """What is gone is gone for good, and counted."""
    _throw_away(program, "web_a", "web_b")
    size = sum(path.stat().st_size for path in program.trash_dir.iterdir())
    result = program.run("trash", "empty", "--yes")
    assert (result.code, result.out) == (0, f"2 entries deleted for good, {size} B freed.\n")
    assert program.run("history", "--json").json[-1]["event"] == "trash_emptied"


def test_empty_expired_deletes_only_what_is_over(program: Program) -> None:
    """What was promised to stay stays."""
    _trash_old(program, "web_a", 7.5)
    kept = _trash_old(program, "web_b", 6.5)
    assert program.run("trash", "empty", "--yes", "--expired").code == 0
    assert _entries(program) == {kept}


def test_empty_leaves_alone_what_is_not_ours(program: Program) -> None:
    """Somebody's file in the trash is nobody's to delete; a damaged entry is ours."""
    entries = _throw_away(program, "web_a")
    (program.trash_dir / f"{entries[0]}.gz").write_bytes(b"junk")
    (program.trash_dir / "notes.txt").write_text("mine")
    assert program.run("trash", "empty", "--yes").code == 0
    assert _entries(program) == {"notes.txt"}


def test_empty_of_what_is_not_there_deletes_nothing(program: Program) -> None:
    """A mistyped name is told before anything goes."""
    entries = _throw_away(program, "web_a")
    result = program.run("trash", "empty", "--yes", "web_a", "web_nope")
    assert (result.code, result.out) == (1, "")
    assert "'web_nope'" in result.err
    assert _entries(program) == set(entries)


def test_empty_names_and_expired_do_not_go_together(program: Program) -> None:
    """Which of the two was meant is not guessed."""
    assert program.run("trash", "empty", "--yes", "web_a", "--expired").code == 2


@pytest.mark.parametrize(("options", "answer", "goes"), [([], "n\n", False), ([], "\n", False), ([], "y\n", True),
                                                         (["--yes"], "", True)])  # fmt: skip
def test_empty_asks_on_a_terminal(program: Program, options: list[str], answer: str, goes: bool) -> None:
    """Only a yes deletes; the question says how many and how much."""
    entries = _throw_away(program, "web_a")
    size = (program.trash_dir / f"{entries[0]}.gz").stat().st_size
    result = program.run_on_terminal(
        "trash", "empty", *options, prompt="" if options else "[y/N]: ", answer=answer
    )  # fmt: skip
    assert result.code == (0 if goes else 1)
    assert bool(options) or f"Delete 1 entry of the trash, {size} B, for good?" in result.out
    assert _entries(program) == (set() if goes else set(entries))


@pytest.mark.parametrize("command", [["restore", "web_a"], ["empty"]], ids=str)
def test_trash_while_a_gateway_runs_is_refused(program: Program, command: list[str]) -> None:
    """Two processes never write to one workspace; what was there is there."""
    entries = _throw_away(program, "web_a")
    with SessionDirectory.open(program.sessions_dir) as directory:
        directory.own()
        result = program.run("trash", *command)
    assert (result.code, result.out) == (1, "")
    assert f"is held by process {os.getpid()}; stop it first" in result.err
    assert _entries(program) == set(entries)


@directly("it changes the command's own process")
def test_empty_that_the_system_refuses_is_exit_code_1(program: Program) -> None:
    """What could not be deleted is named, and the rest is gone."""
    entries = _throw_away(program, "web_a", "web_b")
    path = Path(program.trash_dir / f"{entries[0]}.gz")
    script = (
        "import os, sys; unlink = os.unlink\n"
        "def refuse(name, *args, **kwargs):\n"
        f"    if str(name).endswith({path.name!r}): raise OSError(1, 'Operation not permitted')\n"
        "    return unlink(name, *args, **kwargs)\n"
        "os.unlink = refuse\n"
        "from miniclaw.cli import main; main()"
    )
    result = program.run_python(script, "trash", "empty", "--yes")
    assert result.code == 1
    assert f"miniclaw: {path}: could not remove it: Operation not permitted" in result.err
    assert "1 entry deleted" in result.out
    assert path.exists()
