"""``sessions delete``, and what is asked on a terminal before anything goes."""

from __future__ import annotations

import pytest

from tests.cli.ways import directly
from tests.fakes.program import Program

BOTH_WAYS = True


@pytest.mark.parametrize("options", [[], ["--yes"], ["-y"]], ids=str)
def test_delete_removes_that_session_and_no_other(program: Program, options: list[str]) -> None:
    """A session is deleted whatever its age; without a terminal nothing is asked."""
    path = program.add("web_a", days=0)
    size = path.stat().st_size
    program.add("web_ab", days=400)
    result = program.run("sessions", "delete", "web_a", *options)
    assert (result.code, result.out, result.err) == (0, f"Deleted web_a, {size} B; it is gone for good.\n", "")
    assert program.files() == {"web_ab.json"}


def test_delete_unknown_session_is_exit_code_1(program: Program) -> None:
    """What is not there cannot be deleted, with or without other sessions; nothing else is touched."""
    before = program.run("sessions", "delete", "web_a")
    assert not program.home.exists()
    program.add("web_b", days=1)
    after = program.run("sessions", "delete", "web_a")
    for result in (before, after):
        assert (result.code, result.out, result.err) == (1, "", "miniclaw: no session 'web_a'\n")
    assert program.files() == {"web_b.json"}


def test_delete_of_a_path_touches_nothing_outside(program: Program) -> None:
    """An id that looks like a path is an id, and names no file elsewhere."""
    program.add("web_a", days=1)
    victim = program.home / "workspace" / "victim.json"
    victim.write_text("{}")
    assert program.run("sessions", "delete", "web_../victim").code == 1
    assert program.run("sessions", "delete", "../victim").code != 0
    assert victim.exists()
    assert program.files() == {"web_a.json"}


def test_delete_of_a_damaged_file_keeps_it(program: Program) -> None:
    """What cannot be read is never deleted; the message names the file."""
    path = program.add("web_a", days=1)
    path.write_text("{")
    result = program.run("sessions", "delete", "web_a")
    assert (result.code, result.out) == (1, "")
    assert str(path) in result.err
    assert path.read_text() == "{"


def test_delete_odd_chat_id_is_found_by_its_id_and_shown_escaped(program: Program) -> None:
    """The id is what `list` knows the session by, whatever characters it has."""
    session_id = "web_../\x1b[31m😀"
    program.add(session_id, days=1)
    result = program.run("sessions", "delete", session_id)
    assert result.code == 0
    assert result.out.startswith("Deleted web_../\\x1b[31m😀, ")
    assert program.files() == set()


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04"], ids=["no", "enter", "ctrl-d"])
def test_delete_on_a_terminal_not_confirmed_keeps_everything(program: Program, answer: str) -> None:
    """Only a yes deletes; the question says which session and how long ago it was used."""
    path = program.add("web_a", days=3.5)
    result = program.run_on_terminal("sessions", "delete", "web_a", prompt="[y/N]: ", answer=answer)
    assert result.code == 1
    assert "last used 3d ago, for good?" in result.out
    assert "Aborted!" in result.out
    assert path.exists()


def test_delete_on_a_terminal_confirmed_deletes(program: Program) -> None:
    """A yes deletes."""
    path = program.add("web_a", days=1)
    result = program.run_on_terminal("sessions", "delete", "web_a", prompt="[y/N]: ", answer="y\n")
    assert result.code == 0
    assert "Deleted web_a" in result.out
    assert not path.exists()


def test_delete_on_a_terminal_with_yes_does_not_ask(program: Program) -> None:
    """Whoever says --yes has said it."""
    path = program.add("web_a", days=1)
    result = program.run_on_terminal("sessions", "delete", "web_a", "--yes")
    assert result.code == 0
    assert "[y/N]" not in result.out
    assert not path.exists()


@directly("it looks for the traces of an owner")
@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04"], ids=["no", "enter", "ctrl-d"])
def test_cleanup_on_a_terminal_not_confirmed_keeps_everything(program: Program, answer: str) -> None:
    """Only a yes removes; the question says how many and how much."""
    size = program.add("web_a", days=31).stat().st_size
    program.add("web_fresh", days=1)
    result = program.run_on_terminal("sessions", "cleanup", prompt="[y/N]: ", answer=answer)
    assert result.code == 1
    assert f"Remove 1 session, {size} B?" in result.out
    assert program.files() == {"web_a.json", "web_fresh.json"}
    assert not program.state_dir.exists()


@pytest.mark.parametrize(("options", "prompt"), [([], "[y/N]: "), (["--yes"], "")], ids=["asked", "not asked"])
def test_cleanup_on_a_terminal_confirmed_removes(program: Program, options: list[str], prompt: str) -> None:
    """A yes removes, be it typed or said beforehand."""
    program.add("web_a", days=31)
    program.add("web_fresh", days=1)
    result = program.run_on_terminal("sessions", "cleanup", *options, prompt=prompt, answer="y\n")
    assert result.code == 0
    assert "2 sessions scanned, 1 removed" in result.out
    assert ("[y/N]" in result.out) == bool(prompt)
    assert program.files() == {"web_fresh.json"}


def test_cleanup_on_a_terminal_with_nothing_expired_does_not_ask(program: Program) -> None:
    """Where there is nothing to remove there is nothing to ask."""
    program.add("web_fresh", days=1)
    result = program.run_on_terminal("sessions", "cleanup")
    assert result.code == 0
    assert "1 session scanned, 0 removed" in result.out


def test_list_on_a_terminal_is_a_table_that_takes_ids_as_they_are(program: Program) -> None:
    """Markup in a chat id is text, and control characters are shown escaped."""
    program.add("web_[red]\x1b[2Jx", days=1)
    result = program.run_on_terminal("sessions", "list")
    assert result.code == 0
    assert r"web_[red]\x1b[2Jx" in result.out
    assert "expires in 29d" in result.out
