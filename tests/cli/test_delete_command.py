"""``sessions delete``, and what is asked on a terminal before anything goes."""

from __future__ import annotations

import pytest

from tests.cli.ways import directly
from tests.fakes.program import Program

BOTH_WAYS = True


@pytest.mark.parametrize("yes", ["--yes", "-y"])
def test_delete_removes_that_session_and_no_other(program: Program, yes: str) -> None:
    """A session is deleted whatever its age, and the receipt says how it comes back."""
    program.add("web_a", days=0)
    program.add("web_ab", days=400)
    result = program.run("sessions", "delete", "web_a", yes)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Moved web_a to the trash, ")
    assert result.out.endswith("; `miniclaw trash restore web_a` brings it back within 7d.\n")
    assert program.files() == {"web_ab.json"}
    assert program.run("trash", "restore", "web_a").code == 0
    assert program.files() == {"web_a.json", "web_ab.json"}


def test_delete_with_the_trash_off_says_that_it_is_for_good(program: Program) -> None:
    """Who switches it off has no undo, and reads so."""
    program.write_config('[session]\ntrash_for = "off"\n')
    size = program.add("web_a", days=0).stat().st_size
    result = program.run("sessions", "delete", "web_a", "--yes")
    assert (result.code, result.out, result.err) == (0, f"Deleted web_a, {size} B; it cannot be restored.\n", "")
    assert not program.trash_dir.exists()


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (["sessions", "delete", "web_a"], "1 session would be moved to the trash, {a} B"),
        (["sessions", "delete", "--channel", "web", "--json"], "2 sessions would be moved to the trash, {both} B"),
        (["sessions", "delete", "--chat", "nobody"], "0 sessions would be moved to the trash, 0 B"),
        (
            ["sessions", "delete", "web_gone", "--erase"],
            "0 sessions and 1 file of trash and quarantine would be deleted",
        ),
        (["sessions", "cleanup"], "1 session, {b} B would be removed"),
        (["sessions", "cleanup", "--confirm", "--json"], "1 session, {b} B would be removed"),
        (["trash", "empty"], "1 entry of the trash would be deleted for good, "),
        (["trash", "empty", "web_gone"], "1 entry of the trash would be deleted for good, "),
        (["trash", "empty", "--expired"], "0 entries of the trash would be deleted for good, 0 B"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_deleting_without_a_terminal_and_without_yes_is_exit_code_2_with_the_count(
    program: Program, command: list[str], what: str
) -> None:
    """A script, or a command over ssh, cannot be asked: nothing goes, whatever there is, and it says what would."""
    sizes = {name: program.add(f"web_{name}", days=days).stat().st_size for name, days in (("a", 1), ("b", 31))}
    program.add("web_gone", days=1)
    assert program.run("sessions", "delete", "web_gone", "--yes").code == 0
    before = program.content()
    result = program.run(*command)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("miniclaw: " + what.format(**sizes, both=sum(sizes.values())))
    assert "there is no terminal to ask at; `--yes` does it, `--dry-run` says which" in result.err
    assert program.content() == before


def test_delete_unknown_session_is_exit_code_1(program: Program) -> None:
    """What is not there cannot be deleted, with or without other sessions; nothing else is touched."""
    before = program.run("sessions", "delete", "--yes", "web_a")
    assert not program.home.exists()
    program.add("web_b", days=1)
    after = program.run("sessions", "delete", "--yes", "web_a")
    for result in (before, after):
        assert (result.code, result.out, result.err) == (1, "", "miniclaw: no session 'web_a'\n")
    assert program.files() == {"web_b.json"}


def test_delete_of_a_path_touches_nothing_outside(program: Program) -> None:
    """An id that looks like a path is an id, and names no file elsewhere."""
    program.add("web_a", days=1)
    victim = program.home / "workspace" / "victim.json"
    victim.write_text("{}")
    assert program.run("sessions", "delete", "--yes", "web_../victim").code == 1
    assert program.run("sessions", "delete", "--yes", "../victim").code != 0
    assert victim.exists()
    assert program.files() == {"web_a.json"}


def test_delete_of_a_damaged_file_keeps_it(program: Program) -> None:
    """What cannot be read is never deleted; the message names the file."""
    path = program.add("web_a", days=1)
    path.write_text("{")
    result = program.run("sessions", "delete", "--yes", "web_a")
    assert (result.code, result.out) == (1, "")
    assert str(path) in result.err
    assert path.read_text() == "{"


def test_delete_odd_chat_id_is_found_by_its_id_and_shown_escaped(program: Program) -> None:
    """The id is what `list` knows the session by, whatever characters it has."""
    session_id = "web_../\x1b[31m😀"
    program.add(session_id, days=1)
    result = program.run("sessions", "delete", "--yes", session_id)
    assert result.code == 0
    assert result.out.startswith("Moved web_../\\x1b[31m😀 to the trash, ")
    assert program.files() == set()


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04"], ids=["no", "enter", "ctrl-d"])
def test_delete_on_a_terminal_not_confirmed_keeps_everything(program: Program, answer: str) -> None:
    """Only a yes deletes; the question says which session and how long ago it was used."""
    path = program.add("web_a", days=3.5)
    result = program.run_on_terminal("sessions", "delete", "web_a", prompt="[y/N]: ", answer=answer)
    assert result.code == 1
    assert "last used 3d ago, to the trash?" in result.out
    assert path.exists()


def test_delete_on_a_terminal_confirmed_deletes(program: Program) -> None:
    """A yes deletes."""
    path = program.add("web_a", days=1)
    result = program.run_on_terminal("sessions", "delete", "web_a", prompt="[y/N]: ", answer="y\n")
    assert result.code == 0
    assert "Moved web_a to the trash" in result.out
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
