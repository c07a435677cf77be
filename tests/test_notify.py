"""``[notify] command``: it is told what was announced, and nothing that becomes of it stops the gateway."""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from miniclaw.config import Config, Home
from miniclaw.config.in_force import ConfigInForce
from miniclaw.config.notify import NotifyConfig
from miniclaw.daemon.notify import COMMAND_SECONDS, tell, teller
from miniclaw.gateway import run_gateway
from miniclaw.session.maintenance.announcements import Announcement
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session
from tests.fakes.threads import until

AT = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
ANNOUNCED = Announcement(AT, 2, 900, 1, AT + timedelta(days=1), {"first_run": 3}, ("web_1", "web_2"))


def script(folder: Path, text: str, *, mode: int = 0o755) -> str:
    """Write a shell script, and return its path."""
    path = folder / "tell-admin"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)
    return str(path)


async def read(path: Path) -> Any:
    """Return what a script has written, once it has."""
    await until(path.exists)
    return json.loads(path.read_text())


async def test_tell_gives_the_announcement_as_json_on_standard_input(tmp_path: Path) -> None:
    """All that the gateway knows of it, and which command says more; the arguments are as they are, without a shell."""
    out = tmp_path / "out"
    command = script(tmp_path, 'cat > "$1"; printf %s "$2" > "$1.argument"')
    await tell((command, str(out), "$HOME; a b"), Home(tmp_path), ANNOUNCED)
    assert json.loads(out.read_text()) == {
        "event": "announced",
        "workspace": str(tmp_path / "workspace"),
        "at": "2026-11-23T04:00:00Z",
        "sessions": 2,
        "bytes": 900,
        "files": 1,
        "goes_at": "2026-11-24T04:00:00Z",
        "reasons": {"first_run": 3},
        "session_ids": ["web_1", "web_2"],
        "list_them": "miniclaw sessions due",
    }
    assert (tmp_path / "out.argument").read_text() == "$HOME; a b"


async def test_tell_command_that_fails_is_an_error_with_its_code_and_what_it_said(
    tmp_path: Path, logs: LogRecorder
) -> None:
    """Both outputs, in their order."""
    logs.expect_error("Notify command failed")
    command = script(tmp_path, "echo no mail; echo server >&2; exit 3")
    await tell((command,), Home(tmp_path), ANNOUNCED)
    error = logs.one("Notify command failed")
    assert (error["command"], error["exit_code"], error["output"]) == (command, 3, "no mail\nserver")


async def test_tell_command_killed_by_a_signal_is_an_error(tmp_path: Path, logs: LogRecorder) -> None:
    """It has no exit code of its own."""
    logs.expect_error("Notify command failed")
    await tell((script(tmp_path, "kill -9 $$"),), Home(tmp_path), ANNOUNCED)
    assert logs.one("Notify command failed")["exit_code"] == -9


@pytest.mark.parametrize(
    ("name", "mode", "error"),
    [("tell-admin", 0o644, "Permission denied"), ("missing", 0o755, "No such file or directory")],
    ids=["not executable", "not there"],
)
async def test_tell_command_that_cannot_be_run_is_an_error(
    tmp_path: Path, logs: LogRecorder, name: str, mode: int, error: str
) -> None:
    """The error names it, and what the system says."""
    script(tmp_path, "exit 0", mode=mode)
    logs.expect_error("Notify command could not be run")
    await tell((str(tmp_path / name),), Home(tmp_path), ANNOUNCED)
    found = logs.one("Notify command could not be run")
    assert (found["command"], found["error"]) == (str(tmp_path / name), error)


async def test_tell_command_that_does_not_read_is_no_error(tmp_path: Path) -> None:
    """A script that only wants to know that there is something closes its input, or ends at once."""
    many = Announcement(AT, 100, 900, 0, None, {"first_run": 100}, tuple(f"web_{'x' * 2000}{n}" for n in range(100)))
    out = tmp_path / "out"
    await tell((script(tmp_path, f"exec <&-; echo done > {out}"),), Home(tmp_path), many)
    assert out.read_text() == "done\n"


async def test_tell_command_that_says_a_lot_is_read_to_its_end(tmp_path: Path, logs: LogRecorder) -> None:
    """It must not block on a full pipe; of what it says, the beginning stands in the log."""
    logs.expect_error("Notify command failed")
    await tell(
        (sys.executable, "-c", "import sys; sys.stdout.write('x' * 3_000_000 + '\\udc80'); sys.exit(1)"),
        Home(tmp_path),
        ANNOUNCED,
    )
    assert logs.one("Notify command failed")["output"] == "x" * 2000


