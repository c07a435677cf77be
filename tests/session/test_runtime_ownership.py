"""A running session runtime whose directory another process takes over, and one that is used in a forked child."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from miniclaw.errors import ForkedRuntimeError, OwnershipLostError, UnsavedSessionsError
from miniclaw.session.ownership.process import OpeningProcess
from miniclaw.session.runtime import open_runtime
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import write_session
from tests.fakes.tree import Tree, take_tree

LOST: Final = "Sessions directory is owned by another process; nothing is saved or removed any more until a restart"
NOT_SAVED_AT_THE_END: Final = "Sessions could not be saved before the end"


@contextmanager
def taken_over(sessions_dir: Path) -> Iterator[None]:
    """Have another process lock a new `.lock`, as one of an earlier version does."""
    path = sessions_dir / ".lock"
    path.unlink()
    path.write_text('{"pid":4711}')
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


async def test_runtime_taken_over_refuses_messages_and_names_what_it_could_not_save(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """From the next autosave on nothing is accepted, saved or deleted, one ERROR says why, and the end says what."""
    logs.expect_error(LOST)
    logs.expect_error(NOT_SAVED_AT_THE_END)
    old = write_session(sessions_dir, "web_old", clock.ago(days=31))
    before: Tree = {}

    async def run() -> None:
        nonlocal before
        async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None) as runtime:
            manager = runtime.manager
            message = Message("user", "hello", clock.now)
            await manager.get_or_create_session("web", "1")
            await manager.save_all_sessions()
            with taken_over(sessions_dir):
                await manager.add_message("web_1", message)
                await manager.saver.check_place()
                before = take_tree(sessions_dir)
                for _ in range(2):
                    assert (await runtime.persistence.tick()).failed == ("web_1",)
                with pytest.raises(OwnershipLostError, match="belongs to process 4711 now"):
                    await manager.add_message("web_1", message)
                with pytest.raises(OwnershipLostError):
                    await manager.get_or_create_session("web", "2")
                with pytest.raises(OwnershipLostError):
                    await manager.delete_session("web_old")
                with pytest.raises(OwnershipLostError):
                    await runtime.cleanup.run()
                assert runtime.manager.stats.saves.lost_to == "process 4711"
            # Also when the other one has gone: nobody knows what it has changed.
            assert (await runtime.persistence.tick()).failed == ("web_1",)
            assert take_tree(sessions_dir) == before

    with pytest.raises(UnsavedSessionsError, match="web_1"):
        await run()
    assert take_tree(sessions_dir) == before
    assert old.exists()
    assert len(logs.named(LOST)) == 1
    assert {event["event"] for event in logs.events if event["level"] == "error"} == {LOST, NOT_SAVED_AT_THE_END}


async def test_runtime_whose_lock_file_was_deleted_goes_on(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """At the next autosave the file is there again, with a WARNING; chat and saving know nothing of it."""
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None) as runtime:
        (sessions_dir / ".lock").unlink()
        await runtime.manager.get_or_create_session("web", "1")
        assert (await runtime.persistence.tick()).saved == 1
        assert (sessions_dir / ".lock").exists()
        assert logs.one("Lock file was deleted; it is made again")


@pytest.mark.parametrize("work", ["access", "message", "save", "save one", "delete", "cleanup", "load"])
async def test_runtime_in_a_forked_child_refuses_instead_of_waiting(
    sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    """A child has none of the threads that would do the work: each call raises what is wrong, as itself."""
    write_session(sessions_dir, "web_old", clock.ago(days=31))
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None) as runtime:
        manager = runtime.manager
        await manager.get_or_create_session("web", "1")
        calls = {
            "access": lambda: manager.get_session("web_1"),
            "message": lambda: manager.add_message("web_1", Message("user", "hello", clock.now)),
            "save": manager.save_all_sessions,
            "save one": lambda: manager.save_sessions(["web_1"]),
            "delete": lambda: manager.delete_session("web_old"),
            "cleanup": runtime.cleanup.run,
            "load": lambda: manager.get_session("web_old"),
        }
        before = take_tree(sessions_dir)
        with monkeypatch.context() as patched:
            patched.setattr(OpeningProcess, "is_this_one", False)
            with pytest.raises(ForkedRuntimeError, match=f"belongs to process {os.getpid()}"):
                await calls[work]()  # type: ignore[operator]
        assert take_tree(sessions_dir) == before


FORKING_TRIO = """
import os, sys
import trio
from miniclaw.errors import ForkedRuntimeError
from miniclaw.session.runtime import open_runtime

async def main():
    async with open_runtime(sys.argv[1]) as runtime:
        await runtime.manager.get_or_create_session("web", "1")
        if child := os.fork():
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            await runtime.manager.save_all_sessions()
            return
        status = 1
        try:
            await runtime.manager.save_all_sessions()
        except ForkedRuntimeError as error:
            print("child:", error, flush=True)
            status = 0
        finally:
            os._exit(status)

trio.run(main)
print("parent: done")
"""


def test_runtime_that_forks_for_real_goes_on_in_the_parent(sessions_dir: Path) -> None:
    """The child is refused, and the parent, whose descriptors it had, saves and ends as if nothing had been."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING_TRIO, str(sessions_dir)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert "child: the session runtime belongs to process" in done.stdout, done
    assert "parent: done" in done.stdout, done
    assert (sessions_dir / "web_1.json").exists()


async def test_tick_of_an_idle_runtime_looks_at_the_lock_with_one_stat(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs
) -> None:
    """As long as nothing is wrong, looking after the lock asks the disk nothing, and locks nothing."""
    async with open_runtime(sessions_dir, clock=clock, fs=fs, cleanup_interval_seconds=None) as runtime:
        await runtime.persistence.tick()
        fs.calls.clear()
        await runtime.persistence.tick()
        assert [name for name, args in fs.calls if ".lock" in args] == ["stat"]
        assert not {name for name, _ in fs.calls} & {"flock", "fsync"}
