"""Odd texts, odd JSON, links, devices and other people's files: none of it leads outside, none of it is deleted."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from miniclaw.errors import (
    InvalidSessionIdError,
    SessionFileError,
    SessionNotFoundError,
    SessionsDirectoryError,
    StoreIOError,
)
from miniclaw.session.cleanup import Cleanup
from miniclaw.session.names import file_name, is_channel
from miniclaw.session.runtime import open_runtime
from miniclaw.session.types import Message
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.json_corpus import EITHER, INVALID, VALID
from tests.fakes.logs import MISPLACED, LogRecorder
from tests.fakes.naughty import NAUGHTY
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import write_session
from tests.fakes.sentinel import Sentinel
from tests.fakes.work_folder import left_in_work

HEAD = b'{"session_id":"web_%d","channel":"web","chat_id":"%d","created_at":"2020-01-01T00:00:00Z",'
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
TIME = b'"last_accessed":"2020-01-01T00:00:00Z"'


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, sessions_dir: Path) -> Iterator[Sentinel]:
    """Prove that nothing beside the sessions directory was changed, made or removed."""
    sentinel = Sentinel(tmp_path / "outside")
    write_session(sentinel.path, "telegram_1", LONG_AGO)
    sessions_dir.mkdir(parents=True, mode=0o700)
    before = sentinel.snapshot()
    yield sentinel
    assert sentinel.snapshot() == before
    assert {path.name for path in tmp_path.iterdir()} == {"outside", "workspace"}
    assert {path.name for path in sessions_dir.parent.iterdir()} <= {"sessions", "moved"}


# Texts ----------------------------------------------------------------------------------------------------------


async def test_texts_as_chat_ids_and_messages_live_a_whole_life(sessions_dir: Path, clock: WallClock) -> None:
    """Each text is a chat of its own, keeps what was said in it over a restart, and goes when it is expired."""
    async with open_runtime(sessions_dir, clock=clock, notice=False) as runtime:
        for text in NAUGHTY:
            session = await runtime.manager.get_or_create_session("web", text)
            await runtime.manager.add_message(session.session_id, Message("user", text, clock.now))
    made = [path for path in sessions_dir.iterdir() if not path.name.startswith(".")]
    assert len({path.name.lower() for path in made}) == len(made) == len(NAUGHTY)
    assert all(stat.S_ISREG(path.lstat().st_mode) for path in made)
    async with open_runtime(sessions_dir, clock=clock, notice=False) as runtime:
        for text in NAUGHTY:
            loaded = await runtime.manager.get_session(f"web_{text}")
            assert loaded is not None
            assert (loaded.chat_id, [message.content for message in loaded.messages]) == (text, [text])
    clock.move(days=31)
    result = await Cleanup(sessions_dir, clock=clock).run()
    assert (result.sessions_scanned, result.sessions_deleted) == (len(NAUGHTY), len(NAUGHTY))
    assert not [path for path in sessions_dir.iterdir() if not path.name.startswith(".")]


async def test_texts_as_channels_and_ids_are_refused_or_name_one_file(sessions_dir: Path, clock: WallClock) -> None:
    """What is no channel, or no session id, is refused before any file is looked at."""
    async with open_runtime(sessions_dir, clock=clock) as runtime:
        before = set(sessions_dir.iterdir())
        for text in NAUGHTY:
            if not is_channel(text):
                with pytest.raises(InvalidSessionIdError):
                    await runtime.manager.get_or_create_session(text, "1")
            with pytest.raises((InvalidSessionIdError, SessionNotFoundError)):
                await runtime.manager.delete_session(text)
        for text in ("\ud800", "a\udcff", ""):
            with pytest.raises(InvalidSessionIdError):
                await runtime.manager.get_or_create_session("web", text)
        assert set(sessions_dir.iterdir()) == before


async def test_texts_as_file_names_stay_where_they_are(sessions_dir: Path, clock: WallClock, logs: LogRecorder) -> None:
    """A file whose name is no session's, or another one's, stays, whatever its name and though it is expired inside."""
    logs.expect_error("Session file kept, it cannot be judged")
    logs.expect_error("More session files cannot be judged")
    content = (HEAD % (1, 1)) + TIME + b"}"
    texts = {text.replace("/", "").replace("\0", "") for text in NAUGHTY} - {"", ".", ".."}
    names = {name for text in texts for name in (text.encode(), f"{text}.json".encode()) if len(name) <= 255}
    names |= {b"\xff\xfe", b"web_\xff.json", b"web_1.JSON", b"WEB_1.json", b"web_1.json "}
    names -= {b".lock", b".work", b".quarantine", b".state"}
    for name in names:
        Path(os.fsdecode(os.fsencode(sessions_dir) + b"/" + name)).write_bytes(content)
    (sessions_dir / "web_1.json").write_bytes(content)
    result = await Cleanup(sessions_dir, clock=clock).run()
    assert result.sessions_deleted == 1
    assert result.mismatched + result.foreign + result.sessions_deleted + result.corrupt >= len(names) * 9 // 10
    assert names <= set(os.listdir(os.fsencode(sessions_dir)))


async def test_case_only_names_are_sessions_of_their_own(sessions_dir: Path, clock: WallClock) -> None:
    """Ids that differ in case only have files that a disk which ignores case would keep apart, and expire apart."""
    ids = ["case", "Case", "cASE", "CASE", "\u017f", "s", "S", "K", "k", "\u212a", "\u0130", "i\u0307", "i"]
    ids += [file_name(f"web_{chat_id}")[len("web_") : -len(".json")].lower() for chat_id in ("CASE", "a" * 300)]
    assert len({file_name(f"web_{chat_id}").casefold() for chat_id in ids}) == len(ids)
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None) as runtime:
        for chat_id in ids:
            await runtime.manager.get_or_create_session("web", chat_id)
        await runtime.manager.save_all_sessions()
        clock.move(days=31)
        await runtime.manager.get_session("web_Case")
        assert (await runtime.cleanup.run()).sessions_deleted == len(ids) - 1
    assert [path.name for path in sessions_dir.glob("*.json")] == [file_name("web_Case")]


async def test_json_corpus_as_session_files_is_counted_and_the_bad_is_kept(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """Of expired sessions with odd JSON before or after their messages, those that are JSON go, the others stay."""
    logs.expect_error("Session file kept, it cannot be judged")
    logs.expect_error("More session files cannot be judged")
    logs.expect_error("Session not removed")  # where the damage is behind the first page
    logs.expect_error("More sessions not removed")
    number, expected = 0, {True: set[str](), False: set[str](), None: set[str]()}
    whole: dict[str, bytes] = {}
    for verdict, values in ((True, VALID), (False, INVALID), (None, EITHER)):
        for value in values:
            big = b'"pad":"' + b"x" * 5000 + b'",'  # the header is found by the first page alone
            shapes = [
                b'"x":' + value + b"," + TIME + b',"messages":[]}',
                TIME + b',"messages":[],"x":' + value + b"}",
                TIME + b',"messages":[],' + big + b'"x":' + value + b"}",
            ]
            files_ = [(HEAD % (number + at, number + at)) + shape for at, shape in enumerate(shapes)]
            for at, content in enumerate([*files_, value]):
                name = f"web_{number + at}.json"
                whole[name] = content
                expected[False if content is value else verdict].add(name)
            number += 4
    for name, content in whole.items():
        (sessions_dir / name).write_bytes(content)
    result = await Cleanup(sessions_dir, clock=clock).run()
    left = {path.name: path.read_bytes() for path in sessions_dir.glob("*.json")}
    assert result.sessions_scanned == len(whole)
    assert result.corrupt == len(left)
    assert result.sessions_deleted == len(whole) - len(left)
    assert expected[False] <= set(left), "something that is no JSON was deleted"
    assert not expected[True] & set(left), "a sound expired session was taken for damaged"
    assert all(whole[name] == content for name, content in left.items())


# Links ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", ".work", ".lock"])
async def test_link_in_place_of_what_the_start_needs_is_refused(
    name: str, sessions_dir: Path, clock: WallClock, outside: Sentinel
) -> None:
    """Over a link in place of the directory, the lock or the work folder nothing starts."""
    place = sessions_dir / name
    if not name:
        sessions_dir.rmdir()
    place.symlink_to(outside.file if name == ".lock" else outside.path)
    with pytest.raises(SessionsDirectoryError if not name else StoreIOError):
        async with open_runtime(sessions_dir, clock=clock):
            pytest.fail("it started")
    assert place.is_symlink()


@pytest.mark.parametrize(
    ("name", "errors"),
    [
        (
            ".state",
            [
                "Cleanup state could not be read; what is due is announced anew",
                "Whether inodes last could not be looked at",
                "Cleanup state could not be written",
                "Cleanup could not be written into the history",
            ],
        ),
        (".quarantine", ["Leftovers could not be listed"]),
        (".trash", ["Leftovers could not be listed", "Trash could not be swept"]),
    ],
)
async def test_link_in_place_of_a_folder_is_not_followed(
    name: str, errors: list[str], sessions_dir: Path, clock: WallClock, outside: Sentinel, logs: LogRecorder
) -> None:
    """Over a link in place of another folder of ours the runtime works on, and says what it cannot do."""
    (sessions_dir / name).symlink_to(outside.path)
    (sessions_dir / "web_bad.json").write_text("damaged")
    write_session(sessions_dir, "web_old", clock.ago(days=31))
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None) as runtime:
        await runtime.manager.get_or_create_session("web", "1")
        if name == ".quarantine":
            with pytest.raises(StoreIOError, match="quarantine"):
                await runtime.manager.get_or_create_session("web", "bad")
        result = await runtime.cleanup.run()
    assert (result.corrupt, result.sessions_deleted) == (1, 1)
    assert {path.name for path in sessions_dir.glob("*.json")} == {"web_1.json", "web_bad.json"}
    _forgive(logs, "Session file kept, it cannot be judged", *errors)
    assert (sessions_dir / name).is_symlink()


async def test_link_in_place_of_a_temporary_file_is_not_written_through(
    sessions_dir: Path, clock: WallClock, outside: Sentinel, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link under the very name that a save is about to use fails that save; the next one has another name."""
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None) as runtime:
        await runtime.manager.get_or_create_session("web", "1")
        with monkeypatch.context() as patch:
            patch.setattr(os, "urandom", bytes)
            (sessions_dir / ".work" / f"tmp-{'00' * 8}").symlink_to(outside.file)
            assert (await runtime.manager.save_all_sessions()).failed == ("web_1",)
        (sessions_dir / ".work" / "tmp-left").symlink_to(outside.file)
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None):
        assert left_in_work(sessions_dir) == []
    assert (sessions_dir / "web_1.json").exists()


