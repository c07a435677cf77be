"""`--erase` while the journal has records of the person: no byte of what they wrote is left in the directory."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from miniclaw.session.journal import erasure
from miniclaw.session.journal.records import JOURNAL_NAME
from miniclaw.session.operations.operations import Deleted, open_operations
from miniclaw.session.removal.erase import DAMAGED
from miniclaw.session.retention.policy import RetentionPolicy
from tests.fakes.live_journal import LiveJournal, open_live, quarantined, texts_after
from tests.fakes.logs import LogRecorder

PERSON, OTHER = "web_anna", "web_bernd"
WORDS = "the-secret-of-anna"
NOT_SAVED = "Session could not be saved; it stays in memory for the next try"
DAMAGED_LOG = "Journal is damaged; acknowledged messages may be missing, and the segment is in quarantine"
MISFIT = (
    "Messages in the journal do not fit their session file, which was changed or deleted; they are in quarantine, as a "
    "session"
)
STAMP = "20261001T083015Z-0a1b2c3d"


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[LiveJournal]:
    async with open_live(tmp_path) as live:
        yield live


def files_with(path: Path, text: str = WORDS) -> list[str]:
    """Return the files that have the text somewhere."""
    return [
        str(file.relative_to(path)) for file in path.rglob("*") if file.is_file() and text.encode() in file.read_bytes()
    ]


async def erase(live: LiveJournal, session_id: str = PERSON) -> Deleted:
    (done,) = await live.operations.delete([session_id], erase=True)
    return done


async def both_say(live: LiveJournal, rounds: int = 3) -> None:
    for number in range(rounds):
        await live.say(PERSON, f"{WORDS} {number}")
        await live.say(OTHER, f"bernd {number}")


@pytest.mark.parametrize("saved", [True, False])
async def test_erase_leaves_no_byte_of_the_person(live: LiveJournal, saved: bool) -> None:
    """Neither in the segment in use nor anywhere else; and the other sessions have all that they had."""
    await both_say(live)
    if saved:
        await live.manager.save_all_sessions()
    assert any(name.startswith(JOURNAL_NAME) for name in files_with(live.path))
    assert (await erase(live)).error is None
    assert files_with(live.path) == []
    await live.say(OTHER, "and later")
    crash = live.crash()
    assert await texts_after(crash, OTHER) == ["bernd 0", "bernd 1", "bernd 2", "and later"]
    assert await texts_after(crash, PERSON) is None


async def test_erase_deletes_older_segments_as_well(live: LiveJournal) -> None:
    """Those with records of others only, too, in between and before: segments are deleted oldest first."""
    journal = live.manager.store.journal
    await live.say(OTHER, "first")
    for number in range(3):
        await trio.to_thread.run_sync(journal.begin_segment)
        await live.say((OTHER, PERSON)[number % 2], f"{WORDS if number % 2 else 'bernd'} {number}")
    assert journal.segments == 4
    assert (await erase(live)).error is None
    assert files_with(live.path) == []
    assert not journal.holds(f"{PERSON}.json")
    assert await texts_after(live.crash(), OTHER) == ["first", "bernd 0", "bernd 2"]


async def test_erase_of_a_session_deleted_before_finds_its_records(live: LiveJournal) -> None:
    """It is in the trash, and its records, which count no more, are still in a segment."""
    await both_say(live)
    await live.manager.delete_session(PERSON)
    assert (await erase(live)).error is None
    assert files_with(live.path) == []


async def test_erase_says_which_segment_remains(live: LiveJournal, logs: LogRecorder) -> None:
    """Another session in it cannot be saved: the erasure is not complete, and a second one is."""
    logs.expect_error(NOT_SAVED)
    await both_say(live)
    await live.manager.save_sessions([PERSON])
    live.fs.fail("rename", errno.ENOSPC, path="web_bernd.json")
    done = await erase(live)
    live.fs.clear()
    assert done.error is not None
    assert f"{JOURNAL_NAME}/000000000001.jsonl" in str(done.error)
    assert files_with(live.path) == [f"{JOURNAL_NAME}/000000000001.jsonl"]
    assert await texts_after(live.crash(), OTHER) == ["bernd 0", "bernd 1", "bernd 2"]
    assert (await erase(live)).error is None
    assert files_with(live.path) == []


async def test_erase_says_that_a_segment_cannot_be_deleted(live: LiveJournal) -> None:
    """As for each file that is still there."""
    await both_say(live)
    live.fs.fail("unlink", errno.EIO, path=".jsonl")
    done = await erase(live)
    live.fs.clear()
    assert JOURNAL_NAME in str(done.error)
    assert (await erase(live)).error is None
    assert files_with(live.path) == []


async def test_erase_does_not_wait_for_a_hung_disk(
    live: LiveJournal, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is under way ends later; the person is told that records remain."""
    monkeypatch.setattr(erasure, "PATIENCE_SECONDS", 0.05)
    await both_say(live)
    await live.manager.save_all_sessions()
    gate = live.fs.block("unlink", path=".jsonl")
    done = await erase(live)
    assert JOURNAL_NAME in str(done.error)
    gate.opened.set()


