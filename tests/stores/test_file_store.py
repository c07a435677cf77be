"""The store over files: it keeps the protocol, over restarts and kills as well, and the promises of files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec.structs import replace

import miniclaw
from miniclaw.errors import RevisionConflictError, RuntimeClosedError, WorkspaceHeldError
from miniclaw.session.as_store.event_log import LOG_NAME
from miniclaw.session.files.subdirectory import STATE_NAME
from miniclaw.stores import Candidate, Change, FileStore
from miniclaw.testing import check_store, store_checks
from miniclaw.testing.store_checks.trial import message
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS
from tests.stores.dying_store import put, remove

DAY = timedelta(days=1)


@pytest.fixture
def clock() -> WallClock:
    return WallClock(datetime(2026, 6, 1, tzinfo=UTC))


async def test_file_store_passes_every_check(tmp_path: Path, clock: WallClock) -> None:
    """The whole protocol holds over files."""
    number = 0

    @asynccontextmanager
    async def open_stores(owners: Sequence[str]) -> AsyncIterator[Sequence[FileStore]]:
        nonlocal number
        number += 1
        async with FileStore.open(tmp_path / str(number), owner=owners[0], clock=clock) as store:
            yield [store, *map(store.beside, owners[1:])]

    def pass_time(duration: timedelta) -> None:
        clock.move(microseconds=duration // timedelta(microseconds=1))

    report = await check_store(open_stores, pass_time=pass_time, many=300)
    assert {result.name for result in report.results} == set(store_checks())


async def test_everything_is_there_after_a_restart(tmp_path: Path, clock: WallClock) -> None:
    """Sessions, announcements, the audit log, the trash and the last sweep outlast the owner; its leases do not."""
    async with FileStore.open(tmp_path, clock=clock) as store:
        kept, gone = await put(store, "web_kept", [message("x")]), await put(store, "web_gone", [message("y")])
        leased = await store.acquire("web_kept", 300 * DAY)
        clock.move(hours=1)
        await store.announce([kept], DAY)
        entry_id = await remove(store, gone, "sweep")
        await store.pin("web_kept", True)
        turn = await store.begin_sweep(DAY, DAY)
        await store.end_sweep(turn.token, b"\x00note", completed=True)
        await store.note("a note", by="test", op="note")
        before = await store.load("web_kept"), await store.trash(), await store.audit()
        assert before[0] is not None
        assert before[0].header.due_at == clock.now + DAY
    async with FileStore.open(tmp_path, clock=clock) as store:
        stored = await store.load("web_kept")
        assert stored is not None
        assert stored.header.revision > before[0].header.revision  # never one of the earlier owner's
        assert stored.header == replace(before[0].header, revision=stored.header.revision)
        assert (stored.messages, await store.trash(), await store.audit()) == (before[0].messages, *before[1:])
        later = await store.begin_sweep(DAY, DAY)
        assert (later.token, later.note, later.last_began) == (0, b"\x00note", turn.now)
        lease = await store.beside("another").acquire("web_kept", DAY)
        assert lease.token > leased.token
        assert await remove(store, gone, "sweep") == entry_id  # the same run is answered as before
        assert (await store.restore(entry_id, by="test", op="restore")).verdict == "restored"
        assert [line.number for line in await store.audit()][1:] == [line.number for line in before[2]]


async def test_runtime_over_the_directory_finds_the_sessions(tmp_path: Path, clock: WallClock) -> None:
    """The files are those of any runtime: sessions, pin, metadata and trash."""
    async with FileStore.open(tmp_path, clock=clock) as store:
        lease = await store.acquire("web_a", DAY)
        await store.commit(lease, Change(op="1", messages=[message("x")], metadata=b'{"title":"T"}'))
        await store.pin("web_a", True)
        other = await put(store, "web_b", [message("y")])
        clock.move(hours=1)
        await remove(store, other, "sweep")
        with pytest.raises(WorkspaceHeldError):
            async with miniclaw.open_runtime(tmp_path):
                pass
    async with miniclaw.open_runtime(tmp_path, cleanup=None) as sessions:
        session = await sessions.read("web_a")
        assert session is not None
        assert ([each.content for each in session.messages], session.pinned, session.metadata) == (
            ["x"],
            True,
            {"title": "T"},
        )
        assert await sessions.restore("web_b") == "web_b"


async def test_damaged_log_announces_anew_and_removes_nothing(tmp_path: Path, clock: WallClock) -> None:
    """Damaged records are skipped, with a WARNING: a session whose announcement is lost is kept."""
    async with FileStore.open(tmp_path, clock=clock) as store:
        candidate = await put(store, "web_a", [message("x")])
        clock.move(hours=1)
        await store.announce([candidate], timedelta(hours=1))
        await store.note("first", by="test", op="note")
    file = tmp_path / STATE_NAME / LOG_NAME
    announced, note = [line for line in file.read_bytes().split(b"\n") if line]
    file.write_bytes(announced.replace(b"web_a", b"web_b") + b"\n" + note + b"\nhalf a rec")
    clock.move(hours=2)
    async with FileStore.open(tmp_path, clock=clock) as store:
        assert [line.reason for line in await store.audit()] == ["first"]
        outcomes = await store.remove_if_unused(
            [candidate], min_age=timedelta(0), trash_for=None, reason="ttl", by="test", op="op", now=clock.now,
            announced=True,
        )  # fmt: skip
        assert [each.verdict for each in outcomes] == ["unannounced"]
    assert b"half" not in file.read_bytes()  # what counts was written anew


async def test_change_of_another_program_is_a_conflict(tmp_path: Path, clock: WallClock) -> None:
    """A file that was replaced is another revision: the store neither overwrites nor removes it."""
    async with FileStore.open(tmp_path, clock=clock) as store:
        await put(store, "web_a", [message("x")])
    (file,) = tmp_path.glob("*.json")
    async with FileStore.open(tmp_path, clock=clock) as store:
        lease = await store.acquire("web_a", DAY)
        header = await store.header("web_a")
        assert header is not None
        content = json.loads(file.read_text())
        content["messages"].append(content["messages"][0])
        content["last_accessed"] = "2026-06-01T00:00:01Z"
        file.write_text(json.dumps(content))
        clock.move(hours=1)
        with pytest.raises(RevisionConflictError):
            await store.commit(lease, Change(op="1", messages=[message("y")]))
        await store.release(lease)
        outcomes = await store.remove_if_unused(
            [Candidate("web_a", header.last_accessed)], min_age=timedelta(0), trash_for=None, reason="ttl", by="test",
            op="op", now=clock.now,
        )  # fmt: skip
        assert [each.verdict for each in outcomes] == ["used"]
        assert [each.count for each in await store.headers()] == [2]


async def test_unknown_fields_of_a_message_are_returned_byte_for_byte(tmp_path: Path, clock: WallClock) -> None:
    """The store need not understand a message; also a later owner returns it as it was given."""
    text = b'{"role": "user", "content":"x",  "timestamp":"2026-01-01T00:00:00+02:00","mood":{"a":[1.50]}}'
    async with FileStore.open(tmp_path, clock=clock) as store:
        await put(store, "web_a", [text])
        stored = await store.load("web_a")
        assert stored is not None
        assert [*stored.messages] == [text]
    async with FileStore.open(tmp_path, clock=clock) as store:
        stored = await store.load("web_a")
        assert stored is not None
        assert [*stored.messages] == [text]


async def test_maintenance_looks_at_the_files(tmp_path: Path, clock: WallClock, logs: LogRecorder) -> None:
    """A file that holds no session is in quarantine once its session begins anew, and the place is looked at."""
    logs.expect_error("Session could not be read; begun anew")
    async with FileStore.open(tmp_path / "sessions", clock=clock) as store:
        await put(store, "web_a", [message("x")])
    (file,) = (tmp_path / "sessions").glob("*.json")
    file.write_text("{")
    async with FileStore.open(tmp_path / "sessions", clock=clock) as store:
        assert await store.load("web_a") is None
        assert not await store.maintenance.quarantined()
        await put(store, "web_a", [message("new")])
        (quarantined,) = await store.maintenance.quarantined()
        assert quarantined.file == file.name
        assert "quarantined" in {each.kind for each in await store.maintenance.leftovers()}
        assert (await store.maintenance.free_disk() or 0) > 0
        assert not await store.maintenance.misplaced()
        (tmp_path / "sessions").rename(tmp_path / "moved")
        assert "nothing can be found" in await store.maintenance.misplaced()
        (tmp_path / "moved").rename(tmp_path / "sessions")


async def test_error_of_the_block_is_raised_as_it_is(tmp_path: Path, clock: WallClock) -> None:
    """The block's error is in no group, and the store is closed after it."""
    with pytest.raises(ValueError, match="mine"):
        async with FileStore.open(tmp_path, clock=clock) as store:
            raise ValueError("mine")
    for call in (store.load("web_a"), store.headers(), store.audit()):
        with pytest.raises(RuntimeClosedError):
            await call


async def test_cancelled_removal_leaves_no_stale_header(tmp_path: Path, clock: WallClock) -> None:
    """A caller that is cancelled does not see the removed session in a later list."""
    async with FileStore.open(tmp_path, clock=clock) as store:
        candidate = await put(store, "web_a", [message("x")])
        clock.move(hours=1)
        assert len(await store.headers()) == 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(remove, store, candidate, "sweep")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        with trio.fail_after(PATIENCE_SECONDS):
            assert [*await store.headers(after="web")] == []
        assert [each.session_id for each in await store.trash()] == ["web_a"]


def test_killed_store_is_whole_after_the_next_start(tmp_path: Path) -> None:
    """Killed at any call, the store has each event and its line or neither, and all that was answered."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    environment["PYTHONPATH"] = str(Path(miniclaw.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "tests.stores.dying_store", str(tmp_path / "sessions")],
        cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not found["wrong"], "\n".join(found["wrong"][:20])
    assert found["points"] > 100