def _link(path: Path, outside: Sentinel) -> None:
    path.symlink_to(outside.session)


def _fifo(path: Path, _: Sentinel) -> None:
    os.mkfifo(path)


def _device(path: Path, _: Sentinel) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero, which never ends
    except PermissionError as error:
        pytest.skip(f"devices cannot be made here: {error}")


@pytest.mark.parametrize("make", [_link, _fifo, _device])
async def test_no_regular_file_in_place_of_a_session_is_never_used(
    make: Callable[[Path, Sentinel], None], sessions_dir: Path, clock: WallClock, outside: Sentinel, logs: LogRecorder
) -> None:
    """It is neither followed nor read nor deleted, by use, sweep, command or a start that finds it captured.

    A message of the person whose chat has its name moves it to quarantine, as it is.
    """
    logs.expect_error("Session could not be read; begun anew")
    path = sessions_dir / "telegram_1.json"
    make(path, outside)
    captured = sessions_dir / ".work" / "rm-0123456789abcdef"
    captured.mkdir(parents=True)
    make(captured / "telegram_2.json", outside)
    kinds = [stat.S_IFMT(path.lstat().st_mode)] * 2
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None) as runtime:
        for use in (runtime.manager.get_session, runtime.manager.delete_session):
            with pytest.raises(SessionFileError):
                await use("telegram_1")
        assert (await runtime.cleanup.run()).foreign == 2
        assert [stat.S_IFMT((sessions_dir / f"telegram_{n}.json").lstat().st_mode) for n in (1, 2)] == kinds
        await runtime.manager.get_or_create_session("telegram", "1")
    (kept,) = (sessions_dir / ".quarantine").iterdir()
    assert stat.S_IFMT(kept.lstat().st_mode) == kinds[0]


