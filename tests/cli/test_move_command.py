"""``sessions move``: another chat goes on with a conversation; nothing is overwritten, and nothing is changed besides."""

from __future__ import annotations

import json
import os

import pytest

from miniclaw.session.files.directory import SessionDirectory
from tests.cli.ways import directly
from tests.fakes.program import Program, refusing_rename

BOTH_WAYS = True


def test_move_gives_the_conversation_to_another_chat(program: Program) -> None:
    """Its ids change and nothing else, it keeps its age and its pin, and the history has a receipt."""
    path = program.add("web_anna", days=20, mood="good", pinned=True)
    before = json.loads(path.read_bytes())
    result = program.run("sessions", "move", "web_anna", "telegram_123456789")
    assert (result.code, result.out, result.err) == (0, "Moved web_anna to telegram_123456789.\n", "")
    moved = program.sessions_dir / "telegram_123456789.json"
    ids = {"session_id": "telegram_123456789", "channel": "telegram", "chat_id": "123456789"}
    assert json.loads(moved.read_bytes()) == before | ids
    assert program.files() == {moved.name}
    event = program.run("history", "--json").json[-1]
    assert (event["event"], event["by"], event["because"]) == ("moved", "command", "moved to telegram_123456789")
    assert event["sessions"][0]["session_id"] == "web_anna"
    assert "web_anna; moved to telegram_123456789" in program.run("history").lines[-1]
    assert program.run("trash", "list", "--json").json == []


def test_move_to_a_chat_that_has_a_session_is_refused(program: Program) -> None:
    """Neither of the two is changed."""
    paths = [program.add(session_id, days=1) for session_id in ("web_anna", "web_bernd")]
    before = [path.read_bytes() for path in paths]
    result = program.run("sessions", "move", "web_anna", "web_bernd")
    assert (result.code, result.out) == (1, "")
    assert "the place of the session 'web_bernd' is taken, and nothing is ever overwritten" in result.err
    assert [path.read_bytes() for path in paths] == before
    assert program.run("history", "--json").json == []


def test_move_that_a_crash_has_broken_off_is_gone_on_with(program: Program) -> None:
    """Where the session is under both ids, the same command ends it."""
    path = program.add("web_anna", days=1)
    before = path.read_bytes()
    assert program.run("sessions", "move", "web_anna", "web_bernd").code == 0
    path.write_bytes(before)
    assert program.run("sessions", "move", "web_anna", "web_bernd").out == "Moved web_anna to web_bernd.\n"
    assert program.files() == {"web_bernd.json"}


@pytest.mark.parametrize("ids", [("web_gone", "web_new"), ("web_bad", "web_new")])
def test_move_of_what_is_no_session_is_an_error(program: Program, ids: tuple[str, str]) -> None:
    """One that is not there, and one that cannot be read, make no session."""
    program.add("web_bad", days=1).write_text("{")
    result = program.run("sessions", "move", *ids)
    assert (result.code, result.out) == (1, "")
    assert ids[0] in result.err
    assert program.files() == {"web_bad.json"}


@pytest.mark.parametrize(
    "ids", [("web_a", "web"), ("weba", "web_b"), ("web_a", "Web_b"), ("web_a", "web_a"), ("web_a",)]
)
def test_move_with_what_is_no_id_is_a_usage_error(program: Program, ids: tuple[str, ...]) -> None:
    """It is told before anything is done."""
    path = program.add("web_a", days=1)
    before = path.read_bytes()
    result = program.run("sessions", "move", *ids)
    assert (result.code, result.out) == (2, "")
    assert result.err
    assert path.read_bytes() == before


def test_move_without_a_workspace_makes_none(program: Program) -> None:
    """Before the first session there is nothing to move."""
    result = program.run("sessions", "move", "web_a", "web_b")
    assert (result.code, result.err) == (1, "miniclaw: no session 'web_a'\n")
    assert not program.home.exists()


@directly("it is the program itself that is refused")
def test_move_whose_old_file_stays_says_so(program: Program) -> None:
    """The sentence says where the session is, and that the same command goes on."""
    path = program.add("web_a", days=1)
    result = program.run_python(refusing_rename(path.name), "sessions", "move", "web_a", "web_b")
    assert (result.code, result.out) == (1, "")
    assert f"{path}: the session was moved, and is still here as well: " in result.err
    assert "move it again" in result.err
    assert program.files() == {"web_a.json", "web_b.json"}
    assert program.run("sessions", "move", "web_a", "web_b").code == 0
    assert program.files() == {"web_b.json"}


@directly("it holds the workspace itself")
def test_move_while_a_program_holds_the_workspace_is_refused(program: Program) -> None:
    """Two processes never write to one workspace."""
    path = program.add("web_a", days=1)
    with SessionDirectory.open(program.sessions_dir) as directory:
        directory.own()
        result = program.run("sessions", "move", "web_a", "web_b")
    assert (result.code, result.out) == (1, "")
    assert f"is held by process {os.getpid()}; stop it first" in result.err
    assert path.exists()