async def test_command_erases_what_the_last_process_left(tmp_path: Path) -> None:
    """It owns the directory for a moment, after a crash."""
    async with open_live(tmp_path) as live:
        await both_say(live)
        crash = live.crash()
    assert files_with(crash)
    async with open_operations(crash, policy=RetentionPolicy()) as operations:
        (done,) = await operations.delete([PERSON], erase=True)
    assert done.error is None
    assert files_with(crash) == []
    assert await texts_after(crash, OTHER) == ["bernd 0", "bernd 1", "bernd 2"]


# Segments in quarantine -----------------------------------------------------------------------------------------


async def test_erase_takes_a_damaged_segment_out_of_quarantine(tmp_path: Path, logs: LogRecorder) -> None:
    """It mentions the person; also one that went to the trash from there, and not one of others alone."""
    logs.expect_error(DAMAGED_LOG)
    logs.expect_error(MISFIT)
    async with open_live(tmp_path) as live:
        await both_say(live)
        crash = live.crash()
    (segment,) = (crash / JOURNAL_NAME).iterdir()
    lines = segment.read_bytes().rstrip(b"\n").split(b"\n")
    (at,) = [at for at, line in enumerate(lines) if f"{WORDS} 1".encode() in line]
    lines[at] = lines[at][:-1] + b"!"
    segment.write_bytes(b"\n".join(lines) + b"\n")
    policy = RetentionPolicy()
    async with open_operations(crash, policy=policy) as operations:
        assert [name[:18] for name in quarantined(crash) if ".jsonl." in name] == ["000000000001.jsonl"]
        (done,) = await operations.delete([PERSON], erase=True)
        assert done.error is None
        assert not done.remaining
    assert files_with(crash) == []


async def test_erase_names_a_damaged_segment_that_does_not_tell_whose_it_is(live: LiveJournal) -> None:
    """It may have messages of the person: it stays, and the receipt names it."""
    await both_say(live)
    folder = live.path / ".quarantine"
    folder.mkdir()
    (folder / f"000000000007.jsonl.{STAMP}").write_bytes(b'{"crc":"00000000","i":1,"op":"add","s":"?"}\n\n')
    done = await erase(live)
    assert [(each.key, each.reason) for each in done.remaining] == [
        (f".quarantine/000000000007.jsonl.{STAMP}", DAMAGED)
    ]
    assert quarantined(live.path) == [f"000000000007.jsonl.{STAMP}"]


async def test_erase_takes_a_segment_out_of_the_trash(live: LiveJournal) -> None:
    """A file of quarantine that was deleted goes to the trash first, compressed."""
    await both_say(live)
    (segment,) = (live.path / JOURNAL_NAME).iterdir()
    folder = live.path / ".quarantine"
    folder.mkdir()
    (folder / f"000000000007.jsonl.{STAMP}").write_bytes(segment.read_bytes().rstrip(b"\n") + b"\n{damaged\n")
    (moved,) = await live.operations.quarantine.delete([f"000000000007.jsonl.{STAMP}"])
    assert moved.entry_id
    assert (await erase(live)).error is None
    assert live.manager.store.trash.entries() == []