async def test_link_in_place_of_a_live_session_is_replaced_not_written_through(
    sessions_dir: Path, clock: WallClock, outside: Sentinel
) -> None:
    """A link that takes the place of a session in memory gives way to the next save; its target is not touched."""
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None) as runtime:
        await runtime.manager.get_or_create_session("telegram", "1")
        (sessions_dir / "telegram_1.json").symlink_to(outside.file)
        assert (await runtime.manager.save_all_sessions()).saved == 1
    assert not (sessions_dir / "telegram_1.json").is_symlink()


async def test_hard_link_is_removed_or_replaced_and_its_other_name_stays(
    sessions_dir: Path, clock: WallClock, outside: Sentinel
) -> None:
    """A session with a second name elsewhere is saved and removed without a change to that name's file."""
    (sessions_dir / "telegram_1.json").hardlink_to(outside.session)
    async with open_runtime(sessions_dir, clock=clock, notice=False, cleanup_interval_seconds=None) as runtime:
        result = await runtime.cleanup.run()
        assert (result.sessions_deleted, result.bytes_freed) == (1, 0)
        (sessions_dir / "telegram_1.json").hardlink_to(outside.session)
        await runtime.manager.add_message("telegram_1", Message("user", "new", clock.now))
    assert "new" in (sessions_dir / "telegram_1.json").read_text()


