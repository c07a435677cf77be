"""What an administrator does to files in quarantine, each with a receipt in the history that says truly what was done."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import trio

from miniclaw.errors import (
    AmbiguousQuarantineIdError,
    CorruptSessionError,
    CorruptTrashError,
    QuarantinedFileNotFoundError,
    RuntimeClosedError,
    SessionExistsError,
    SessionFileError,
)
from miniclaw.session.entries import FileTally
from miniclaw.session.format import codec
from miniclaw.session.operations.quarantine import FileOutcome
from miniclaw.session.runtime import open_runtime
from miniclaw.session.threads import PATIENCE_SECONDS
from miniclaw.session.trash.entries import Restored
from tests.fakes.clock import WallClock
from tests.fakes.desk import POLICY, Desk
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import session_dict, write_session
from tests.fakes.threads import until, wait_in_thread

BEGUN_ANEW = "Session could not be read; begun anew"


def lay(desk: Desk, name: str, content: str = "{", *, days: float = 0, number: int = 0) -> str:
    """Put a file into quarantine, as it was put there so many days ago, and return its id."""
    folder = desk.store.directory.path / ".quarantine"
    folder.mkdir(exist_ok=True, mode=0o700)
    file_id = f"{name}.{desk.clock.ago(days=days):%Y%m%dT%H%M%SZ}-{number:08x}"
    (folder / file_id).write_text(content, encoding="utf-8")
    return file_id


def session(session_id: str, when: datetime, **fields: object) -> str:
    return json.dumps(session_dict(session_id, when, **fields))


def lying(desk: Desk) -> list[str]:
    folder = desk.store.directory.path / ".quarantine"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


# Restoring ------------------------------------------------------------------------------------------------------


async def test_restore_puts_a_damaged_session_back_after_it_was_repaired(desk: Desk, logs: LogRecorder) -> None:
    """The whole way: a person writes, the damaged file is moved aside, it is repaired, and put back for the new one."""
    logs.expect_error(BEGUN_ANEW)
    path = desk.store.directory.path / "telegram_1.json"
    whole = path.read_text()
    path.write_text(whole[:-1])
    await desk.manager.get_or_create_session("telegram", "1")
    await desk.manager.save_all_sessions()
    (file,) = await desk.do.quarantine.files()
    assert (file.file, file.header) == ("telegram_1.json", None)
    with pytest.raises(CorruptSessionError, match="edit it there and try again"):
        await desk.do.quarantine.restore(file.id)
    (desk.store.directory.path / ".quarantine" / file.id).write_text(whole)
    with pytest.raises(SessionExistsError):
        await desk.do.quarantine.restore(file.id)
    await desk.do.delete(["telegram_1"])
    assert await desk.do.quarantine.restore(file.id) == "telegram_1"
    restored = await desk.manager.get_session("telegram_1")
    assert restored is not None
    assert [message.content for message in restored.messages] == ["hello from 1"]
    event = desk.told()[-1]
    assert (event.event, event.because) == ("restored", "from quarantine")
    assert [(row.session_id, row.reason) for row in event.sessions] == [("telegram_1", "restored")]
    assert lying(desk) == []


async def test_restore_counts_as_used_now_by_the_clock_of_the_program(desk: Desk) -> None:
    """Retention begins anew."""
    file_id = lay(desk, "x.json", session("web_1", desk.clock.ago(days=400)))
    await desk.do.quarantine.restore(file_id)
    assert desk.store.directory.header("web_1").last_accessed == desk.clock.now


async def test_restore_over_a_session_that_is_only_in_memory_is_refused(desk: Desk) -> None:
    """What a person has just said is not lost to an older file, and nothing of it is on the disk yet."""
    file_id = lay(desk, "web_1.json", session("web_1", desk.clock.ago(days=1)))
    await desk.manager.get_or_create_session("web", "1")
    with pytest.raises(SessionExistsError):
        await desk.do.quarantine.restore(file_id)
    assert (lying(desk), desk.told()) == ([file_id], [])


async def test_restore_waits_for_who_works_on_the_session(desk: Desk) -> None:
    """The lock is that of the session whose place it takes, whatever the file is called."""
    file_id = lay(desk, "telegram_9.json", session("telegram_1", desk.clock.ago(days=1)))
    gate = desk.fs.block("unlink", path="telegram_1.json")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.do.delete, ["telegram_1"])
        await wait_in_thread(gate.reached)
        nursery.start_soon(desk.do.quarantine.restore, file_id)
        await trio.testing.wait_all_tasks_blocked()
        gate.opened.set()
    assert desk.left() == ["telegram_1", "telegram_2"]
    assert lying(desk) == []


async def test_two_restores_at_once_make_one_session(desk: Desk) -> None:
    """The second one finds nothing, or a session."""
    file_id = lay(desk, "web_1.json", session("web_1", desk.clock.ago(days=1)))
    outcomes: list[object] = []

    async def restore() -> None:
        try:
            outcomes.append(await desk.do.quarantine.restore(file_id))
        except (SessionExistsError, QuarantinedFileNotFoundError) as error:
            outcomes.append(type(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(restore)
        nursery.start_soon(restore)
    assert outcomes.count("web_1") == 1
    assert len(outcomes) == 2
    assert desk.left() == ["telegram_1", "telegram_2", "web_1"]
    assert len(desk.told()) == 1


async def test_restore_of_nothing_or_of_several_says_which(desk: Desk) -> None:
    """What is not clear is not guessed."""
    lay(desk, "web_1.json", number=1)
    lay(desk, "web_1.json", number=2)
    with pytest.raises(QuarantinedFileNotFoundError):
        await desk.do.quarantine.restore("web_9")
    with pytest.raises(AmbiguousQuarantineIdError, match="means 2 files"):
        await desk.do.quarantine.restore("web_1")
    assert desk.told() == []


# Deleting -------------------------------------------------------------------------------------------------------


async def test_delete_moves_to_the_trash_and_comes_back_to_quarantine(desk: Desk) -> None:
    """Both are told, with the names and the bytes; the entry carries why, by whom, and until when."""
    file_id = lay(desk, "web_1.json", "damaged")
    (done,) = await desk.do.quarantine.delete(["web_1"])
    assert (done.name, done.file_id, done.error) == ("web_1", file_id, None)
    (entry,) = desk.store.trash.entries()
    assert (entry.id, entry.reason, entry.by) == (done.entry_id, "deleted", "command")
    assert entry.expires_at == desk.clock.now + timedelta(days=7)
    assert done.bytes_freed == 7 - entry.stored_size
    event = desk.told()[-1]
    assert (event.event, event.because, event.leftovers) == ("deleted", file_id, {"quarantined": FileTally(1, 7)})
    assert event.bytes_freed == 0
    assert desk.cleanup.stats.leftovers["quarantined"] == 1
    restored = await desk.do.restore(done.entry_id)
    assert restored == Restored(None, lying(desk)[0])
    event = desk.told()[-1]
    assert (event.event, event.leftovers) == ("restored", {"quarantined": FileTally(1, 7)})
    assert event.because == restored.file_id


async def test_delete_for_good_leaves_nothing(desk: Desk) -> None:
    """Also where there is a trash; and what is too large to be read again goes so in any case."""
    lay(desk, "web_1.json", "damaged")
    (done,) = await desk.do.quarantine.delete(["web_1"], erase=True)
    assert (done.entry_id, done.bytes_freed) == ("", 7)
    lay(desk, "web_2.json", "damaged")
    path = desk.store.directory.path / ".quarantine" / lying(desk)[0]
    with path.open("r+b") as file:
        file.truncate(codec.MAX_SESSION_BYTES + 1)
    (done,) = await desk.do.quarantine.delete(["web_2"])
    assert (done.entry_id, done.error) == ("", None)
    assert (desk.store.trash.entries(), lying(desk)) == ([], [])
    assert desk.told()[-1].bytes_freed == codec.MAX_SESSION_BYTES + 1


async def test_delete_takes_also_what_is_pinned(desk: Desk) -> None:
    """Who orders it knows best."""
    lay(desk, "x.json", session("web_1", desk.clock.now, pinned=True))
    (done,) = await desk.do.quarantine.delete(["x.json"])
    assert done.error is None
    assert lying(desk) == []


async def test_delete_of_some_that_fail_tells_of_the_others(desk: Desk) -> None:
    """What is not there, is not clear, or is refused is an error of its own; the receipt names what is gone."""
    ids = [lay(desk, f"web_{number}.json", number=number) for number in range(3)]
    lay(desk, "web_1.json", number=9)
    desk.fs.on(lambda called, args: _refuse() if called == "unlink" and args[0] == ids[2] else None)
    done = await desk.do.quarantine.delete(["web_9", "web_1", ids[2], ids[0]])
    desk.fs.clear()
    kinds = [type(each.error) for each in done]
    assert kinds == [QuarantinedFileNotFoundError, AmbiguousQuarantineIdError, SessionFileError, type(None)]
    assert "Permission denied" in str(done[2].error)
    assert desk.told()[-1].because == ids[0]
    assert [entry.key for entry in desk.store.trash.entries()] == ["web_0.json"]


def _refuse() -> None:
    raise OSError(errno.EACCES, "Permission denied")


async def test_delete_of_nothing_is_not_told(desk: Desk) -> None:
    """Where nothing happened there is no receipt."""
    assert await desk.do.quarantine.delete([]) == []
    await desk.do.quarantine.delete(["web_9"])
    assert desk.told() == []


async def test_delete_names_so_many_files_in_its_receipt(desk: Desk) -> None:
    """A receipt of very many is short."""
    ids = [lay(desk, f"web_{number}.json", number=number) for number in range(22)]
    await desk.do.quarantine.delete(ids)
    event = desk.told()[-1]
    assert event.leftovers["quarantined"].files == 22
    assert event.because.endswith(" and 2 more")


async def test_delete_cancelled_completes_the_file_it_is_at_and_tells(desk: Desk) -> None:
    """No other one begins."""
    ids = [lay(desk, f"web_{number}.json", number=number) for number in range(2)]
    gate = desk.fs.block("unlink", path=ids[0])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.do.quarantine.delete, ids)
        await wait_in_thread(gate.reached)
        nursery.cancel_scope.cancel()
        gate.opened.set()
    assert desk.told()[-1].because == ids[0]
    assert lying(desk) == [ids[1]]


async def test_delete_on_a_hung_disk_ends_and_tells_the_outcome_when_it_comes(
    desk: Desk, mock_clock: trio.testing.MockClock
) -> None:
    """The caller hears that it goes on; the history has that at once, and the end of it later."""
    file_id = lay(desk, "web_1.json", "damaged")
    gate = desk.fs.block("unlink", path=file_id)
    done: list[FileOutcome] = []
    async with trio.open_nursery() as nursery:

        async def delete() -> None:
            done.extend(await desk.do.quarantine.delete([file_id], erase=True))

        nursery.start_soon(delete)
        await wait_in_thread(gate.reached)
        mock_clock.jump(PATIENCE_SECONDS)
        await until(lambda: bool(done))
        gate.opened.set()
    assert "has not answered yet" in str(done[0].error)
    await until(lambda: len(desk.told()) == 2)
    pending, late = desk.told()
    assert (pending.event, pending.because) == ("pending", file_id)
    assert (late.event, late.bytes_freed, late.leftovers) == ("late", 7, {"quarantined": FileTally(1, 7)})
    assert desk.cleanup.stats.leftovers["quarantined"] == 1


# All of them ----------------------------------------------------------------------------------------------------


async def test_manager_alone_does_not_take_a_damaged_file_for_a_session(desk: Desk) -> None:
    """What lay in quarantine has no place among the sessions, whoever asks for it."""
    lay(desk, "web_1.json", session("web_1", desk.clock.now))
    (done,) = await desk.do.quarantine.delete(["web_1"])
    with pytest.raises(CorruptTrashError, match="a file from quarantine"):
        await desk.manager.restore_session(done.entry_id)
    assert desk.left() == ["telegram_1", "telegram_2"]


async def test_operations_of_a_runtime_do_the_same_and_end_with_it(tmp_path: Path, clock: WallClock) -> None:
    """A program that embeds the runtime has them as well, by its own name; after the end they are refused."""
    sessions = tmp_path / "sessions"
    write_session(sessions, "web_1", clock.ago(days=1)).rename(sessions / "web_1.json.bak")
    async with open_runtime(sessions, policy=POLICY, clock=clock) as runtime:
        operations = runtime.operations()
        (added,) = await operations.quarantine.add(["web_1.json.bak"])
        assert [file.id for file in await operations.quarantine.files()] == [added.file_id]
        (deleted,) = await operations.quarantine.delete([added.file_id])
        assert (await operations.restore(deleted.entry_id)).file_id is not None
    calls: list[Callable[[], object]] = [
        operations.quarantine.files,
        lambda: operations.quarantine.restore("web_1"),
        lambda: operations.quarantine.add(["x"]),
        lambda: operations.quarantine.delete(["web_1"]),
    ]
    for call in calls:
        with pytest.raises(RuntimeClosedError):
            await call()  # type: ignore[misc]


async def test_runs_and_operations_do_not_meet_badly(desk: Desk) -> None:
    """A file that a run takes while it is restored is in its place or in the trash, and nowhere lost."""
    file_id = lay(desk, "web_1.json", session("web_1", desk.clock.ago(days=200)), days=100)
    gate = desk.fs.block("link", path="tmp-")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.do.quarantine.restore, file_id)
        await wait_in_thread(gate.reached)
        result = await desk.cleanup.run(confirmed=True)
        gate.opened.set()
    assert result.leftovers_removed == {"quarantined": 1}
    assert "web_1" in desk.left()
    assert [entry.from_quarantine for entry in desk.store.trash.entries()] == [True]
