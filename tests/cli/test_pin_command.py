"""``sessions pin`` and ``unpin``: what is pinned stays, in its file and over cleanups."""

from __future__ import annotations

import json
import os

import pytest

from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.names import file_name
from tests.fakes.program import Program

BOTH_WAYS = True


def test_pin_keeps_a_session_until_it_is_unpinned(program: Program) -> None:
    """Expired and pinned is kept; unpinned it goes; its last use is not changed by either."""
    path = program.add("web_a", days=40, mood="good")
    before = json.loads(path.read_bytes())
    result = program.run("sessions", "pin", "web_a")
    assert (result.code, result.out, result.err) == (0, "Pinned web_a.\n", "")
    assert json.loads(path.read_bytes()) == {**before, "pinned": True}
    assert "1 kept: pinned." in program.run("sessions", "cleanup", "--yes").lines
    assert path.exists()
    assert program.run("sessions", "unpin", "web_a").out == "Unpinned web_a.\n"
    assert json.loads(path.read_bytes())["last_accessed"] == before["last_accessed"]
    assert program.run("sessions", "cleanup", "--yes").code == 0
    assert not path.exists()


def test_pin_twice_says_that_it_was_already(program: Program) -> None:
    """What is so already is no error."""
    program.add("web_a", days=1)
    program.add("web_b", days=1)
    assert program.run("sessions", "unpin", "web_a").lines == ["web_a was unpinned already."]
    assert program.run("sessions", "pin", "web_a", "web_b", "web_a").lines == ["Pinned web_a.", "Pinned web_b."]
    result = program.run("sessions", "pin", "web_a")
    assert (result.code, result.lines) == (0, ["web_a was pinned already."])


def test_pin_of_several_does_what_can_be_done(program: Program) -> None:
    """One that is gone is told, with exit code 1, and the others are pinned."""
    path = program.add("web_a", days=1)
    bad = program.add("web_bad", days=1)
    bad.write_text("{")
    result = program.run("sessions", "pin", "web_gone", "web_bad", "web_a")
    assert (result.code, result.lines) == (1, ["Pinned web_a."])
    assert "miniclaw: no session 'web_gone'\n" in result.err
    assert str(bad) in result.err
    assert json.loads(path.read_bytes())["pinned"] is True
    assert bad.read_text() == "{"


@pytest.mark.parametrize("command", ["pin", "unpin"])
def test_pin_without_a_workspace_makes_none(program: Program, command: str) -> None:
    """Before the first session there is nothing to pin."""
    result = program.run("sessions", command, "web_a")
    assert (result.code, result.err) == (1, "miniclaw: no session 'web_a'\n")
    assert not program.home.exists()


def test_pin_of_what_is_no_id_is_a_usage_error_before_anything_is_done(program: Program) -> None:
    """A mistyped id pins nothing, the right ones beside it included."""
    path = program.add("web_a", days=1)
    before = path.read_bytes()
    result = program.run("sessions", "pin", "web_a", "weba")
    assert (result.code, result.out) == (2, "")
    assert "a session id is {channel}_{chat_id}" in result.err
    assert path.read_bytes() == before


def test_pin_while_a_gateway_runs_is_refused(program: Program) -> None:
    """Two processes never write to one workspace."""
    path = program.add("web_a", days=1)
    before = path.read_bytes()
    with SessionDirectory.open(program.sessions_dir) as directory:
        directory.own()
        result = program.run("sessions", "pin", "web_a")
    assert (result.code, result.out) == (1, "")
    assert f"is held by process {os.getpid()}; stop it first" in result.err
    assert path.read_bytes() == before


@pytest.mark.parametrize("character", ["x", "名", "\U0001f600"])
def test_longest_id_is_taken_either_way(program: Program, character: str) -> None:
    """The longest id of any characters is pinned, deleted, restored and moved, with a gateway and without."""
    longest, other = "web_" + character * 996, "telegram_" + character * 991
    path = program.add(longest, days=1)
    for command in (["pin"], ["unpin"], ["delete", "--yes"]):
        result = program.run("sessions", *command, longest)
        assert (result.code, result.err) == (0, "")
    assert not path.exists()
    assert program.run("trash", "restore", longest).code == 0
    assert program.run("sessions", "move", longest, other).code == 0
    assert program.files() == {file_name(other)}


def test_longer_id_is_refused_either_way(program: Program) -> None:
    """A longer one, of an embedder, gets the same sentence with a gateway and without, and can be deleted and restored."""
    long = "web_" + "x" * 997
    program.add(long, days=1)
    for command in (["pin", long], ["move", long, "web_a"], ["move", "web_a", long]):
        result = program.run("sessions", *command)
        assert (result.code, result.out) == (2, "")
        assert result.err.endswith("a session id has 1,000 characters at the most here\n")
    assert program.run("sessions", "delete", "--yes", long).code == 0
    assert program.run("trash", "restore", long).code == 0
    assert len(program.files()) == 1
