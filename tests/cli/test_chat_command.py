"""``chat``: one message, lines from a pipe, and a person at a terminal."""

from __future__ import annotations

import json
import os

import pytest

from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.names import file_name
from tests.fakes.program import Program


def _said(program: Program, name: str) -> list[tuple[str, str]]:
    path = program.sessions_dir / file_name(f"console_{name}")
    session = json.loads(path.read_bytes())
    assert session["chat_id"] == name
    return [(message["role"], message["content"]) for message in session["messages"]]


def test_chat_message_is_answered_and_saved(program: Program) -> None:
    """One message, one answer, and both are on disk at the end; files are for their owner alone."""
    result = program.run("chat", "--as", "me", "-m", "hello")
    assert (result.code, result.out, result.err) == (0, "hello\n", "")
    assert _said(program, "me") == [("user", "hello"), ("assistant", "hello")]
    assert program.sessions_dir.stat().st_mode & 0o777 == 0o700
    assert (program.sessions_dir / "console_me.json").stat().st_mode & 0o777 == 0o600


def test_chat_without_a_name_is_the_login_names_conversation(program: Program) -> None:
    """Whoever does not say who they are is who they logged in as."""
    assert program.run("chat", "-m", "hello").code == 0
    assert _said(program, "tester") == [("user", "hello"), ("assistant", "hello")]


def test_chat_as_an_empty_name_is_refused(program: Program) -> None:
    """A script's unset variable is no name: nothing is written, least of all into one's own conversation."""
    result = program.run("chat", "-m", "hello", "--as", "")
    assert (result.code, result.out) == (2, "")
    assert "--as: the name is empty" in result.err
    assert not program.sessions_dir.exists()


def test_chat_piped_lines_are_answered_in_order(program: Program) -> None:
    """Each line is a message, the last one also without its end; empty lines are none."""
    result = program.run("chat", "--as", "me", stdin="one\n\n  \ntwo\r\nthree")
    assert (result.code, result.out) == (0, "one\ntwo\nthree\n")
    assert [text for role, text in _said(program, "me") if role == "user"] == ["one", "two", "three"]


def test_chat_nothing_to_read_makes_no_session(program: Program) -> None:
    """An empty pipe is a conversation without messages, and leaves no session."""
    result = program.run("chat", "--as", "me", stdin=b"")
    assert (result.code, result.out) == (0, "")
    assert program.files() == set()


def test_chat_goes_on_where_it_was(program: Program) -> None:
    """What was said before is shown first, the person's words behind a mark, the others set in; and it goes on."""
    program.run("chat", "--as", "me", "-m", "one")
    result = program.run("chat", "--as", "me", stdin="two\n")
    assert result.lines == ["> one", "  one", "two"]
    assert [text for _, text in _said(program, "me")] == ["one", "one", "two", "two"]


@pytest.mark.parametrize("name", ["../x", "😀", "a\nb", "A", "a", "x" * 300, ".", "con.json", "\x1b[31m", " "])
def test_chat_odd_name_is_a_session_of_its_own_inside_the_directory(program: Program, name: str) -> None:
    """Whatever a person is called, their conversation is one file in the sessions directory."""
    assert program.run("chat", "--as", name, "-m", "hello").code == 0
    assert _said(program, name) == [("user", "hello"), ("assistant", "hello")]
    assert program.files() == {file_name(f"console_{name}")}
    outside = {path.name for path in program.sessions_dir.parent.iterdir()} - {"sessions"}
    assert outside == set()


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
def test_chat_empty_message_is_a_usage_error(program: Program, text: str) -> None:
    """There is no answer to nothing; no workspace is made for it."""
    result = program.run("chat", "-m", text)
    assert (result.code, result.out) == (2, "")
    assert "the message is empty" in result.err
    assert not program.home.exists()


def test_chat_text_of_any_kind_is_kept_as_it_was_and_shown_escaped(program: Program) -> None:
    """The file has what was written, the terminal what is harmless."""
    result = program.run("chat", "--as", "me", "-m", "zażółć 😀 \x1b[31m")
    assert (result.code, result.out) == (0, "zażółć 😀 \\x1b[31m\n")
    assert _said(program, "me")[0] == ("user", "zażółć 😀 \x1b[31m")


def test_chat_invalid_utf8_in_a_pipe_does_not_end_it(program: Program) -> None:
    """Wrong bytes become replacement characters, and the next line is answered."""
    result = program.run("chat", "--as", "me", stdin=b"\xff\xfe\nnext\n")
    assert (result.code, result.lines) == (0, ["\ufffd\ufffd", "next"])


def test_chat_message_that_cannot_be_recorded_is_exit_code_1(program: Program) -> None:
    """A sorry is no answer: the exit code tells, and the file in the way is left alone."""
    path = program.sessions_dir / "console_me.json"
    os.rename(program.add("console_other", days=1), path)
    (program.sessions_dir / ".quarantine").touch()  # nothing can be moved there
    content = path.read_bytes()
    result = program.run("chat", "--as", "me", "-m", "hello")
    assert result.code == 1
    assert "could not be recorded" in result.out
    assert path.read_bytes() == content


def test_chat_while_the_workspace_is_held_is_refused_with_the_holders_pid(program: Program) -> None:
    """Two processes never write to one workspace: the second one says who holds it."""
    program.sessions_dir.mkdir(parents=True)
    with SessionDirectory.open(program.sessions_dir) as directory:
        directory.own()
        result = program.run("chat", "--as", "me", "-m", "hello")
        assert (result.code, result.out) == (1, "")
        assert f"is held by process {os.getpid()}; stop it first" in result.err
    assert program.files() == set()


def test_chat_over_a_file_in_the_directorys_place_is_a_clear_error(program: Program) -> None:
    """A workspace that cannot be used is told by its path."""
    program.sessions_dir.parent.mkdir(parents=True)
    program.sessions_dir.write_text("")
    result = program.run("chat", "--as", "me", "-m", "hello")
    assert (result.code, result.out) == (1, "")
    assert result.err == f"miniclaw: {program.sessions_dir}: it is not a directory\n"


@pytest.mark.parametrize("end", ["\x04", "\x03"], ids=["ctrl-d", "ctrl-c"])
def test_chat_on_a_terminal_prompts_and_ends_quietly(program: Program, end: str) -> None:
    """A person sees a prompt; Ctrl-D and Ctrl-C both end the conversation well."""
    result = program.run_on_terminal("chat", "--as", "me", prompt="> ", answer=end)
    assert result.code == 0
    assert result.out.startswith("> ")


def test_chat_on_a_terminal_answers_a_line(program: Program) -> None:
    """A line that is typed is answered below, and kept."""
    result = program.run_on_terminal("chat", "--as", "me", prompt="> ", answer="hello\n\x04")
    assert result.code == 0
    assert result.out.replace("^D", "").count("hello\n") == 2
    assert _said(program, "me") == [("user", "hello"), ("assistant", "hello")]
