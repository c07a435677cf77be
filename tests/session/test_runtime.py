"""The runtime, whole: start, end, and what a crash of its user does."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import miniclaw
from miniclaw.errors import SessionsDirectoryError, UnsavedSessionsError, WorkspaceHeldError
from miniclaw.session.manager import SessionManager
from miniclaw.session.persistence import PERSISTENCE_INTERVAL_SECS
from miniclaw.session.runtime import GRACE_SECONDS, open_runtime
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import read_contents, write_session
from tests.fakes.threads import settle, until, wait_in_thread
from tests.fakes.work_folder import left_in_work


async def test_open_saves_in_the_background_and_flushes_at_the_end(
    sessions_dir: Path, clock: WallClock, mock_clock: MockClock
) -> None:
    """Both services run as siblings; what is said after the last tick is saved on leaving."""
    async with open_runtime(sessions_dir, clock=clock) as runtime:
        await settle()
        assert runtime.cleanup_service.runs == 1
        session = await runtime.manager.get_or_create_session("telegram", "1")
        mock_clock.jump(PERSISTENCE_INTERVAL_SECS)
        await settle()
        assert (sessions_dir / "telegram_1.json").exists()
        await runtime.manager.add_message(session.session_id, Message("user", "last words", clock.now))
    assert "last words" in (sessions_dir / "telegram_1.json").read_text()


async def test_open_user_crashes_flushes_all_the_same(sessions_dir: Path, clock: WallClock) -> None:
    """An error in the block is raised as itself, and nothing that was said is lost by it."""

    async def crash() -> None:
        async with open_runtime(sessions_dir, clock=clock) as runtime:
            await runtime.manager.get_or_create_session("telegram", "1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await crash()
    assert (sessions_dir / "telegram_1.json").exists()


async def test_open_cancelled_flushes_all_the_same(sessions_dir: Path, clock: WallClock) -> None:
    """A cancellation from outside does not cost what was not saved yet."""
    with trio.CancelScope() as scope:
        async with open_runtime(sessions_dir, clock=clock) as runtime:
            await runtime.manager.get_or_create_session("telegram", "1")
            scope.cancel()
            await trio.sleep_forever()
    assert (sessions_dir / "telegram_1.json").exists()


async def test_open_twice_is_refused_and_the_first_goes_on(sessions_dir: Path, clock: WallClock) -> None:
    """One runtime owns a directory."""
    async with open_runtime(sessions_dir, clock=clock) as runtime:
        with pytest.raises(WorkspaceHeldError):
            async with open_runtime(sessions_dir, clock=clock):
                pass
        await runtime.manager.get_or_create_session("telegram", "1")
    assert (sessions_dir / "telegram_1.json").exists()


async def test_open_on_a_file_is_refused(sessions_dir: Path) -> None:
    """What is no directory is told before anything runs."""
    sessions_dir.parent.mkdir()
    sessions_dir.write_text("x")
    with pytest.raises(SessionsDirectoryError):
        async with open_runtime(sessions_dir):
            pass


async def test_close_on_a_full_disk_says_what_was_not_saved(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """What even the last flush could not save is named."""
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    logs.expect_error("Journal could not be written; sessions are saved as a whole")
    logs.expect_error("Sessions could not be saved before the end")
    fs = FaultyOs()

    async def run() -> None:
        async with open_runtime(sessions_dir, clock=clock, fs=fs) as runtime:
            await runtime.manager.get_or_create_session("telegram", "1")
            fs.fail("rename", errno.ENOSPC, path="telegram_1.json")
            fs.fail("pwrite", errno.ENOSPC)

    with pytest.raises(UnsavedSessionsError, match="telegram_1") as caught:
        await run()
    assert caught.value.session_ids == ("telegram_1",)
    assert logs.one("Sessions could not be saved before the end")["session_ids"] == ("telegram_1",)


async def test_close_on_a_hung_disk_ends_by_its_deadline(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, mock_clock: MockClock
) -> None:
    """A flush that hangs is given up at its deadline; the others are saved, and what was not is named."""
    logs.expect_error("Journal could not be written; sessions are saved as a whole")
    logs.expect_error("Sessions could not be saved before the end")
    fs = FaultyOs()
    fs.fail("pwrite", errno.ENOSPC)
    gate = fs.block("rename", path="telegram_hung.json")
    managers: list[SessionManager] = []

    async def run() -> None:
        async with open_runtime(sessions_dir, clock=clock, fs=fs) as runtime:
            managers.append(runtime.manager)
            await runtime.manager.get_or_create_session("telegram", "hung")
            await runtime.manager.get_or_create_session("telegram", "2")

    async def end() -> None:
        with pytest.raises(UnsavedSessionsError, match="telegram_hung"):
            await run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end)
        await wait_in_thread(gate.reached)
        await until(lambda: managers[0].dirty_sessions() == ["telegram_hung"])
        mock_clock.jump(GRACE_SECONDS)
    assert logs.one("Sessions could not be saved before the end")["session_ids"] == ("telegram_hung",)
    gate.opened.set()


async def test_close_on_a_hung_file_leaves_the_journal_to_the_next_start(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, mock_clock: MockClock
) -> None:
    """A message that the journal holds is not unsaved: one line says so, and the next start writes the file."""
    fs = FaultyOs()
    gate = fs.block("rename", path="telegram_hung.json")
    managers: list[SessionManager] = []

    async def run() -> None:
        async with open_runtime(sessions_dir, clock=clock, fs=fs, cleanup_interval_seconds=None) as runtime:
            managers.append(runtime.manager)
            for chat in ("hung", "2"):
                session = await runtime.manager.get_or_create_session("telegram", chat)
                await runtime.manager.add_message(session.session_id, Message("user", "kept", clock.now))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await wait_in_thread(gate.reached)
        await until(lambda: managers[0].dirty_sessions() == ["telegram_hung"])
        mock_clock.jump(GRACE_SECONDS)
    left = "Session files could not be written; the next start takes them from the journal"
    assert (logs.one(left)["level"], logs.one(left)["sessions"]) == ("info", 1)
    assert list((sessions_dir / ".journal").iterdir())
    copy = shutil.copytree(sessions_dir, sessions_dir.with_name("copy"))  # the hung thread still holds the lock
    gate.opened.set()
    (copy / "telegram_2.json").unlink()  # by hand: it does not return
    async with open_runtime(copy, clock=clock, cleanup_interval_seconds=None) as runtime:
        assert read_contents(copy / "telegram_hung.json") == ["kept"]
        assert await runtime.manager.get_session("telegram_2") is None
    assert list((copy / ".journal").iterdir()) == []


async def test_close_waits_for_a_sweep_that_has_begun(sessions_dir: Path, clock: WallClock, logs: LogRecorder) -> None:
    """Leaving in the middle of a sweep completes the removal that has begun and begins none."""
    for number in range(100):
        write_session(sessions_dir, f"telegram_{number}", clock.ago(days=31))
    fs = FaultyOs()
    gate = fs.block("unlink", path="telegram_")
    async with open_runtime(sessions_dir, clock=clock, fs=fs, announce_first=False):
        await wait_in_thread(gate.reached)
        gate.opened.set()
    left = len(list(sessions_dir.glob("*.json")))
    assert left + logs.one("Session cleanup interrupted")["sessions_deleted"] == 100
    assert 0 < left < 100
    assert left_in_work(sessions_dir) == []


async def test_hurry_skips_the_grace_and_flushes(sessions_dir: Path, clock: WallClock, mock_clock: MockClock) -> None:
    """In haste nobody waits for the services; what was said is flushed all the same."""
    fs = FaultyOs()
    async with open_runtime(sessions_dir, clock=clock, fs=fs, announce_first=False) as runtime:
        await settle()
        write_session(sessions_dir, "telegram_0", clock.ago(days=31))
        gate = fs.block("scandir")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.cleanup.run)
            await wait_in_thread(gate.reached)
            await runtime.manager.get_or_create_session("telegram", "1")
            nursery.cancel_scope.cancel()
        runtime.hurry()
        gate.opened.set()
    assert (sessions_dir / "telegram_1.json").exists()


async def test_open_relative_path_and_own_state_directory(
    tmp_path: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path may be relative and a string; without a workspace the state lies hidden in the sessions directory."""
    monkeypatch.chdir(tmp_path)
    async with miniclaw.open_runtime("sessions", clock=clock):
        await settle()
    assert (tmp_path / "sessions" / ".state" / "retention.json").exists()
    assert not (tmp_path / "state").exists()


async def test_example_of_the_readme_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedding example that the README shows runs as it stands."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    code = readme.split("<!-- embedding example -->")[1].split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "example"}
    exec(compile(code, "README.md", "exec"), namespace)  # noqa: S102 - our own example
    main = namespace["main"]
    assert callable(main)
    await main()
    assert list((tmp_path / "sessions").glob("*.json"))
