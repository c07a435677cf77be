"""Erasing: nothing that is kept of a session stays, nothing of anybody else's goes, and the receipt does not lie."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from miniclaw.errors import SessionNotFoundError, StoreError
from miniclaw.session.files.subdirectory import EarlierFolders
from miniclaw.session.live.store import open_store
from miniclaw.session.names import file_name
from miniclaw.session.threads import PATIENCE_SECONDS
from tests.fakes.clock import WallClock
from tests.fakes.desk import Desk
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.fakes.threads import until, wait_in_thread

ID = "telegram_1"
STAMP = "20261001T083015Z-0a1b2c3d"


def lay(path: Path, *, clock: WallClock, content: bytes = b"12345") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    long_ago = clock.ago(days=400).timestamp()
    os.utime(path, (long_ago, long_ago))
    return path


def traces(desk: Desk, session_id: str) -> list[Path]:
    """Lay what may be kept of a session beside it."""
    place, name = desk.store.directory.path, file_name(session_id)
    return [
        lay(place / ".quarantine" / f"{name}.{STAMP}", clock=desk.clock),
        lay(place / ".quarantine" / f"{name}.corrupted.{STAMP}", clock=desk.clock),
        lay(place / f"{name}.tmp", clock=desk.clock),
        lay(place / f"{name}.corrupted", clock=desk.clock),
    ]


async def test_erase_takes_all_that_is_kept(desk: Desk) -> None:
    """Session, trash, quarantine, and what an earlier implementation left: all of it goes, and is told as erased."""
    await desk.do.delete([ID])
    write_session(desk.store.directory.path, ID, desk.clock.now)
    mine, others = traces(desk, ID), traces(desk, "telegram_2")
    await desk.do.delete(["telegram_2"])  # to the trash
    size = (desk.store.directory.path / f"{ID}.json").stat().st_size
    in_trash = sum(entry.stored_size for entry in desk.store.trash.find_all(ID))
    (done,) = await desk.do.delete([ID], erase=True)
    assert (done.error, done.entry_id) == (None, "")
    assert done.bytes_freed == size + in_trash + 4 * 5
    left = [path for path in desk.store.directory.path.rglob("*") if path.name.startswith(f"{ID}.")]
    assert left == []
    assert not any(path.exists() for path in mine)
    assert all(path.exists() for path in others)
    assert [entry.session_id for entry in desk.store.trash.entries()] == ["telegram_2"]
    event = desk.told()[-1]
    assert (event.event, event.bytes_freed) == ("erased", done.bytes_freed)
    assert [row.session_id for row in event.sessions] == [ID]


async def test_erase_takes_what_lay_in_quarantine_out_of_the_trash(desk: Desk) -> None:
    """By the name of a damaged file, and by the content of one that holds the session; another one's stays."""
    folder = desk.store.directory.path / ".quarantine"
    write_session(folder, ID, desk.clock.now).rename(folder / f"copy.json.{STAMP[:-1]}1")
    write_session(folder, "telegram_9", desk.clock.now).rename(folder / f"{ID}.json.{STAMP[:-1]}2")
    lay(folder / f"{ID}.json.{STAMP}", clock=desk.clock)
    ids = [file.id for file in await desk.do.quarantine.files()]
    done = await desk.do.quarantine.delete(ids)
    assert [each.error for each in done] == [None, None, None]
    (erased,) = await desk.do.delete([ID], erase=True)
    assert erased.error is None
    assert [entry.session_id for entry in desk.store.trash.entries()] == ["telegram_9"]


async def test_erase_takes_a_file_in_quarantine_by_the_session_that_it_holds(desk: Desk) -> None:
    """Whatever it is called; and it leaves what stood in the session's place and is another one's."""
    folder = desk.store.directory.path / ".quarantine"
    write_session(folder, ID, desk.clock.now).rename(folder / f"copy.json.{STAMP[:-1]}1")
    write_session(folder, "telegram_9", desk.clock.now).rename(folder / f"{ID}.json.{STAMP[:-1]}2")
    (erased,) = await desk.do.delete([ID], erase=True)
    assert erased.error is None
    assert [path.name for path in folder.iterdir()] == [f"{ID}.json.{STAMP[:-1]}2"]


async def test_erase_of_a_session_that_is_only_in_the_trash(desk: Desk) -> None:
    """Also who is gone already can be erased."""
    await desk.do.delete([ID])
    (done,) = await desk.do.delete([ID], erase=True)
    assert done.error is None
    assert desk.store.trash.entries() == []
    assert desk.told()[-1].event == "erased"


async def test_erase_of_nobody_is_not_found(desk: Desk) -> None:
    """Where nothing is kept there is nothing to erase."""
    (done,) = await desk.do.delete(["telegram_9"], erase=True)
    assert isinstance(done.error, SessionNotFoundError)
    assert desk.told() == []


