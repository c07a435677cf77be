"""A directory full of what does not belong there: a run ends, counts each, deletes none of it, and says which."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from miniclaw.session.cleanup import Cleanup, CleanupResult
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME
from miniclaw.session.files.scan import OUR_OWN
from miniclaw.session.files.stranded import WORK_NAME
from miniclaw.session.files.subdirectory import STATE_NAME, TRASH_NAME
from miniclaw.session.journal.records import JOURNAL_NAME
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.ownership.holder import LOCK_NAME
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.samples import make_socket, session_dict, write_session
from tests.session.scans import scan

OLD = "2020-01-01T00:00:00Z"
HEAD = '{"session_id":"telegram_1","channel":"telegram","chat_id":"1","created_at":"2020-01-01T00:00:00Z",'
WHOLE = HEAD + f'"last_accessed":"{OLD}","messages":[]}}'

# content of telegram_1.json -> what it counts as
CONTENTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "corrupt"),
    "truncated in the header": (HEAD.encode(), "corrupt"),
    "truncated in the messages": (WHOLE[:-3].encode(), "corrupt"),
    "not JSON": (b"hello", "corrupt"),
    "a list": (b"[]", "corrupt"),
    "null": (b"null", "corrupt"),
    "no session_id": (WHOLE.replace("session_id", "id").encode(), "corrupt"),
    "session_id a number": (WHOLE.replace('"telegram_1"', "1").encode(), "corrupt"),
    "session_id null": (WHOLE.replace('"telegram_1"', "null").encode(), "corrupt"),
    "NaN": (WHOLE.replace('"telegram_1"', "NaN").encode(), "corrupt"),
    "nested 100,000 deep": ((HEAD + f'"last_accessed":"{OLD}","x":' + "[" * 100_000).encode(), "corrupt"),
    "invalid UTF-8 in the header": (WHOLE.encode().replace(b"telegram_1", b"telegram_\xff"), "corrupt"),
    "NUL bytes": (b"\0" * 5000, "corrupt"),
    "another session": (WHOLE.replace("telegram_1", "telegram_2").encode(), "mismatched"),
    "parts that disagree": (WHOLE.replace('"chat_id":"1"', '"chat_id":"2"').encode(), "mismatched"),
    "a path as id": (WHOLE.replace("telegram_1", "telegram_../../etc").encode(), "mismatched"),
}


async def sweep(sessions_dir: Path, clock: WallClock) -> CleanupResult:
    return await Cleanup(sessions_dir, clock=clock).run()


@pytest.mark.parametrize("name", CONTENTS)
async def test_run_bad_content_is_counted_named_and_kept(
    name: str, sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """What is no session is counted by its kind, named in the log, and stays; the session beside it goes."""
    content, kind = CONTENTS[name]
    logs.expect_error("Session file kept, it cannot be judged")
    write_session(sessions_dir, "telegram_old", clock.ago(days=31))
    path = sessions_dir / "telegram_1.json"
    path.write_bytes(content)
    result = await sweep(sessions_dir, clock)
    assert getattr(result, kind) == 1
    assert (result.sessions_scanned, result.sessions_deleted) == (2, 1)
    event = logs.one("Session file kept, it cannot be judged")
    assert (event["path"], event["kind"]) == (str(path), kind)
    assert event["reason"]
    assert path.read_bytes() == content


async def test_run_doubled_keys_the_last_counts(sessions_dir: Path, clock: WallClock) -> None:
    """Of a doubled key the last counts, in the scan of a small file as in its loading."""
    fresh = clock.now.isoformat().replace("+00:00", "Z")
    sessions_dir.mkdir(parents=True, mode=0o700)
    (sessions_dir / "telegram_1.json").write_text(f'{WHOLE[:-1]},"last_accessed":"{fresh}"}}')
    assert (await sweep(sessions_dir, clock)).sessions_deleted == 0


async def test_run_sparse_gigabyte_is_not_read(sessions_dir: Path, clock: WallClock, logs: LogRecorder) -> None:
    """A sparse gigabyte costs one page, whether it looks like a session at its beginning or not."""
    logs.expect_error("Session file kept, it cannot be judged")
    logs.expect_error("Session not removed")
    sessions_dir.mkdir(parents=True, mode=0o700)
    (sessions_dir / "telegram_2.json").touch()
    os.truncate(sessions_dir / "telegram_2.json", 1 << 30)
    os.truncate(write_session(sessions_dir, "telegram_1", clock.ago(days=31), messages=["x" * 9000]), 1 << 30)
    result = await sweep(sessions_dir, clock)
    assert (result.unreadable, result.sessions_deleted) == (2, 0)
    assert (sessions_dir / "telegram_1.json").stat().st_size == 1 << 30


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "precious").write_text("x")


@pytest.mark.parametrize(
    "make",
    [
        _directory,
        os.mkfifo,
        make_socket,
        lambda path: path.symlink_to("/etc/passwd"),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to(path.name),
    ],
    ids=["directory", "fifo", "socket", "link", "dangling link", "circular link"],
)
async def test_run_no_regular_file_is_foreign_and_left_alone(
    make: Callable[[Path], None], sessions_dir: Path, clock: WallClock
) -> None:
    """What has a session's name but is no file is neither opened nor followed nor removed."""
    sessions_dir.mkdir(parents=True, mode=0o700)
    path = sessions_dir / "telegram_1.json"
    make(path)
    before = path.lstat()
    result = await sweep(sessions_dir, clock)
    assert (result.foreign, result.sessions_scanned, result.sessions_deleted) == (1, 0, 0)
    assert path.lstat().st_ino == before.st_ino


