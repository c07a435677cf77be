"""``config check``: all that is wrong in a file, or what it would change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_asking_a_gateway import gateway_thread
from tests.fakes.program import Program


@pytest.fixture
def other(program: Program) -> Path:
    """Another configuration."""
    program.home.mkdir(parents=True, exist_ok=True)
    return program.home / "other.toml"


def test_check_of_a_file_with_errors_tells_all_and_is_exit_code_2(program: Program, other: Path) -> None:
    """Each stands on a line of its own, with file and key; for scripts they are JSON."""
    other.write_text('[session]\nttl = 0\ntll = "7d"\n[log]\nlevel = "loud"\n')
    result = program.run("config", "check", str(other))
    assert (result.code, result.out) == (2, "")
    *lines, total = result.err.splitlines()
    keys = ["session.ttl", "session.tll", "log.level"]
    assert [line.split(": ")[:3] for line in lines] == [["miniclaw", str(other), key] for key in keys]
    assert total == "3 errors."
    told = program.run("config", "check", str(other), "--json")
    assert (told.code, told.json["file"]) == (2, str(other))
    assert [error["key"] for error in told.json["errors"]] == keys


def test_every_command_tells_all_that_is_wrong_with_its_configuration(program: Program) -> None:
    """Not one mistake for each attempt."""
    program.write_config('[session]\nttl = 0\n[log]\nlevel = "loud"\n')
    for command in (["gateway"], ["sessions", "list"], ["chat", "-m", "hi"]):
        result = program.run(*command)
        assert (result.code, result.out) == (2, "")
        assert [line.partition(": ")[0] for line in result.err.splitlines()] == ["miniclaw", "miniclaw"]


def test_check_without_a_gateway_compares_with_the_file_in_force(program: Program, other: Path) -> None:
    """What would be changed is told by key, with both values; nothing is changed by asking."""
    program.write_config('[session]\nmax_sessions = 5\nttl_by_channel = {web = "1d"}\n')
    other.write_text('[session]\nttl = "7d"\n')
    before = program.content()
    result = program.run("config", "check", str(other))
    assert (result.code, result.err) == (0, "")
    assert result.lines == [
        f"{other} is valid. Compared with {program.config_path}, it changes:",
        'session.ttl = "30d" -> "7d"',
        'session.max_sessions = 5 -> "never"',
        'session.ttl_by_channel.web = "1d" -> (not set)',
    ]
    assert program.content() == before


def test_check_of_what_is_shown_changes_nothing_and_warns_of_nothing(program: Program, other: Path) -> None:
    """What is printed can be put into the file, today's words included."""
    program.write_config('[session]\ntrash_for = "off"\nttl = "never"\n')
    other.write_text(program.run("config", "show").out)
    result = program.run("config", "check", str(other))
    assert (result.code, result.err) == (0, "")
    assert result.lines == [f"{other} is valid, and changes nothing compared with {program.config_path}."]


def test_check_beside_a_gateway_compares_with_what_it_goes_by(program: Program) -> None:
    """The file in force was edited since: a restart would bring the change."""
    program.add("web_a", days=1)
    with gateway_thread(program):
        program.write_config('[session]\nttl = "7d"\n')
        told = program.run("config", "check", "--json").json
        shown = program.run("config", "check").lines
    assert told["compared_with"] == "the running gateway"
    assert {"key": "session.ttl", "from": "30d", "to": "7d", "restart": False} in told["changes"]
    assert told["errors"] == []
    assert 'session.ttl = "30d" -> "7d"' in shown


def test_check_beside_a_gateway_says_what_a_reload_cannot_change(program: Program) -> None:
    """Where one key needs a restart, the gateway refuses the file; the others wait for that."""
    program.add("web_a", days=1)
    with gateway_thread(program):
        program.write_config('[session]\nttl = "7d"\n[web]\nport = 8766\n')
        result = program.run("config", "check")
        told = program.run("config", "check", "--json").json["changes"]
    assert result.lines[1:] == ['session.ttl = "30d" -> "7d"', "web.port = 8765 -> 8766 (needs a restart)"]
    assert [change["restart"] for change in told] == [False, True]


def test_check_beside_a_broken_file_in_force_says_that_there_is_nothing_to_compare_with(
    program: Program, other: Path
) -> None:
    """The file that was asked about is right all the same."""
    program.write_config("broken")
    other.write_text("")
    result = program.run("config", "check", str(other))
    assert (result.code, "there is nothing to compare with" in result.err) == (0, True)


def test_check_of_a_file_that_is_missing_is_exit_code_2(program: Program, other: Path) -> None:
    """A file that was named has to be there; the usual one need not be."""
    result = program.run("config", "check", str(other))
    assert (result.code, result.err) == (2, f"miniclaw: {other}: there is no such file\n")
    assert program.run("config", "check").code == 0


def test_check_warns_of_old_words_and_of_channels_that_there_are_not(program: Program, other: Path) -> None:
    """They are no errors: the file is taken."""
    program.add("mail_a", days=1)
    other.write_text('[session]\ntrash_for = "never"\nttl_by_channel = {telegran = "1d", mail = "1d", web = "1d"}\n')
    result = program.run("config", "check", str(other))
    assert (result.code, result.err) == (0, "")
    old, strange = (line for line in result.lines if line.startswith("warning: "))
    assert 'write trash_for = "off"' in old
    assert strange.endswith(
        'ttl_by_channel.telegran: no channel and no session is called telegran; did you mean "telegram"?'
    )


def test_old_word_for_no_trash_is_a_warning_at_every_command_and_still_means_none(program: Program) -> None:
    """Yesterday's printed configuration starts, and nothing goes to a trash that was switched off."""
    program.write_config('[session]\ntrash_for = "never"\n')
    program.add("web_a", days=1)
    result = program.run("sessions", "delete", "--yes", "web_a")
    assert (result.code, "it cannot be restored" in result.out) == (0, True)
    assert result.err.startswith(
        f'miniclaw: warning: {program.config_path}: session.trash_for: "never" is read as "off"'
    )
    assert len(result.err.splitlines()) == 1