async def test_erase_of_a_cut_name_leaves_what_may_be_anothers(desk: Desk) -> None:
    """What lies in quarantine under a name that was cut may be of two sessions, and is not taken for one."""
    chat = "c" * 230
    cut = lay(desk.store.directory.path / ".quarantine" / f"{f'telegram_{chat}.json'[:200]}.{STAMP}", clock=desk.clock)
    write_session(desk.store.directory.path, f"telegram_{chat}", desk.clock.now)
    (done,) = await desk.do.delete([f"telegram_{chat}"], erase=True)
    assert done.error is None
    assert [each.key for each in done.remaining] == [f".quarantine/{cut.name}"]
    assert cut.exists()


async def test_erase_names_an_earlier_copy_whose_name_is_too_long_for_quarantine(desk: Desk) -> None:
    """A file of an earlier implementation that no erasure deletes, because its name would be cut, is named."""
    session_id = f"telegram_{'c' * 220}"
    old = lay(desk.store.directory.path / f"{session_id}.json.corrupted", clock=desk.clock)
    write_session(desk.store.directory.path, session_id, desk.clock.now)
    (done,) = await desk.do.delete([session_id], erase=True)
    assert [each.key for each in done.remaining] == [old.name]
    assert old.exists()


@pytest.mark.parametrize("call", ["trash", "quarantine", "list"])
async def test_erase_in_part_is_an_error_and_its_receipt_says_so(desk: Desk, call: str) -> None:
    """Where something is still there nobody is told "erased"; but that the session went is told, and why not all."""
    await desk.do.delete([ID])
    write_session(desk.store.directory.path, ID, desk.clock.now)
    traces(desk, ID)
    if call == "list":
        entered: list[int] = []

        def hook(name: str, args: tuple[object, ...]) -> None:
            if name == "unlink" and args[0] == f"{ID}.json":
                entered.append(1)
            if name == "scandir" and entered:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        desk.fs.on(hook)
    else:
        desk.fs.fail("unlink", errno.EACCES, path=".gz" if call == "trash" else STAMP)
    one, two = await desk.do.delete([ID, "telegram_2"], erase=True)
    desk.fs.clear()
    assert type(one.error) is StoreError
    assert ID in str(one.error)
    assert desk.left() == []
    events = desk.told()[1:]
    if two.error is None:
        erased, partly = events
        assert (erased.event, [row.session_id for row in erased.sessions]) == ("erased", ["telegram_2"])
    else:
        (partly,) = events
    assert partly.event == "deleted"
    assert partly.because.startswith(f"{ID}: ")
    assert partly.sessions[0].session_id == ID


@pytest.mark.parametrize("folder", [".quarantine", ".trash"])
@pytest.mark.parametrize("make", [lambda path: path.symlink_to("elsewhere"), os.mkfifo, Path.touch])
async def test_erase_where_a_folder_cannot_be_listed_says_so_and_erases_the_rest(
    desk: Desk, folder: str, make: Callable[[Path], object]
) -> None:
    """A copy may be where nothing can be looked for: the outcome is an error, and the receipt is not that of an erasure."""
    place = desk.store.directory.path
    await desk.do.delete([ID])
    write_session(place, ID, desk.clock.now)
    mine = traces(desk, ID)
    (place / folder).rename(place.parent / "elsewhere")
    make(place / folder)
    (done,) = await desk.do.delete([ID], erase=True)
    assert f"{place / folder}: could not list" in str(done.error)
    assert desk.left() == ["telegram_2"]
    assert (desk.told()[-1].event, desk.told()[-1].sessions[0].session_id) == ("deleted", ID)
    if folder == ".trash":
        assert not any(path.exists() for path in mine)
    else:
        assert desk.store.trash.entries() == []


BESIDE = [
    f"{ID}.json.1",
    f".{ID}.json.swp",
    f".~lock.{ID}.json#",
    f"{ID} (2026_07_14).json",
    f"{ID}_1.json",
    "mail_old.json",
]


async def test_erase_names_the_files_that_remain_beside_the_session(desk: Desk) -> None:
    """A file that holds the session, or whose name begins with that of its file, is named, and the receipt names it."""
    place = desk.store.directory.path
    content = (place / f"{ID}.json").read_bytes()
    for name in [*BESIDE, f"{ID}.json.tmp"]:
        (place / name).write_bytes(content)
    for name in ("my-telegram_1.json.1", "telegram_12.json.1", "notes.txt"):
        (place / name).write_bytes(b"another one's")
    (done,) = await desk.do.delete([ID], erase=True)
    assert done.error is None
    assert sorted(each.key for each in done.remaining) == sorted(BESIDE)
    assert all((place / name).exists() for name in BESIDE)
    assert not (place / f"{ID}.json.tmp").exists()
    event = desk.told()[-1]
    assert event.event == "deleted"
    assert all(name in event.because for name in BESIDE)
    (again,) = await desk.do.delete([ID], erase=True)
    assert type(again.error) is StoreError
    assert all(name in str(again.error) for name in BESIDE)
    (other,) = await desk.do.delete(["telegram_2"], erase=True)
    assert (other.error, other.remaining) == (None, [])
    assert desk.told()[-1].event == "erased"


