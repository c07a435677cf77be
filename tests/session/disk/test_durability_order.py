"""In which order things reach the disk: what is told, named or removed relies on nothing that a power cut could take.

A kill keeps the page cache and cannot show a sync that is missing; this can, without cutting any power.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import quarantine
from miniclaw.session.live import store as store_module
from miniclaw.session.live.save_job import SaveJob, SaveOutcome
from miniclaw.session.live.store import open_store
from miniclaw.session.removal.staging import StagingArea
from miniclaw.session.removal.transaction import TrashOrder, remove_batch
from miniclaw.session.types import Session, SessionHeader
from tests.fakes.durable_os import DurableOs
from tests.fakes.folders import trash_in
from tests.fakes.os_calls import FaultyOs, Gate
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import write_session
from tests.fakes.threads import wait_in_thread

OLD = datetime(2026, 1, 1, tzinfo=UTC)
NEW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def fs(sessions_dir: Path) -> DurableOs:
    return DurableOs(sessions_dir)


@pytest.fixture
def directory(sessions_dir: Path, fs: DurableOs) -> Iterator[SessionDirectory]:
    with SessionDirectory.open(sessions_dir, create=True, fs=fs) as directory:
        directory.own()
        fs.forget()
        yield directory


def new_session(chat_id: str) -> Session:
    return Session(f"telegram_{chat_id}", "telegram", chat_id, NEW, NEW)


def if_old(headers: Sequence[SessionHeader]) -> list[bool]:
    return [header.last_accessed == OLD for header in headers]


async def test_save_settled_is_durable(sessions_dir: Path, fs: DurableOs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content is synced before it gets its name, and the name before anybody hears that the session is saved."""
    monkeypatch.setattr(store_module, "SAVE_THREADS", 1)  # what other threads do would hide what this one forgets
    durable: dict[str, bool] = {}

    def settled(outcome: SaveOutcome) -> None:
        assert outcome.error is None
        durable[outcome.session.session_id] = fs.names_are_durable

    async with open_store(sessions_dir, fs=fs) as store:
        fs.forget()
        sessions = [new_session(chat) for chat in "123"]
        for _ in range(2):  # new files, and then in the place of older ones
            await store.save(sessions, settled)
            assert durable == {"telegram_1": True, "telegram_2": True, "telegram_3": True}
            durable.clear()
    assert fs.broken == []


