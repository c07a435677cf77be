"""Programs that embed the runtime and get something wrong: told by name, and at nobody else's cost."""

from __future__ import annotations

import asyncio
import errno
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio

from miniclaw.errors import InvalidMessageError, InvalidSessionIdError, NoTrioError
from miniclaw.session.cleanup import Cleanup
from miniclaw.session.live.store import FileSessionStore, open_store
from miniclaw.session.manager import SessionManager
from miniclaw.session.runtime import open_runtime
from miniclaw.stores import MemoryStore, open_store_runtime
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.fakes.threads import wait_in_thread
from tests.fakes.work_folder import left_in_work


def test_runtime_on_asyncio_is_refused_and_names_the_way_out(sessions_dir: Path) -> None:
    """A program on another event loop learns what it needs, and nothing is made on its disk."""

    async def enter(runtime: AbstractAsyncContextManager[object]) -> None:
        async with runtime:
            pass

    for runtime in (open_runtime(sessions_dir / "new"), open_store_runtime(MemoryStore())):
        with pytest.raises(NoTrioError, match=r"trio\.run.*miniclaw\.blocking"):
            asyncio.run(enter(runtime))
    assert not (sessions_dir / "new").exists()


@pytest.mark.parametrize("call", ["run", "plan", "scan_expired_sessions"])
def test_cleanup_on_asyncio_is_refused_and_names_the_way_out(sessions_dir: Path, call: str) -> None:
    """The same error as that of a runtime, and the directory is not touched."""

    async def use() -> None:
        await getattr(Cleanup(sessions_dir), call)()

    before = sorted(sessions_dir.rglob("*"))
    with pytest.raises(NoTrioError, match=r"trio\.run.*miniclaw\.blocking"):
        asyncio.run(use())
    assert sorted(sessions_dir.rglob("*")) == before


async def test_session_that_was_spoilt_costs_no_other(
    manager: SessionManager, sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """Whatever somebody puts into one session, the others are saved, and the ERROR names the one."""
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    spoilt = await manager.get_or_create_session("web", "spoilt")
    renamed = await manager.get_or_create_session("web", "renamed")
    await manager.get_or_create_session("web", "good")
    spoilt.messages.append("junk")  # type: ignore[arg-type]
    renamed.session_id = "../../x"
    renamed.chat_id = "../../x"
    report = await manager.save_all_sessions()
    assert report.failed == ("web_spoilt",)
    assert sorted(path.name for path in sessions_dir.glob("*.json")) == ["web_good.json", "web_renamed.json"]
    assert '"chat_id":"renamed"' in (sessions_dir / "web_renamed.json").read_text()


@pytest.mark.parametrize(("channel", "chat_id"), [(1, "x"), ("web", 5), ("web", b"x"), (None, None)])
async def test_ids_that_are_no_texts_are_refused(manager: SessionManager, channel: Any, chat_id: Any) -> None:
    """An id of another type is refused as an id that names nothing."""
    with pytest.raises(InvalidSessionIdError):
        await manager.get_or_create_session(channel, chat_id)


async def test_message_that_is_none_is_refused(manager: SessionManager) -> None:
    """Something else than a message is refused by its type's name."""
    await manager.get_or_create_session("web", "a")
    with pytest.raises(InvalidMessageError, match="not str"):
        await manager.add_message("web_a", "text")  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [float("inf"), 1e20])
async def test_interval_beyond_everything_is_refused(sessions_dir: Path, seconds: float) -> None:
    """An interval that no calendar holds is refused by name."""
    with pytest.raises(ValueError, match="interval_seconds"):
        async with open_runtime(sessions_dir, cleanup_interval_seconds=seconds):
            pass


async def test_working_directory_that_changes_moves_nothing(
    tmp_path: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path means the directory in which the program was when it opened the runtime."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    async with open_runtime("sessions", clock=clock) as runtime:
        monkeypatch.chdir(tmp_path / "elsewhere")
        await runtime.persistence.tick()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (tmp_path / "sessions" / ".state" / "last-seen").exists()


async def test_damaged_file_under_its_bare_name_is_quarantined(
    manager: SessionManager, sessions_dir: Path, logs: LogRecorder
) -> None:
    """Also a damaged file under an earlier implementation's name locks nobody out."""
    logs.expect_error("Session could not be read; begun anew")
    (sessions_dir / "console_Bob.json").write_text("{bad")
    assert (await manager.get_or_create_session("console", "Bob")).messages == []
    assert Path(logs.one("Session could not be read; begun anew")["kept"]).read_text() == "{bad"


async def test_abandoned_quarantine_does_not_take_the_next_session(
    manager: SessionManager, store: FileSessionStore, sessions_dir: Path, fs: FaultyOs
) -> None:
    """A quarantine whose task was cancelled keeps the file's lock: the next one waits, and its session stays."""
    path = sessions_dir / "web_a.json"
    path.write_text("{bad")
    gate = fs.block("rename", path="web_a.json")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.get_or_create_session, "web", "a")
        await wait_in_thread(gate.reached)
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:

        async def next_one() -> None:
            await manager.get_or_create_session("web", "a")
            await manager.save_all_sessions()

        nursery.start_soon(next_one)
        await trio.testing.wait_all_tasks_blocked()
        assert not manager.live_sessions()
        gate.opened.set()
    assert '"session_id":"web_a"' in path.read_text()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_full_disk_removes_all_the_same(sessions_dir: Path, clock: WallClock, number: int) -> None:
    """On a disk without room for a folder or a line in the lock file, the expired sessions still go."""
    for chat in range(40):
        write_session(sessions_dir, f"web_{chat}", clock.ago(days=31))
    async with open_store(sessions_dir):
        pass
    fs = FaultyOs()
    fs.fail("mkdir", number, path="rm-")
    fs.fail("write", number)
    async with open_store(sessions_dir, fs=fs) as store:
        manager = SessionManager(store, clock=clock)
        result = await Cleanup(sessions_dir, clock=clock, manager=manager).run()
    assert result.sessions_deleted == 40
    assert left_in_work(sessions_dir) == []