@pytest.mark.parametrize("name", ["nounderscore.json", "Telegram_1.json", "_1.json", "telegram_.json", "a_b c%.json"])
async def test_run_name_that_is_no_id_is_mismatched(
    name: str, sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A session under a name that cannot be its own is kept."""
    logs.expect_error("Session file kept, it cannot be judged")
    sessions_dir.mkdir(parents=True, mode=0o700)
    (sessions_dir / name).write_text(WHOLE)
    result = await sweep(sessions_dir, clock)
    assert (result.mismatched, result.sessions_deleted) == (1, 0)
    assert (sessions_dir / name).exists()


@pytest.mark.parametrize("session_id", ["nounderscore", "Telegram_1", "telegram_", "a b_1"])
async def test_run_id_that_is_no_id_is_mismatched(
    session_id: str, sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A file that agrees with itself on an id that no session can have is kept."""
    logs.expect_error("Session file kept, it cannot be judged")
    sessions_dir.mkdir(parents=True, mode=0o700)
    channel, _, chat_id = session_id.partition("_")
    data = session_dict("telegram_1", clock.ago(days=31)) | {
        "session_id": session_id,
        "channel": channel,
        "chat_id": chat_id,
    }
    (sessions_dir / f"{session_id}.json").write_text(json.dumps(data))
    assert (await sweep(sessions_dir, clock)).mismatched == 1


async def test_run_strangers_are_counted_as_foreign(sessions_dir: Path, clock: WallClock) -> None:
    """Files that do not claim to be sessions stay, and are not counted as scanned."""
    sessions_dir.mkdir(parents=True, mode=0o700)
    strangers = [".json", ".hidden.json", "notes.txt", "telegram_1.txt", "telegram_1.json.new", "x.JSON"]
    strangers += [
        ".syncthing.telegram_1.json.tmp",
        ".~lock.telegram_1.json#",
        ".telegram_1.json.swp",
        ".DS_Store",
        ".x",
    ]
    for name in strangers:
        (sessions_dir / name).write_text(WHOLE)
    result = await sweep(sessions_dir, clock)
    assert (result.foreign, result.sessions_scanned, result.sessions_deleted) == (len(strangers), 0, 0)
    assert all((sessions_dir / name).exists() for name in strangers)


def test_scan_has_no_row_for_an_entry_of_our_own(sessions_dir: Path) -> None:
    """The lock and the hidden folders of miniclaw are not foreign."""
    assert {LOCK_NAME, JOURNAL_NAME, WORK_NAME, QUARANTINE_NAME, STATE_NAME, TRASH_NAME} == OUR_OWN
    sessions_dir.mkdir(parents=True, mode=0o700)
    for name in OUR_OWN:
        (sessions_dir / name).mkdir()
    assert scan(sessions_dir, None)[0] == []


async def test_run_files_that_vanish_are_nobodys(
    store: FileSessionStore, manager: SessionManager, fs: FaultyOs, sessions_dir: Path, clock: WallClock
) -> None:
    """A file that vanishes between listing and reading, or reading and removing, is not counted as deleted."""
    for number in range(4):
        write_session(sessions_dir, f"telegram_{number}", clock.ago(days=31))

    def vanish(name: str, args: tuple[object, ...]) -> None:
        if name == "open" and args[0] == "telegram_1.json":
            (sessions_dir / "telegram_1.json").unlink(missing_ok=True)
        if name == "rename" and args[0] == "telegram_2.json":
            (sessions_dir / "telegram_2.json").unlink(missing_ok=True)

    fs.on(vanish)
    result = await Cleanup(sessions_dir, clock=clock, manager=manager).run()
    assert (result.sessions_scanned, result.sessions_deleted) == (3, 2)


@pytest.mark.parametrize(
    "chat_id",
    ["a/b", "..", "../../etc/passwd", "a\0b", "a\nb", "x" * 10_000, "🦀🦀", "A", "~", "%2F", " ", ".", "con", "\u202e"],
    ids=lambda chat_id: repr(chat_id)[:20],
)
async def test_odd_chat_ids_live_a_whole_life(
    chat_id: str, manager: SessionManager, store: FileSessionStore, sessions_dir: Path, clock: WallClock
) -> None:
    """Any text is a chat: it is saved inside of the directory, loaded, swept and deleted as every other."""
    session = await manager.get_or_create_session("telegram", chat_id)
    assert (await manager.save_all_sessions()).failed == ()
    (path,) = sessions_dir.glob("*.json")
    with_disk = SessionManager(store, clock=clock)
    assert await with_disk.get_session(session.session_id) == session
    clock.move(days=31)
    result = await Cleanup(sessions_dir, clock=clock, manager=SessionManager(store, clock=clock)).run()
    assert result.sessions_deleted == 1
    assert not path.exists()


@pytest.mark.parametrize("content", [b'"\\x', b"1e", b"7.", b"nul", b"[1"])
async def test_run_damaged_messages_are_kept(
    content: bytes, sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """An expired session whose messages could not be loaded is damaged, not expired: named, counted and kept."""
    logs.expect_error("Session file kept, it cannot be judged")
    path = write_with(sessions_dir, clock, content)
    plan = await Cleanup(sessions_dir, clock=clock).plan()
    assert [problem.kind for problem in plan.problems] == ["corrupt"]
    result = await sweep(sessions_dir, clock)
    assert (result.corrupt, result.sessions_deleted) == (1, 0)
    assert path.exists()


@pytest.mark.parametrize("content", [b'"\xff"', b"1e999", b"7", b"null", b'"\\ud800"', b"NaN", b"{}"])
async def test_run_messages_in_unusual_form_expire(content: bytes, sessions_dir: Path, clock: WallClock) -> None:
    """They can be loaded, so they are no reason to keep the session for ever."""
    path = write_with(sessions_dir, clock, content)
    result = await sweep(sessions_dir, clock)
    assert (result.corrupt, result.sessions_deleted) == (0, 1)
    assert not path.exists()


@pytest.mark.parametrize(
    "data",
    [
        (HEAD + '"last_accessed":"2020-01-01T00:00:00"}').encode(),
        b"\xef\xbb\xbf" + WHOLE.encode(),
        WHOLE.encode("utf-16"),
        WHOLE.encode() + b"\0" * 5000,
    ],
)
async def test_run_header_in_unusual_form_expires(data: bytes, sessions_dir: Path, clock: WallClock) -> None:
    """A session whose age can be read is judged by it."""
    sessions_dir.mkdir(parents=True)
    path = sessions_dir / "telegram_1.json"
    path.write_bytes(data)
    assert (await sweep(sessions_dir, clock)).sessions_deleted == 1
    assert not path.exists()


def write_with(sessions_dir: Path, clock: WallClock, content: bytes) -> Path:
    """Write an expired session with one message of this content."""
    message = b'{"role":"user","timestamp":"2020-01-01T00:00:00Z","content":' + content + b"}"
    path = write_session(sessions_dir, "telegram_1", clock.ago(days=31), messages=[])
    path.write_bytes(path.read_bytes().replace(b'"messages": []', b'"messages": [' + message + b"]"))
    return path
