"""A gateway on a file system without sockets: it runs, and each command says in a sentence that it cannot be asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.gateway_beside import gateway_beside
from tests.fakes.program import Program

WITHOUT_SOCKETS = """
import errno, os
import miniclaw.web.server.listening as listening
def refuse(*args):
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))
listening._bind_private = refuse
"""


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, int]]:
    """A program beside a gateway that has no socket, and the gateway's process."""
    place = tmp_path_factory.mktemp("without-socket")
    program = Program(place / "home")
    program.add("web_a", days=1)
    with gateway_beside(program, prepared_by=WITHOUT_SOCKETS, log=place / "log") as gateway:
        yield program, gateway.pid
    assert (place / "log").read_text().count("Commands cannot reach this gateway") == 1


@pytest.mark.parametrize(
    "command", [["sessions", "list"], ["sessions", "show", "web_a"], ["status"], ["sessions", "due"]]
)
def test_command_that_looks_says_once_what_it_does_not_see(held: tuple[Program, int], command: list[str]) -> None:
    """What is on the disk is shown; what the gateway has in memory is not, and that is said."""
    program, pid = held
    result = program.run(*command)
    assert result.code == 0
    assert result.out
    assert result.err.count("warning") == 1
    assert (
        f"is held by process {pid}, which takes no commands at {program.home / 'workspace' / 'gateway.sock'}"
        in result.err
    )


@pytest.mark.parametrize(
    "command",
    [["sessions", "delete", "web_a", "--yes"], ["sessions", "pin", "web_a"], ["sessions", "cleanup", "--yes"]],
)
def test_command_that_changes_something_is_refused(held: tuple[Program, int], command: list[str]) -> None:
    """Nothing is done behind the gateway's back; the sentence says why, and what would be right."""
    program, pid = held
    before = program.files()
    result = program.run(*command)
    assert result.code == 1
    assert f"held by process {pid}; stop it first, or use another directory (it takes no commands at" in result.err
    assert program.files() == before


def test_open_says_where_the_link_is(held: tuple[Program, int]) -> None:
    """A link cannot be asked for; the one of the start is the way."""
    program, pid = held
    result = program.run("open", "--print")
    assert result.code == 1
    assert f"process {pid} holds the workspace" in result.err
    assert "printed a link at its start" in result.err


def test_chat_beside_it_is_refused(held: tuple[Program, int]) -> None:
    """There is no second owner, and no conversation that would not be saved."""
    program, pid = held
    result = program.run("chat", "-m", "hi")
    assert result.code == 1
    assert f"held by process {pid}" in result.err


def test_command_without_any_gateway_warns_of_nobody(program: Program) -> None:
    """Where nobody holds the workspace, there is nothing to be said."""
    program.add("web_a", days=1)
    assert program.run("sessions", "list").err == ""
