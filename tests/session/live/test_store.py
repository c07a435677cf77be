"""The asynchronous store: threads that hang, deadlines, closing."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from miniclaw.errors import SessionNotFoundError, StoreError, WorkspaceHeldError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.live.locks import Lease
from miniclaw.session.live.save_job import SaveOutcome
from miniclaw.session.live.store import SAVE_THREADS, open_store
from miniclaw.session.removal.transaction import Removal
from miniclaw.session.types import Session, SessionHeader
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.fakes.threads import wait_in_thread

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def new_session(number: int) -> Session:
    return Session(f"telegram_{number}", "telegram", str(number), NOW, NOW)


async def test_save_many_all_settled_and_synced_once_or_so(sessions_dir: Path) -> None:
    """A batch is settled session by session; the directory is synced for the batch, not for each file."""
    fs = FaultyOs()
    outcomes: list[SaveOutcome] = []
    async with open_store(sessions_dir, fs=fs) as store:
        fs.calls.clear()
        await store.save([new_session(number) for number in range(100)], outcomes.append)
        names = [name for name, _ in fs.calls]
    assert sorted(outcome.session.session_id for outcome in outcomes) == sorted(f"telegram_{n}" for n in range(100))
    assert all(outcome.error is None for outcome in outcomes)
    assert names.count("rename") == 100
    assert 101 <= names.count("fsync") <= 100 + SAVE_THREADS


async def test_save_one_failing_holds_up_no_other(sessions_dir: Path) -> None:
    """The error of one file is its own."""
    fs = FaultyOs()
    outcomes: dict[str, StoreError | None] = {}
    async with open_store(sessions_dir, fs=fs) as store:
        fs.fail("rename", errno.ENOSPC, path="telegram_7.json")

        def settled(outcome: SaveOutcome) -> None:
            outcomes[outcome.session.session_id] = outcome.error

        await store.save([new_session(number) for number in range(20)], settled)
    assert [key for key, error in outcomes.items() if error] == ["telegram_7"]
    assert len(list(sessions_dir.glob("*.json"))) == 19


async def test_save_unencodable_is_the_error_of_its_session(sessions_dir: Path) -> None:
    """A text that cannot be written (put there past the manager) fails its own session only."""
    outcomes: dict[str, StoreError | None] = {}
    bad = new_session(1)
    bad.chat_id = "\ud800"
    async with open_store(sessions_dir) as store:
        await store.save([bad, new_session(2)], lambda o: outcomes.__setitem__(o.session.session_id, o.error))
    assert outcomes["telegram_2"] is None
    assert "could not encode" in str(outcomes["telegram_1"])


async def test_save_directory_sync_failing_fails_the_batch(sessions_dir: Path) -> None:
    """Without the directory's sync nothing of the batch counts as saved."""
    fs = FaultyOs()
    outcomes: list[SaveOutcome] = []
    async with open_store(sessions_dir, fs=fs) as store:
        fs.on(lambda name, args: _fail_directory_sync(store.directory, name, args))
        await store.save([new_session(1)], outcomes.append)
    assert outcomes[0].error is not None
    assert "could not sync" in str(outcomes[0].error)


def _fail_directory_sync(directory: SessionDirectory, name: str, args: tuple[object, ...]) -> None:
    if name == "fsync" and args[0] == directory.fd:
        raise OSError(errno.EIO, "Input/output error")


async def test_save_one_hanging_holds_up_no_other_and_settles_late(sessions_dir: Path, logs: LogRecorder) -> None:
    """With one file hanging, all others are settled; at the deadline the caller leaves; the last is settled later."""
    fs = FaultyOs()
    outcomes: list[SaveOutcome] = []
    others_settled = trio.Event()
    all_settled = trio.Event()

    def settled(outcome: SaveOutcome) -> None:
        outcomes.append(outcome)
        if len(outcomes) == 49:
            others_settled.set()
        if len(outcomes) == 50:
            all_settled.set()

    async with open_store(sessions_dir, fs=fs) as store:
        gate = fs.block("rename", path="telegram_3.json")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.save, [new_session(number) for number in range(50)], settled)
            await others_settled.wait()
            nursery.cancel_scope.cancel()
        assert "telegram_3" not in {outcome.session.session_id for outcome in outcomes}
        gate.opened.set()
        await all_settled.wait()
    assert all(outcome.error is None for outcome in outcomes)
    assert (sessions_dir / "telegram_3.json").exists()


async def test_save_cancelled_settles_what_was_not_begun(sessions_dir: Path) -> None:
    """At a cancellation the sessions that no thread has begun are settled at once, as not saved."""
    fs = FaultyOs()
    outcomes: dict[str, StoreError | None] = {}
    done = trio.Event()

    def settled(outcome: SaveOutcome) -> None:
        outcomes[outcome.session.session_id] = outcome.error
        if len(outcomes) == 20:
            done.set()

    async with open_store(sessions_dir, fs=fs) as store:
        gates = [fs.block("write") for _ in range(SAVE_THREADS)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.save, [new_session(number) for number in range(20)], settled)
            for gate in gates:
                await wait_in_thread(gate.reached)
            nursery.cancel_scope.cancel()
        assert len(outcomes) == 20 - SAVE_THREADS
        assert all("had not begun" in str(error) for error in outcomes.values())
        for gate in gates:
            gate.opened.set()
        await done.wait()
    assert len(list(sessions_dir.glob("*.json"))) == SAVE_THREADS


