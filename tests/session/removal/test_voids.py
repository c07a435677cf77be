"""The journal has records of a session, its file leaves its place, and the process dies: the session does not return."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.journal.journal import Batch, Journal
from miniclaw.session.journal.records import body
from miniclaw.session.names import file_name, file_names
from miniclaw.session.removal.transaction import remove_batch
from miniclaw.session.types import Message
from tests.fakes.live_journal import LiveJournal, open_live, quarantined, texts_after, watched_voids
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import write_session
from tests.fakes.threads import wait_in_thread

ID, OTHER = "web_1", "web_2"
OLD = datetime(2026, 1, 1, tzinfo=UTC)
BEGUN_ANEW = "Session could not be read; begun anew"
TWO_FILES = "Two files for one session; one is in quarantine"
NOT_SAVED = "Session could not be saved; it stays in memory for the next try"

Way = Callable[[LiveJournal], Awaitable[object]]


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LiveJournal]:
    async with open_live(tmp_path) as live:
        yield live


async def by_cleanup(live: LiveJournal) -> None:
    assert (await live.clean_up(ID)).outcome == "removed"


async def by_delete_session(live: LiveJournal) -> None:
    cleanup = Cleanup(live.path, manager=live.manager, clock=lambda: LATER)
    assert await cleanup.delete_session(live.row(ID))


LATER = datetime(2100, 1, 1, tzinfo=UTC)

WAYS: dict[str, Way] = {
    "cleanup": by_cleanup,
    "S10": by_delete_session,
    "delete": lambda live: live.manager.delete_session(ID),
    "erase": lambda live: live.manager.delete_session(ID, erase=True),
    "move": lambda live: live.manager.move_session(ID, OTHER),
}


@pytest.mark.parametrize("way", WAYS)
async def test_session_that_is_removed_does_not_return_after_a_crash(live: LiveJournal, way: str) -> None:
    """Whatever removed it; nothing of it is in quarantine either."""
    await live.save(ID, "one", "two")
    await WAYS[way](live)
    crash = live.crash()
    assert live.records(ID, crash) == 0
    assert await texts_after(crash, ID) is None
    assert await texts_after(crash, OTHER) == (["one", "two"] if way == "move" else None)
    assert quarantined(crash) == []


@pytest.mark.parametrize("erase", [True, False])
async def test_deleted_session_that_only_the_journal_has_does_not_return(
    live: LiveJournal, logs: LogRecorder, erase: bool
) -> None:
    """Also if its file cannot be written, so that there is none to be removed."""
    await live.say(ID, "one")
    assert not live.file(ID).exists()
    if erase:
        logs.expect_error(NOT_SAVED)
        live.fs.fail("rename", 28, path="tmp-")
    await live.manager.delete_session(ID, erase=erase)
    live.fs.clear()
    assert await texts_after(live.crash(), ID) is None


async def test_erase_on_a_full_disk_erases_without_a_save(live: LiveJournal, logs: LogRecorder) -> None:
    """A full disk needs removals most: the save before is tried, and its failure keeps nothing."""
    logs.expect_error(NOT_SAVED)
    await live.save(ID, "one")
    await live.say(ID, "two")
    live.fs.fail("write", 28)
    await live.manager.delete_session(ID, erase=True)
    live.fs.clear()
    assert not live.file(ID).exists()
    assert await texts_after(live.crash(), ID) is None


async def test_erase_that_a_crash_breaks_off_brings_the_file_back_whole(live: LiveJournal) -> None:
    """Between the end of its records and the end of its file, the file has the newest messages as well."""
    await live.save(ID, "one")
    await live.say(ID, "two")
    crashes: list[Path] = []

    def crash(name: str, args: tuple[Any, ...]) -> None:
        if name == "unlink" and args[0] == file_name(ID) and not crashes:
            crashes.append(live.crash())

    live.fs.on(crash)
    await live.manager.delete_session(ID, erase=True)
    assert await texts_after(crashes[0], ID) == ["one", "two"]


async def test_deletion_of_a_session_in_memory_alone_writes_no_file_first(live: LiveJournal) -> None:
    """What was never confirmed to anybody need not be on the disk before it is erased."""
    await live.manager.get_or_create_session("web", "1")
    live.fs.calls.clear()
    await live.manager.delete_session(ID, erase=True)
    assert not [args for name, args in live.fs.calls if name == "rename" and args[0].startswith("tmp-")]


# Places that get another file -----------------------------------------------------------------------------------


async def hand_deleted(live: LiveJournal, session_id: str) -> None:
    """Leave the records of a session without a file in the journal, and the place vacant."""
    await live.save(session_id, "earlier one", "earlier two")
    live.file(session_id).unlink()


async def restore_from_trash(live: LiveJournal) -> None:
    await live.say(ID, "one")
    await live.manager.delete_session(ID)
    await hand_deleted(live, ID)
    await live.manager.restore_session(ID)


async def restore_from_quarantine(live: LiveJournal) -> None:
    kept = live.path / ".quarantine" / f"{file_name(ID)}.20261001T083015Z-0a1b2c3d"
    write_session(kept.parent, ID, OLD, messages=[message("one")]).rename(kept)
    await hand_deleted(live, ID)
    await live.operations.quarantine.restore(kept.name)


async def move_there(live: LiveJournal) -> None:
    await live.say(OTHER, "one")
    await hand_deleted(live, ID)
    await live.manager.move_session(OTHER, ID)


async def adopt(live: LiveJournal) -> None:
    await hand_deleted(live, ADOPTED)
    await live.evict(ADOPTED)
    bare = live.path / file_names(ADOPTED)[1]
    write_session(live.path, ADOPTED, OLD, messages=[message("one")]).rename(bare)
    assert await live.manager.get_session(ADOPTED)
    assert not bare.exists()


ADOPTED = "slack_U2"

PLACED: dict[str, tuple[Way, str]] = {
    "trash": (restore_from_trash, ID),
    "quarantine": (restore_from_quarantine, ID),
    "move": (move_there, ID),
    "adopted": (adopt, ADOPTED),
}


def message(text: str) -> dict[str, str]:
    return {"role": "user", "content": text, "timestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize("way", PLACED)
async def test_file_in_a_vacant_place_is_joined_by_no_record_of_an_earlier_life(live: LiveJournal, way: str) -> None:
    """After a crash the session is as its file has it, and nothing is in quarantine."""
    put, session_id = PLACED[way]
    await put(live)
    crash = live.crash()
    assert await texts_after(crash, session_id) == ["one"]
    assert quarantined(crash) == []


# Quarantine -----------------------------------------------------------------------------------------------------


async def test_session_begun_anew_in_the_place_of_a_damaged_file_stays_new(
    live: LiveJournal, logs: LogRecorder
) -> None:
    """A crash in that moment does not bring the earlier messages back, of which the damaged file is in quarantine."""
    logs.expect_error(BEGUN_ANEW)
    await live.save(ID, "one")
    await live.evict(ID)
    live.file(ID).write_text("{")
    await live.manager.get_or_create_session("web", "1")
    crash = live.crash()
    assert await texts_after(crash, ID) is None
    assert len(quarantined(crash)) == 1


async def test_records_that_the_start_could_put_nowhere_survive_the_damaged_file(
    live: LiveJournal, logs: LogRecorder
) -> None:
    """They were confirmed, fit no file and had no room in quarantine: the journal is the only place that has them."""
    logs.expect_error(BEGUN_ANEW)
    await live.save(ID, "one")
    live.manager.store.journal.index.keep_records(ID)
    await live.evict(ID)
    live.file(ID).write_text("{")
    await live.manager.get_or_create_session("web", "1")
    assert live.records(ID, live.crash()) == 1
    live.manager.store.journal.index.release(ID)


async def test_damaged_file_moved_aside_by_command_does_not_return(live: LiveJournal) -> None:
    """Of a session that is not in memory: the person has asked for the removal."""
    await live.save(ID, "one")
    await live.evict(ID)
    live.file(ID).write_text("{")
    (done,) = await live.operations.quarantine.add([file_name(ID)])
    assert done.error is None
    crash = live.crash()
    assert await texts_after(crash, ID) is None
    assert len(quarantined(crash)) == 1


@pytest.mark.parametrize("noted", [True, False])
async def test_session_in_memory_whose_file_is_moved_aside_is_not_lost(live: LiveJournal, noted: bool) -> None:
    """From the next confirmed message on the journal has all of it, and before that what it had."""
    await live.save(ID, "one", "two")
    if noted:
        await live.manager.saver.committer.tidy()  # the journal notes that the file has these two
    live.file(ID).write_text("{")
    (done,) = await live.operations.quarantine.add([file_name(ID)])
    assert done.error is None
    if not noted:
        assert await texts_after(live.crash(), ID) == ["one", "two"]
    await live.say(ID, "three")
    assert not live.file(ID).exists()
    crash = live.crash()
    assert await texts_after(crash, ID) == ["one", "two", "three"]
    assert len(quarantined(crash)) == 1


async def test_conflict_loses_nothing_that_only_the_journal_has(live: LiveJournal) -> None:
    """The power fails after another program's file is in quarantine, and before the session's own file is there."""
    await live.say(ID, "one", "two")
    write_session(live.path, ID, OLD, messages=[message("of another program")])
    crashes: list[Path] = []

    def crash(name: str, args: tuple[Any, ...]) -> None:
        if name == "rename" and args[0].startswith("tmp-") and args[1] == file_name(ID):
            crashes.append(live.crash())

    live.fs.on(crash)
    await live.manager.save_all_sessions()
    (copy,) = crashes
    assert len(quarantined(copy)) == 1
    assert not (copy / file_name(ID)).exists()
    assert await texts_after(copy, ID) == ["one", "two"]


def test_file_put_back_beside_another_one_leaves_the_records(directory: SessionDirectory, logs: LogRecorder) -> None:
    """The session keeps one of the two files, and the records with it."""
    logs.expect_error(TWO_FILES)
    path = write_session(directory.path, ID, OLD)
    voided = watched_voids(directory)

    def refuse(headers: object) -> list[bool]:
        write_session(directory.path, ID, OLD, messages=[message("newer")])
        return [False]

    assert remove_batch(directory, [path.name], refuse)[0].outcome == "kept"
    assert voided == []
    assert len(quarantined(directory.path)) == 1


# Commits under way ----------------------------------------------------------------------------------------------


def test_void_counts_for_a_batch_that_is_not_written_yet(directory: SessionDirectory) -> None:
    """A commit that comes behind the void, because its thread was slow, writes nothing of the removed session."""
    journal = Journal(directory)
    needs = dict.fromkeys([ID, OTHER], lambda: False)
    batch = Batch([(ID, body("add", {"s": ID})), (OTHER, body("add", {"s": OTHER}))], needs)
    journal.begin()
    journal.void([file_name(ID)])
    assert not journal.holds(file_name(ID))
    journal.commit(batch)
    journal.close()
    assert (journal.holds(file_name(ID)), journal.holds(file_name(OTHER))) == (False, True)


async def test_removal_overtakes_a_commit(live: LiveJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session is removed while a commit of it waits for its turn: it does not return."""
    commit = live.manager.store.journal.commit
    reached, opened = threading.Event(), threading.Event()

    def late(batch: Batch) -> None:
        if batch.needs and not reached.is_set():
            reached.set()
            assert opened.wait(PATIENCE_SECONDS), "the session was never removed"
        commit(batch)

    monkeypatch.setattr(live.manager.store.journal, "commit", late)
    await live.manager.get_or_create_session("web", "1")
    await live.manager.add_message(ID, Message("user", "one", OLD))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(live.manager.saver.committer.commit, [ID])
        await wait_in_thread(reached)
        await live.manager.save_sessions([ID])  # `save_all_sessions` would wait for the commit
        await live.manager.delete_session(ID, erase=True)
        opened.set()
    assert live.records(ID) == 0
    assert await texts_after(live.crash(), ID) is None
