"""Commands on a workspace that no owner has started since the update: what it holds is shown, and nothing is written."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from miniclaw.session.records.state import LANDMARK_NAME, STATE_FILE
from tests.cli.test_history_command import EVENTS, record
from tests.fakes.program import Program

NOT_SHOWN = "A folder of an earlier version is not shown"


@pytest.fixture
def old(program: Program) -> Program:
    """A workspace as an earlier version left it: two sessions in the trash, a history, a run a while ago."""
    program.write_config('[session]\ntrash_for = "7d"\n')
    for session_id in ("web_a", "web_b"):
        program.add(session_id, days=2)
        assert program.run("sessions", "delete", "--yes", session_id).code == 0
    program.state_dir.joinpath("history.jsonl").unlink()
    record(program.sessions_dir, *EVENTS)
    for name in (STATE_FILE, LANDMARK_NAME):  # no earlier version has made those
        (program.state_dir / name).unlink()
    program.state_dir.joinpath("cleanup.json").write_text(f'{{"last_run_at":"{datetime.now(UTC).isoformat()}"}}')
    program.add("web_c", days=1)
    workspace = program.home / "workspace"
    program.state_dir.rename(workspace / "state")
    program.trash_dir.rename(workspace / "trash")
    return program


def entries(program: Program) -> list[str]:
    return [entry["session_id"] for entry in program.run("trash", "list", "--json").json]


def test_commands_that_look_show_the_old_places_and_write_nothing(old: Program) -> None:
    """Trash, history, status and a dry run tell of what will be moved in."""
    before = old.content()
    assert entries(old) == ["web_a", "web_b"]
    assert len(old.run("history", "--json").json) == len(EVENTS)
    status = old.run("status", "--json").json
    assert (status["trash"]["files"], status["not_read"]) == (2, {})
    assert status["last_run_at"] is None  # of a run by the earlier rules this version takes nothing over
    assert "2 entries of the trash would be deleted" in old.run("trash", "empty", "--dry-run").out
    assert old.run("sessions", "list").err == ""
    assert old.content() == before
    assert not old.state_dir.exists()


def test_command_that_changes_something_moves_in_first(old: Program) -> None:
    """The first owner is enough, be it a command; then all lies in the sessions directory."""
    assert old.run("trash", "restore", "web_a").code == 0
    workspace = old.home / "workspace"
    assert [path.name for path in workspace.iterdir()] == ["sessions"]
    assert entries(old) == ["web_b"]
    assert [event["event"] for event in old.run("history", "--json").json] == [
        *[event.event for event in EVENTS],
        "restored",
    ]


def test_trash_without_a_sessions_directory_is_shown_and_restored(old: Program) -> None:
    """Also where the sessions themselves are gone, what was removed can be seen and comes back."""
    shutil.rmtree(old.sessions_dir)
    assert entries(old) == ["web_a", "web_b"]
    assert old.run("trash", "restore", "web_b").code == 0
    assert old.files() == {"web_b.json"}


def test_both_places_filled_says_that_one_is_not_shown(old: Program) -> None:
    """Until the move is complete one place is shown, and a warning names the other."""
    shutil.copytree(old.home / "workspace" / "trash", old.trash_dir)
    (moved,) = [path for path in (old.home / "workspace" / "trash").iterdir() if path.name.startswith("web_a")]
    (old.trash_dir / moved.name).unlink()
    result = old.run("trash", "list")
    assert "web_b" in result.out
    assert NOT_SHOWN in result.err
    assert str(old.home / "workspace" / "trash") in result.err
    assert old.run("sessions", "pin", "web_c").code == 0
    result = old.run("trash", "list")
    assert (NOT_SHOWN in result.err, entries(old)) == (False, ["web_a", "web_b"])


def test_workspace_that_may_only_be_read_can_be_looked_at(old: Program, tmp_path: Path) -> None:
    """A copy of a backup is shown as it is, also where nothing can be made in it."""
    folders = [old.home, *(path for path in old.home.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o500)
    try:
        assert entries(old) == ["web_a", "web_b"]
        assert old.run("status").code == 0
    finally:
        for path in folders:
            path.chmod(0o700)


@pytest.fixture
def stuck(old: Program) -> Program:
    """The same workspace, where no entry can be moved in: a folder has the name of each."""
    for path in (old.home / "workspace" / "trash").iterdir():
        (old.trash_dir / path.name).mkdir(parents=True)
    assert "could not be moved in" in old.run("sessions", "pin", "web_c").err
    return old


def test_restore_of_what_cannot_be_moved_in_says_where_it_lies(stuck: Program) -> None:
    """As long as the move fails, the error names the folder in which the entry still is."""
    trash = str(stuck.home / "workspace" / "trash")
    result = stuck.run("trash", "restore", "web_a")
    assert (result.code, result.out) == (1, "")
    assert f"still lies in {trash}" in result.err
    result = stuck.run("trash", "list")
    assert (NOT_SHOWN in result.err, trash in result.err, "start the gateway" in result.err) == (True, True, True)
    assert "still lies" not in stuck.run("trash", "restore", "web_z").err


def test_restore_tries_the_move_again(stuck: Program) -> None:
    """Once nothing is in the way, the command that wants the entry moves it in and restores it."""
    for path in stuck.trash_dir.iterdir():
        path.rmdir()
    result = stuck.run("trash", "restore", "web_a")
    assert (result.code, result.out) == (0, "Restored web_a; it counts as used just now.\n")
    assert entries(stuck) == ["web_b"]


def test_erase_finds_a_session_that_lies_in_the_earlier_trash_only(stuck: Program) -> None:
    """What was not moved in counts as kept: it is asked for, and it goes."""
    result = stuck.run("sessions", "delete", "web_a", "--erase", "--yes")
    assert result.code == 0, result.err
    (left,) = (stuck.home / "workspace" / "trash").iterdir()
    assert left.name.startswith("web_b")