async def test_close_with_a_hanging_thread_stays_held_until_it_ends(sessions_dir: Path, logs: LogRecorder) -> None:
    """Descriptors are not closed under a thread that uses them, and nobody else may own the directory meanwhile."""
    fs = FaultyOs()
    settled = trio.Event()
    async with open_store(sessions_dir, fs=fs) as store:
        gate = fs.block("fsync")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.save, [new_session(1)], lambda outcome: settled.set())
            await wait_in_thread(gate.reached)
            nursery.cancel_scope.cancel()
    assert logs.one("Sessions directory stays held by a hung operation")["level"] == "warning"
    with SessionDirectory.open(sessions_dir) as other:
        with pytest.raises(WorkspaceHeldError):
            other.own()
        closed = fs.notice("close", times=4)  # the file that hung, the work folder, the lock, the directory
        gate.opened.set()
        await settled.wait()
        await wait_in_thread(closed)
        other.own()
    assert (sessions_dir / "telegram_1.json").exists()


async def test_load_hanging_can_be_cancelled(sessions_dir: Path) -> None:
    """A load on a disk that hangs ends at the caller's deadline."""
    write_session(sessions_dir, "telegram_1", NOW)
    fs = FaultyOs()
    async with open_store(sessions_dir, fs=fs) as store:
        gate = fs.block("open", path="telegram_1.json")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.load, "telegram_1")
            await wait_in_thread(gate.reached)
            nursery.cancel_scope.cancel()
        gate.opened.set()
        assert (await store.load("telegram_1")).chat_id == "1"


async def test_scan_cancelled_while_reading_is_closed_by_the_thread(sessions_dir: Path) -> None:
    """A listing is not closed under the thread that reads it, and is closed when that ends."""
    write_session(sessions_dir, "telegram_1", NOW)
    fs = FaultyOs()
    async with open_store(sessions_dir, fs=fs) as store:
        gate = fs.block("open", path="telegram_1.json")
        async with trio.open_nursery() as nursery:

            async def scan() -> None:
                async with store.scan() as scan:
                    await scan.next_batch()

            nursery.start_soon(scan)
            await wait_in_thread(gate.reached)
            opened = [name for name, _ in fs.calls].count("close")
            nursery.cancel_scope.cancel()
        assert [name for name, _ in fs.calls].count("close") == opened
        closed = fs.notice("close", times=2)  # the file and the listing
        gate.opened.set()
        await wait_in_thread(closed)


async def test_remove_consent_is_asked_on_the_trio_thread(sessions_dir: Path) -> None:
    """The question reaches the thread that owns the memory state, also when the caller has left."""
    write_session(sessions_dir, "telegram_1", NOW)
    fs = FaultyOs()
    finished = trio.Event()
    lease = Lease(finished.set)
    asked: list[str] = []
    told: list[Removal] = []

    def consent(headers: Sequence[SessionHeader]) -> list[bool]:
        assert trio.lowlevel.current_task() is not None
        asked.extend(header.session_id for header in headers)
        return [True] * len(headers)

    async with open_store(sessions_dir, fs=fs) as store:
        gate = fs.block("rename", path="telegram_1.json")
        async with trio.open_nursery() as nursery:

            async def remove() -> None:
                try:
                    await store.remove(["telegram_1.json"], consent, lease, settled=told.extend)
                finally:
                    lease.leave()

            nursery.start_soon(remove)
            await wait_in_thread(gate.reached)
            nursery.cancel_scope.cancel()
        assert not finished.is_set()
        gate.opened.set()
        await finished.wait()
    assert asked == ["telegram_1"]
    assert [removal.outcome for removal in told] == ["removed"]
    assert not (sessions_dir / "telegram_1.json").exists()


async def test_open_store_recovers_before_anyone_reads(sessions_dir: Path) -> None:
    """What a crash left captured is back before the first load."""
    write_session(sessions_dir / ".work" / "rm-1", "telegram_1", NOW)
    async with open_store(sessions_dir) as store:
        assert (await store.load("telegram_1")).chat_id == "1"
        with pytest.raises(SessionNotFoundError):
            await store.header("telegram_2")
        assert store.path_of("telegram_2") == sessions_dir / "telegram_2.json"


async def test_open_store_held_leaves_nothing_open(sessions_dir: Path) -> None:
    """A start that is refused closes what it had opened, so that the next one can succeed."""
    fs = FaultyOs()
    async with open_store(sessions_dir):
        with pytest.raises(WorkspaceHeldError):
            async with open_store(sessions_dir, fs=fs):
                pass
    names = [name for name, _ in fs.calls]
    assert names.count("open") == names.count("close")
    async with open_store(sessions_dir):
        pass