async def test_erase_of_a_directory_that_cannot_be_searched_deletes_nothing(desk: Desk) -> None:
    """An erasure that cannot find out what remains is refused."""
    desk.fs.fail("scandir", errno.EIO)
    with pytest.raises(StoreError, match="could not list"):
        await desk.do.delete([ID], erase=True)
    desk.fs.clear()
    assert ID in desk.left()


async def test_erase_cancelled_completes_the_session_it_is_at(desk: Desk) -> None:
    """Cut short between the session and its traces, it takes those too, and tells."""
    await desk.do.delete([ID])
    write_session(desk.store.directory.path, ID, desk.clock.now)
    gate = desk.fs.block("unlink", path=".gz")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: desk.do.delete([ID, "telegram_2"], erase=True))
        await wait_in_thread(gate.reached)
        nursery.cancel_scope.cancel()
        gate.opened.set()
    assert desk.store.trash.entries() == []
    assert [row.session_id for row in desk.told()[-1].sessions] == [ID]
    assert desk.left() == ["telegram_2"]


async def test_erase_on_a_hung_disk_ends_and_tells_the_outcome_when_it_comes(
    desk: Desk, mock_clock: trio.testing.MockClock
) -> None:
    """Where the traces hang, the command ends and says that it goes on; what was erased then stands in the history."""
    await desk.do.delete([ID])
    gate = desk.fs.block("unlink", path=".gz")
    done = []
    async with trio.open_nursery() as nursery:

        async def erase() -> None:
            done.extend(await desk.do.delete([ID], erase=True))

        nursery.start_soon(erase)
        await wait_in_thread(gate.reached)
        mock_clock.jump(PATIENCE_SECONDS)
        await until(lambda: bool(done))
        gate.opened.set()
    assert "has not answered yet" in str(done[0].error)
    await until(lambda: desk.history.read()[0][-1].event == "late")
    late = desk.history.read()[0][-1]
    assert (late.event, late.because, late.sessions[0].session_id) == ("late", "erased beside the session", ID)
    assert desk.store.trash.entries() == []


@pytest.fixture
async def outside(tmp_path: Path, fs: FaultyOs, clock: WallClock) -> AsyncIterator[tuple[Desk, Path]]:
    """A desk, and the one entry of the session, which a move that broke off has left in the earlier trash."""
    trash = tmp_path / "trash"
    async with open_store(tmp_path / "sessions", fs=fs, earlier=EarlierFolders(trash=trash)) as store:
        desk = Desk(store, fs, clock)
        (done,) = await desk.do.delete([ID])
        (store.directory.path / ".trash").rename(trash)
        await desk.do.delete(["telegram_2"])
        write_session(store.directory.path, ID, clock.now)
        yield desk, trash / f"{done.entry_id}.gz"


async def test_erase_takes_what_could_not_be_moved_in(outside: tuple[Desk, Path]) -> None:
    """An entry in the trash of an earlier version goes with the others, and nothing else that lies there."""
    desk, entry = outside
    other = lay(entry.with_name(f"telegram_2.{STAMP}.gz"), clock=desk.clock)
    size = entry.stat().st_size + (desk.store.directory.path / f"{ID}.json").stat().st_size
    (done,) = await desk.do.delete([ID], erase=True)
    assert (done.error, done.bytes_freed) == (None, size)
    assert list(entry.parent.iterdir()) == [other]
    assert desk.told()[-1].event == "erased"


@pytest.mark.parametrize("call", ["unlink", "scandir"])
async def test_erase_names_what_stays_in_the_earlier_trash(outside: tuple[Desk, Path], call: str) -> None:
    """Where an entry cannot be removed, or looked for, that is an error with its place, in the history as well."""
    desk, entry = outside
    await desk.do.delete([ID])  # one lies in each trash
    write_session(desk.store.directory.path, ID, desk.clock.now)

    def refuse(name: str, args: tuple[object, ...]) -> None:
        if name == call == "unlink" and args[0] == entry.name:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        if (name, call) == ("open", "scandir") and args[0] == str(entry.parent):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    desk.fs.on(refuse)
    (done,) = await desk.do.delete([ID], erase=True)
    desk.fs.clear()
    named = str(entry if call == "unlink" else entry.parent)
    assert type(done.error) is StoreError
    assert named in str(done.error)
    assert entry.exists()
    assert desk.store.trash.find_all(ID) == []
    event = desk.told()[-1]
    assert (event.event, event.sessions[0].session_id) == ("deleted", ID)
    assert named in event.because


async def test_erase_leaves_and_names_what_a_shared_trash_holds(outside: tuple[Desk, Path]) -> None:
    """An entry in a folder that other directories may use is not removed, and nobody is told that all is gone."""
    desk, entry = outside
    desk.store.earlier = EarlierFolders(trash=entry.parent, may_be_shared=True)
    (done,) = await desk.do.delete([ID], erase=True)
    assert str(entry) in str(done.error)
    assert entry.exists()
    assert desk.told()[-1].event == "deleted"