async def test_tell_command_that_leaves_something_running_is_not_waited_for(tmp_path: Path, logs: LogRecorder) -> None:
    """A mailer in the background may hold the output open; the command itself has ended well."""
    pid_file = tmp_path / "pid"
    await tell((script(tmp_path, f"sleep 1000 & echo $! > {pid_file}"),), Home(tmp_path), ANNOUNCED)
    os.kill(int(pid_file.read_text()), signal.SIGKILL)  # it was still there
    assert not logs.events


async def test_tell_command_that_hangs_is_killed_when_its_time_is_over(
    tmp_path: Path, logs: LogRecorder, mock_clock: MockClock
) -> None:
    """Half a minute, and not less; then the process is gone, and the error says so."""
    logs.expect_error("Notify command took too long and was killed")
    pid_file = tmp_path / "pid"
    # Without a shell between: the process that is killed is the one that hangs.
    program = "import os, signal, sys; open(sys.argv[1] + '~', 'w').write(str(os.getpid())); " \
        "os.rename(sys.argv[1] + '~', sys.argv[1]); signal.pause()"  # fmt: skip
    command = (sys.executable, "-c", program, str(pid_file))
    ended = trio.Event()

    async def run() -> None:
        await tell(command, Home(tmp_path), ANNOUNCED)
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        pid = await trio.to_thread.run_sync(_wait_for, pid_file)
        mock_clock.jump(COMMAND_SECONDS - 0.1)
        await trio.testing.wait_all_tasks_blocked()
        assert not ended.is_set()
        assert Path(f"/proc/{pid}").exists()
        mock_clock.jump(0.2)
        # trio gives the process time to end at SIGTERM, by its own clock, before it kills it.
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.rate = 1
        await ended.wait()
    assert not Path(f"/proc/{pid}").exists()
    assert logs.one("Notify command took too long and was killed")["seconds"] == COMMAND_SECONDS


def _wait_for(path: Path) -> int:
    import time

    while not path.exists():
        time.sleep(0.01)
    return int(path.read_text())


async def test_teller_tells_the_command_that_is_in_force_then(tmp_path: Path) -> None:
    """No command is run until the configuration names one, and then that one."""
    in_force = ConfigInForce(Config())
    announced = teller(in_force, Home(tmp_path))
    await announced(ANNOUNCED)
    out = tmp_path / "out"
    in_force.config = Config(notify=NotifyConfig((script(tmp_path, f"cat > {out}"),)))
    await announced(ANNOUNCED)
    assert json.loads(out.read_text())["sessions"] == 2


async def test_run_gateway_tells_the_command_what_its_first_run_announces(
    tmp_path: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A gateway over old sessions: one of them had expired before anybody announced it, and the administrator is told."""
    home, out = Home(tmp_path), tmp_path / "out"
    for days in (31, 25, 1):
        write_session(home.sessions_dir, f"web_{days}", clock.ago(days=days))
    command = script(tmp_path, f"cat > {out}~ && mv {out}~ {out}")
    config = Config(notify=NotifyConfig((command,)))
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda *, task_status: run_gateway(config, home, clock=clock, task_status=task_status))
        said = await read(out)
        nursery.cancel_scope.cancel()
    assert (said["sessions"], said["session_ids"], said["reasons"]) == (1, ["web_31"], {"first_run": 1})
    assert said["goes_at"] == (clock.now + timedelta(days=1)).isoformat().replace("+00:00", "Z")
    assert len(list(home.sessions_dir.glob("*.json"))) == 3


async def test_run_gateway_goes_on_whatever_becomes_of_the_command(
    tmp_path: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A command that is not there is an ERROR in the log, and nothing else."""
    logs.expect_error("Notify command could not be run")
    home = Home(tmp_path)
    write_session(home.sessions_dir, "web_old", clock.ago(days=31))
    config = Config(notify=NotifyConfig((str(tmp_path / "missing"),)))
    async with trio.open_nursery() as nursery:
        running = await nursery.start(
            lambda *, task_status: run_gateway(config, home, clock=clock, task_status=task_status)
        )
        await until(lambda: bool(logs.named("Notify command could not be run")))
        await running.runtime.manager.get_or_create_session("web", "new")
        nursery.cancel_scope.cancel()
    assert (home.sessions_dir / "web_old.json").exists()
