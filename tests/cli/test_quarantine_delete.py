"""Deleting from quarantine: into the trash or for good, and what is asked before."""

from __future__ import annotations

import pytest

from tests.cli.test_quarantine_command import lay, lying
from tests.fakes.program import Program

BOTH_WAYS = True

# Deleting -------------------------------------------------------------------------------------------------------


def test_delete_moves_to_the_trash_and_restore_brings_back(program: Program) -> None:
    """The receipt says how it comes back; the trash says what it is; it comes back to where it was."""
    path = lay(program, "web_x.json", "damaged")
    result = program.run("quarantine", "delete", "--yes", "web_x")
    assert (result.code, result.err) == (0, "")
    (entry,) = program.run("trash", "list", "--json").json
    assert entry["from_quarantine"]
    assert f"Moved {path.name} to the trash" in result.out
    assert f"`miniclaw trash restore {entry['id']}` puts it back into quarantine within 7d." in result.out
    row = program.run("trash", "list").lines[1].split("\t")
    assert (row[0], row[4], row[5]) == ("web_x.json", "deleted, from quarantine", entry["id"])
    result = program.run("trash", "restore", entry["id"])
    assert result.code == 0
    (back,) = lying(program)
    assert result.out == f"Put back into quarantine, as {back}.\n"
    assert (program.sessions_dir / ".quarantine" / back).read_text() == "damaged"


@pytest.mark.parametrize("way", ["--erase", "no trash"])
def test_delete_for_good_leaves_nothing(program: Program, way: str) -> None:
    """Where it is asked for, or where there is no trash, it is gone, and the receipt says so."""
    if way == "no trash":
        program.write_config('[session]\ntrash_for = "off"\n')
    path = lay(program, "web_x.json", "damaged")
    options = ["--erase"] if way == "--erase" else []
    assert "deleted for good" in program.run("quarantine", "delete", "--dry-run", *options, "web_x").out
    result = program.run("quarantine", "delete", "--yes", *options, "web_x")
    assert (result.code, result.out) == (0, f"Deleted {path.name}, 7 B; it cannot be restored.\n")
    assert lying(program) == program.run("trash", "list", "--json").json == []


def test_delete_says_beforehand_what_would_go(program: Program) -> None:
    """A dry run names each file once, however often it is meant, and changes nothing."""
    one, two = lay(program, "web_x.json", number=1), lay(program, "web_y.json", number=2)
    result = program.run("quarantine", "delete", "--dry-run", "web_x", "00000001", "web_y")
    assert result.lines == [
        one.name, two.name, "2 files in quarantine, 2 B, would be moved to the trash. Nothing was changed.",
    ]  # fmt: skip
    assert len(lying(program)) == 2


def test_delete_without_a_terminal_needs_yes(program: Program) -> None:
    """A script says so beforehand, or nothing is deleted."""
    lay(program, "web_x.json")
    result = program.run("quarantine", "delete", "web_x")
    assert (result.code, result.out) == (2, "")
    assert "--yes" in result.err
    assert len(lying(program)) == 1


@pytest.mark.parametrize(("answer", "goes"), [("n\n", False), ("\n", False), ("y\n", True)])
def test_delete_asks_on_a_terminal(program: Program, answer: str, goes: bool) -> None:
    """Only a yes deletes."""
    lay(program, "web_x.json")
    result = program.run_on_terminal("quarantine", "delete", "web_x", prompt="[y/N]: ", answer=answer)
    assert result.code == (0 if goes else 1)
    assert "Move 1 file in quarantine, 1 B, to the trash?" in result.out
    assert len(lying(program)) == (not goes)
