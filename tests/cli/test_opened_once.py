"""How often a command opens the sessions directory, and asks who owns it."""

from __future__ import annotations

import pytest

from miniclaw.cli import Settings
from miniclaw.cli.access import CommandWorkspace
from miniclaw.session.files.directory import SessionDirectory
from tests.fakes.program import Program

_COUNTED = """
import atexit, sys
from miniclaw.__main__ import main
from miniclaw.session.files import ownable

opens, probes, open_directory, find_holder = [], [], ownable.open_directory, ownable.find_holder

def count_open(*args, **options):
    opens.append(args)
    return open_directory(*args, **options)

def count_probe(*args):
    probes.append(args)
    return find_holder(*args)

ownable.open_directory, ownable.find_holder = count_open, count_probe
atexit.register(lambda: print(len(opens), len(probes), file=sys.stderr))
main()
"""


def _count(program: Program, command: str) -> tuple[int, int]:
    """Run a command; return how often it opened the directory, and how often it probed the owner."""
    result = program.run_python(_COUNTED, *command.split())
    assert result.code == 0, result
    opens, probes = map(int, result.err.splitlines()[-1].split())
    return opens, probes


@pytest.mark.parametrize(
    ("command", "opens", "probes"),
    [
        ("sessions list", 1, 1),
        ("sessions show web_a", 1, 1),
        ("sessions export --channel web", 1, 1),
        ("sessions stats", 1, 1),
        ("sessions cleanup --dry-run", 1, 1),
        ("status", 1, 1),
        ("history", 1, 0),
        ("trash list", 1, 0),
        ("sessions cleanup --yes", 2, 1),
        ("sessions delete --yes web_a", 2, 1),
        ("sessions delete --yes --channel web", 2, 1),
        ("sessions pin web_a", 2, 1),
        ("sessions move web_a web_b", 2, 1),
        ("trash empty --yes", 1, 1),
    ],
)
def test_command_opens_the_directory_once_to_read_and_once_to_own(
    program: Program, command: str, opens: int, probes: int
) -> None:
    """The directory is opened once to read it, once more by a command that owns it, and its owner is probed once."""
    program.add("web_a", days=40)
    assert _count(program, command) == (opens, probes)


def test_missing_directory_is_no_sessions_yet_and_is_not_created(program: Program) -> None:
    """Before the first session a command finds none, asks for no owner, and makes no directory."""
    for command in ("sessions list", "sessions cleanup --yes", "status"):
        assert _count(program, command)[1] == 0
    assert not program.home.exists()


def test_owner_is_asked_again_of_the_directory_that_is_there_by_then(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a person was asked, a backup may have been put into the directory's place, and a gateway started on it."""
    program.add("web_a", days=1)
    monkeypatch.setenv("MINICLAW_HOME", str(program.home))
    with CommandWorkspace(Settings(None)) as workspace:
        assert workspace.holder is None
        sessions = workspace.home.sessions_dir
        sessions.rename(sessions.with_name("before"))
        with SessionDirectory.open(sessions, create=True) as restored:
            restored.own()
            workspace._forget_owner()
            assert workspace.holder is not None