async def test_directory_swapped_for_a_link_while_running_nothing_leaves_it(
    sessions_dir: Path,
    clock: WallClock,
    days_pass: DaysPass,
    outside: Sentinel,
    logs: LogRecorder,
) -> None:
    """Who has the directory open keeps it: saves, loads, sweeps and state go where it went, not to the link; one ERROR."""
    logs.expect_error(MISPLACED)
    moved = sessions_dir.parent / "moved"
    write_session(sessions_dir, "web_old", clock.ago(days=31))
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None) as runtime:
        sessions_dir.rename(moved)
        sessions_dir.symlink_to(outside.path)
        assert await runtime.manager.get_session("telegram_1") is None
        await runtime.manager.get_or_create_session("web", "1")
        await days_pass(1 / 24)
        assert (await runtime.cleanup.run()).sessions_deleted == 1
    assert {path.name for path in moved.glob("*.json")} == {"web_1.json"}
    assert "symbolic link" in logs.one(MISPLACED)["problem"]


async def test_directory_moved_and_back_is_told_once_each(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A directory that is renamed while it is in use is told once, what is saved meanwhile is there when it is back."""
    logs.expect_error(MISPLACED)
    moved = sessions_dir.parent / "moved"
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None) as runtime:
        sessions_dir.rename(moved)
        await runtime.manager.get_or_create_session("web", "1")
        await runtime.persistence.tick()
        await runtime.persistence.tick()
        assert "nothing can be found there" in logs.one(MISPLACED)["problem"]
        moved.rename(sessions_dir)
        await runtime.persistence.tick()
        await runtime.persistence.tick()
    assert logs.one("Sessions directory is in its place again")
    assert (sessions_dir / "web_1.json").exists()


async def test_open_never_waits_follows_a_link_or_is_inherited(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """Whatever stands in a place, opening it does not wait for a FIFO's other end, follow a link, or reach a child."""
    logs.expect_error("Session could not be read; begun anew")
    fs = FaultyOs()
    write_session(sessions_dir, "web_old", clock.ago(days=31))
    (sessions_dir / "web_bad.json").write_text("{")
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None, fs=fs) as runtime:
        await runtime.manager.get_or_create_session("web", "1")
        await runtime.manager.get_or_create_session("web", "bad")
        await runtime.persistence.tick()
        await runtime.cleanup.run()
        await runtime.manager.delete_session("web_1")
    opened = [(str(args[0]), args[1]) for name, args in fs.calls if name == "open"]
    assert len({path for path, _ in opened}) >= 8
    for path, flags in opened:
        assert flags & os.O_NOFOLLOW, path
        assert flags & os.O_CLOEXEC, path
        assert flags & (os.O_NONBLOCK | os.O_DIRECTORY | os.O_EXCL), path


def _forgive(logs: LogRecorder, *sentences: str) -> None:
    """Expect these where they came."""
    for sentence in sentences:
        if logs.named(sentence):
            logs.expect_error(sentence)