async def test_save_named_during_anothers_sync_waits_for_its_own(
    sessions_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync of the directory counts only for the names that were there when it began."""
    fs = FaultyOs()
    both_named = threading.Event()
    syncs = [Gate(), Gate()]
    begun: list[str] = []

    def hook(called: str, args: tuple[Any, ...]) -> None:
        if called == "rename" and args[1] == "telegram_1.json":
            assert both_named.wait(PATIENCE_SECONDS)  # each has a thread of its own
        elif called == "rename" and args[1] == "telegram_2.json":
            both_named.set()
            assert syncs[0].reached.wait(PATIENCE_SECONDS)
        elif called == "fsync" and args[0] == store.directory.fd:
            begun.append("sync")
            gate = syncs[len(begun) - 1]
            gate.reached.set()
            assert gate.opened.wait(PATIENCE_SECONDS)

    settled: list[str] = []
    ended = threading.Event()
    work = SaveJob.work

    def work_and_end(job: SaveJob) -> None:
        work(job)
        ended.set()

    monkeypatch.setattr(SaveJob, "work", work_and_end)
    async with open_store(sessions_dir, fs=fs) as store, trio.open_nursery() as nursery:
        fs.on(hook)
        nursery.start_soon(
            store.save,
            [new_session("1"), new_session("2")],
            lambda outcome: settled.append(outcome.session.session_id),
        )
        try:
            await wait_in_thread(syncs[1].reached)
            syncs[0].opened.set()
            await wait_in_thread(ended)  # what the first thread had to settle is settled before this goes on
            assert settled == ["telegram_1"]
        finally:
            for gate in syncs:
                gate.opened.set()
    assert settled == ["telegram_1", "telegram_2"]


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_remove_told_is_durable_and_what_is_kept_first(directory: SessionDirectory, fs: DurableOs, links: bool) -> None:
    """What is kept has its name on the disk before anything is unlinked; what is told to be removed stays removed."""
    fs.links = links
    write_session(directory.path, "telegram_1", OLD)
    write_session(directory.path, "telegram_2", NEW)
    removals = remove_batch(directory, ["telegram_1.json", "telegram_2.json"], if_old)
    assert [removal.outcome for removal in removals] == ["removed", "kept"]
    assert fs.broken == []
    assert fs.names_are_durable
    assert not {path for path in fs.unsynced if path.name.startswith("rm-")}


def test_remove_to_the_trash_entry_is_on_the_disk_before_the_unlink(
    directory: SessionDirectory, fs: DurableOs, sessions_dir: Path
) -> None:
    """No power cut finds a session unlinked whose entry, with its name and its folder's, is not on the disk."""
    trash = trash_in(sessions_dir, fs)
    unsafe: list[str] = []
    real = fs.unlink

    def unlink(name: str, *, dir_fd: int) -> None:
        if name == "telegram_1.json":
            unsafe.extend(str(path) for path in fs.unsynced if path in {trash.path, trash.path.parent})
            unsafe.extend(str(path) for path in fs.unsynced if path.parent == trash.path)
            if len(trash.entries()) != 1:
                unsafe.append("there is no entry yet")
        real(name, dir_fd=dir_fd)

    write_session(directory.path, "telegram_1", OLD)
    write_session(directory.path, "telegram_2", NEW)
    fs.unlink = unlink  # type: ignore[method-assign]
    names = ["telegram_1.json", "telegram_2.json"]
    order = TrashOrder(dict.fromkeys(names, "ttl"), "service", NEW, timedelta(days=7))
    removals = remove_batch(directory, names, if_old, trash=trash, order=order)
    assert [removal.outcome for removal in removals] == ["removed", "kept"]
    assert unsafe == []
    assert fs.broken == []


def test_capture_goes_into_a_folder_that_is_on_the_disk(directory: SessionDirectory, fs: DurableOs) -> None:
    """A session is moved aside only into a folder that a power cut cannot take, whether it was made just now or found."""
    for is_found in (False, True):
        if is_found:
            StagingArea(directory).recover()
        write_session(directory.path, "telegram_1", OLD)
        assert remove_batch(directory, ["telegram_1.json"], if_old)[0].outcome == "removed"
    assert fs.broken == []


def test_recover_puts_names_on_the_disk_before_it_unlinks(directory: SessionDirectory, fs: DurableOs) -> None:
    """A power cut during the recovery leaves a captured session under one of its names, or both."""
    StagingArea(directory).recover()  # makes a folder that stays
    left = directory.path / ".work" / "rm-0"
    left.mkdir()
    fs.forget()
    write_session(left, "telegram_1", OLD)
    assert StagingArea(directory).recover().put_back == 1
    assert fs.broken == []
    assert fs.names_are_durable
    assert left not in fs.unsynced


def test_quarantine_told_is_durable(directory: SessionDirectory, fs: DurableOs) -> None:
    """The name in quarantine is on the disk before a new session takes the place."""
    (directory.path / "telegram_1.json").write_text("{")
    kept = quarantine(directory, "telegram_1.json")
    assert kept.read_text() == "{"
    assert kept.parent not in fs.unsynced
    assert fs.names_are_durable


def test_open_created_directories_are_durable(sessions_dir: Path, fs: DurableOs) -> None:
    """Each directory that is made on the way is synced into its parent."""
    with SessionDirectory.open(sessions_dir, create=True, fs=fs):
        assert fs.unsynced == set()


def test_work_folder_that_is_made_again_is_on_the_disk_before_a_session_is_in_it(
    directory: SessionDirectory, fs: DurableOs
) -> None:
    """A power cut in the middle of a removal must not take the folder in which the session is, nor the folder around it."""
    write_session(directory.path, "telegram_1", OLD)
    shutil.rmtree(directory.path / ".work")
    directory.write(new_session("2"))  # makes it again, for a file that nobody would miss
    directory.sync()
    shutil.rmtree(directory.path / ".work")
    (removal,) = remove_batch(directory, ["telegram_1.json"], if_old)
    assert removal.outcome == "removed"
    assert fs.broken == []


def test_save_and_removal_go_on_when_the_work_folder_was_deleted(directory: SessionDirectory) -> None:
    """Nobody has to start the program again: what needs the folder next makes it again, for its user alone."""
    work = directory.path / ".work"
    for removes in (False, True):
        write_session(directory.path, "telegram_1", OLD)
        shutil.rmtree(work)
        if removes:
            assert remove_batch(directory, ["telegram_1.json"], if_old)[0].outcome == "removed"
        else:
            directory.write(new_session("1"))
        assert work.stat().st_mode & 0o777 == 0o700
