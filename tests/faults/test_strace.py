"""The program as people run it, under strace: what the seam of the other tests cannot hide.

One fault of each kind on each path that changes something, injected into the system calls of the unmodified program;
and a trace of whole runs, in which nothing outside of the home is changed.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.stranded import WORK_NAME
from miniclaw.session.removal.staging import StagingArea
from tests.fakes.program import Result
from tests.fakes.strace import Straced, why_no_strace
from tests.fakes.work_folder import left_in_work

pytestmark = [pytest.mark.skipif(bool(why_no_strace()), reason=str(why_no_strace()))]

FRESH = ("web_new", "console_tester")
OLD = ("web_old0", "web_old1")

CHAT = ("chat", "-m", "hello")
CLEANUP = ("sessions", "cleanup", "--yes")
DELETE = ("sessions", "delete", "web_old0", "--yes")
LIST = ("sessions", "list")

FSYNC = "fsync:error=EIO"
RENAME = "renameat:error=ENOSPC"
OPEN = "openat:error=EACCES"
UNLINK = "unlinkat:error=EACCES"
WRITE = "write:error=ENOSPC"
WRITE_IN_PLACE = "pwrite64:error=ENOSPC"
MKDIR = "mkdirat:error=EROFS"

NOT_SAVED = "Sessions could not be saved before the end"
IN_JOURNAL = "Session could not be saved; it stays in memory for the next try"  # and in the journal, for the next start
ONE_FAILED = "1 could not be removed; the log above says why."
TWO_FAILED = "2 could not be removed; the log above says why."


@dataclass(frozen=True)
class Case:
    """A run with faults, and what it has to say.

    Attributes:
        args: The command.
        faults: What strace injects.
        paths: Only on these; a name, or ``/`` and a path in the sessions directory.
        code: The exit code.
        says: On standard error, as is why.
        removed: How many of `OLD` may be gone.
    """

    args: tuple[str, ...]
    faults: tuple[str, ...]
    paths: tuple[str, ...]
    code: int
    says: str
    why: str
    removed: int = 0


CASES = {
    "chat-fsync": Case(CHAT, (FSYNC,), (), 1, NOT_SAVED, "could not save: Input/output error"),
    "chat-fsync-directory": Case(CHAT, (FSYNC,), ("/",), 1, NOT_SAVED, "could not sync: Input/output error"),
    "chat-rename": Case(CHAT, (RENAME,), (), 0, IN_JOURNAL, "could not save: No space left on device"),
    "chat-rename-unlink": Case(CHAT, (RENAME, UNLINK), (), 0, IN_JOURNAL, "could not save: No space left on device"),
    "chat-open": Case(
        CHAT, (OPEN,), ("console_tester.json",), 1, "Message could not be recorded", "could not read: Permission denied"
    ),
    "chat-mkdir": Case(CHAT, (MKDIR,), (), 1, "/.work: could not open", "Read-only file system"),
    "cleanup-fsync": Case(CLEANUP, (FSYNC,), ("/",), 1, TWO_FAILED, "could not make a folder for removals: Input/"),
    "cleanup-rename": Case(
        CLEANUP, (RENAME,), ("web_old0.json",), 1, ONE_FAILED, "could not move it aside: No space left on device", 1
    ),
    "cleanup-rename-all": Case(
        CLEANUP, (RENAME,), (), 1, "retention.json: could not write: No space", "could not move it aside: No space left"
    ),
    "cleanup-open": Case(
        CLEANUP, (OPEN,), ("web_old0.json",), 0, "Session file kept", "could not open it: Permission denied", 1
    ),
    "cleanup-unlink": Case(
        CLEANUP, (UNLINK,), ("web_old0.json",), 1, ONE_FAILED, "could not remove it: Permission denied", 1
    ),
    "cleanup-mkdir": Case(CLEANUP, (MKDIR,), (), 1, "/.work: could not open", "Read-only file system"),
    "delete-fsync": Case(DELETE, (FSYNC,), (), 1, "could not make a folder for removals", "Input/output error"),
    "delete-rename": Case(DELETE, (RENAME,), (), 1, "web_old0.json: could not move it aside", "No space left"),
    "delete-open": Case(DELETE, (OPEN,), ("web_old0.json",), 1, "web_old0.json: could not open it", "Permission den"),
    "delete-unlink": Case(
        DELETE, (UNLINK,), ("web_old0.json",), 1, "web_old0.json: could not remove it", "Permission denied"
    ),
    "delete-mkdir": Case(DELETE, (MKDIR,), (), 1, "/.work: could not open", "Read-only file system"),
    "list-open": Case(LIST, (OPEN,), ("web_old0.json",), 0, "1 file could not be read as sessions", "--dry-run"),
}


@pytest.fixture
def program(tmp_path: Path) -> Straced:
    """The program, with two expired sessions and two that are not."""
    program = Straced(tmp_path / "home")
    for days, session_id in enumerate(OLD, start=31):
        program.add(session_id, days=days)
    for session_id in FRESH:
        program.add(session_id, days=1)
    return program


def read(program: Straced) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in program.sessions_dir.glob("*.json")}


def located(program: Straced, paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{program.sessions_dir}{path}".removesuffix("/") if path.startswith("/") else path for path in paths)


def assert_nothing_lost(program: Straced, before: dict[str, bytes], *, removed: int = 0) -> None:
    """All sessions are there, whole, but for so many expired ones; after the next start nothing temporary is."""
    with SessionDirectory.open(program.sessions_dir) as directory:
        directory.own()
        StagingArea(directory).recover()
    assert left_in_work(program.sessions_dir) == []
    after = read(program)
    assert set(before) - set(after) <= set(OLD)
    assert len(after) == len(before) - removed
    for session_id, data in after.items():
        if session_id == "console_tester" and data != before[session_id]:
            assert json.loads(data)["messages"][0] == json.loads(before[session_id])["messages"][0]
        else:
            assert data == before[session_id]


@pytest.mark.parametrize("name", CASES)
def test_program_failing_call_is_told_and_loses_nothing(program: Straced, name: str) -> None:
    """A system call that fails is told in a sentence and by the exit code, and every session is still there, whole."""
    case, before = CASES[name], read(program)
    result = program.run_with(case.faults, located(program, case.paths), *case.args)
    assert program.injected, program.log
    assert result.code == case.code, result
    assert case.says in result.err, result
    assert case.why in result.err, result
    assert_nothing_lost(program, before, removed=case.removed)


@pytest.mark.parametrize("fault", ["mkdir:error=EROFS", MKDIR])
@pytest.mark.parametrize("command", ["chat", "gateway"])
def test_program_home_that_cannot_be_made_ends_it(tmp_path: Path, command: str, fault: str) -> None:
    """Where the workspace cannot be made, the program says so in one sentence and exits with 1."""
    program = Straced(tmp_path / "home")
    result = program.run_with((fault,), (), command, *(["-m", "hello"] if command == "chat" else []))
    assert program.injected
    assert result.code == 1
    assert result.err.startswith(f"miniclaw: {program.sessions_dir}")
    assert "Read-only file system" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is missing: apt-get install util-linux")
def test_chat_short_write_leaves_the_old_session(program: Straced) -> None:
    """A genuine short write, and the error after it, leave the session as it was and nothing temporary."""
    before = read(program)
    result: Result = program.run_limited(600, "chat", "-m", "x" * 1000)
    assert NOT_SAVED in result.err
    assert "could not save: File too large" in result.err
    assert read(program) == before
    assert left_in_work(program.sessions_dir) == []


GATEWAY_CASES = {
    "fsync": ((FSYNC,), ("/",), "could not make a folder for removals: Input/output error", 0),
    "rename": ((RENAME,), (), "Cleanup state could not be written", 0),
    "open": ((OPEN,), ("web_old0.json",), "could not open it: Permission denied", 1),
    "open-state": ((OPEN,), ("retention.json",), "retention.json: could not read: Permission denied", 2),
    "unlink": ((UNLINK,), ("web_old0.json",), "could not remove it: Permission denied", 1),
}


@pytest.mark.parametrize("name", GATEWAY_CASES)
def test_gateway_failing_call_is_logged_and_it_goes_on(program: Straced, name: str) -> None:
    """A gateway whose cleanup meets an error logs it, goes on, ends well by SIGTERM, and no session is lost."""
    faults, paths, says, removed = GATEWAY_CASES[name]
    program.write_config("[session]\nnotice = 'off'\n")
    program.state_dir.mkdir()
    (program.state_dir / "retention.json").write_text("{}")
    before = read(program)
    with program.gateway(faults, located(program, paths)) as gateway:
        gateway.read_until("Session cleanup complete")
        assert gateway.terminate() == 0, gateway.err
    assert program.injected
    assert says in gateway.err
    assert '"level":"error"' in gateway.err
    assert "Gateway stopped" in gateway.err
    assert_nothing_lost(program, before, removed=removed)


@pytest.mark.parametrize(("command", "removed"), [(CHAT, 0), (CLEANUP, 2), (DELETE, 1)])
def test_program_lock_that_cannot_be_written_holds_all_the_same(
    program: Straced, command: tuple[str, ...], removed: int
) -> None:
    """Who holds the lock cannot be noted on a full disk; the command does its work, and all else is there."""
    before = read(program)
    result = program.run_with((WRITE_IN_PLACE,), located(program, ("/.lock",)), *command)
    assert program.injected
    assert (result.code, result.err) == (0, "")
    assert_nothing_lost(program, before, removed=removed)


def test_gateway_lock_that_cannot_be_written_holds_all_the_same(program: Straced) -> None:
    """A gateway that cannot note who holds the lock starts, sweeps, and ends well."""
    program.write_config("[session]\nnotice = 'off'\n")
    before = read(program)
    with program.gateway((WRITE_IN_PLACE,), located(program, ("/.lock",))) as gateway:
        gateway.read_until("Session cleanup complete")
        assert gateway.terminate() == 0, gateway.err
    assert program.injected
    assert_nothing_lost(program, before, removed=2)


def test_program_whole_runs_change_nothing_outside_of_the_home(program: Straced) -> None:
    """In no run is a path outside of the home opened for writing, made, renamed, linked or removed."""
    changed: set[str] = set()
    for args in (CHAT, DELETE, CLEANUP, LIST, ("sessions", "show", "web_new")):
        assert program.run_traced(*args).code == 0
        changed |= program.changed_paths()
    inside = {path for path in changed if Path(path).is_relative_to(program.home)}
    assert {path for path in changed - inside if not path.startswith("/dev/")} == set()
    # The trace sees what it is there for.
    assert {str(program.sessions_dir / f"{session_id}.json") for session_id in ("console_tester", *OLD)} <= inside
    assert any(f"/{WORK_NAME}/rm-" in path for path in inside)
