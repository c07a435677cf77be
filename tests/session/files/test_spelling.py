"""bob, Bob and the file of an earlier implementation that is called `web_Bob.json`, where a file system ignores case.

Each has a session of their own; neither sees, renames, deletes or overwrites what is the other's, whatever is done.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from miniclaw.errors import CorruptSessionError, MismatchedSessionError, SessionNotFoundError
from miniclaw.session.disk.spelling import fold, is_spelled
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.names import file_name
from miniclaw.session.removal.put_back import put_back
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.poor_os import PoorOs
from tests.fakes.runs import Runs
from tests.fakes.samples import read_contents, session_dict, write_session
from tests.session.scans import scanned

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=400)
BARE, OURS = "web_Bob.json", file_name("web_Bob")
LOWER = "web_bob.json"
MOVED = "File in the place of another session moved to quarantine; its name differs in case only"


@pytest.fixture(params=[True, False], ids=["case only", "poor"])
def fs(request: pytest.FixtureRequest) -> FaultyOs:
    return PoorOs(links=request.param, locks=True, syncs_directories=request.param, modes=True)


def write_bare(sessions_dir: Path, session_id: str, when: datetime = OLD, name: str = "", **fields: Any) -> Path:
    """Write a session as an earlier implementation did, or under any name."""
    path = sessions_dir / (name or f"{session_id}.json")
    path.write_text(json.dumps(session_dict(session_id, when, **fields)))
    return path


def files(sessions_dir: Path) -> list[str]:
    return sorted(path.name for path in sessions_dir.iterdir() if not path.name.startswith("."))


def in_quarantine(sessions_dir: Path) -> list[str]:
    folder = sessions_dir / ".quarantine"
    return sorted(path.name.rsplit(".", 1)[0] for path in folder.iterdir()) if folder.exists() else []


async def say(manager: SessionManager, chat_id: str) -> None:
    await manager.get_or_create_session("web", chat_id)
    await manager.add_message(f"web_{chat_id}", Message("user", f"I am {chat_id}", NOW))
    assert (await manager.save_all_sessions()).failed == ()


class Unchanged:
    """Remembers a file; at the end of a block it has the same name, content and inode."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        self.before = self.path.read_bytes(), self.path.stat().st_ino, self.path.stat().st_mtime_ns

    def __exit__(self, *_: object) -> None:
        assert self.path.name in os.listdir(self.path.parent)
        assert (self.path.read_bytes(), self.path.stat().st_ino, self.path.stat().st_mtime_ns) == self.before


# The directory ------------------------------------------------------------------------------------------------


def test_own_finds_out_whether_case_is_ignored(directory: SessionDirectory, tmp_path: Path) -> None:
    """What only some file systems need is only done there."""
    assert directory.ignores_case
    with SessionDirectory.open(tmp_path / "other", create=True) as ordinary:
        ordinary.own()
        assert not ordinary.ignores_case


@pytest.mark.parametrize("content", ["sound", "torn"])
def test_session_is_not_found_under_the_name_of_another(directory: SessionDirectory, content: str) -> None:
    """Bob has no session because bob has one, and none that is damaged because bob's is."""
    path = write_session(directory.path, "web_bob", OLD)
    if content == "torn":
        path.write_bytes(b"{")
    with Unchanged(path):
        for look in (directory.find, directory.header, directory.load, directory.load_source):
            with pytest.raises(SessionNotFoundError):
                look("web_Bob")
        with pytest.raises(SessionNotFoundError):
            directory.load("web_Bob", adopt=True)


def test_session_is_not_found_under_the_earlier_name_of_another(directory: SessionDirectory) -> None:
    """bob has no session because Bob has a file of an earlier implementation; Bob has."""
    with Unchanged(write_bare(directory.path, "web_Bob")):
        for look in (directory.find, directory.header, directory.load):
            with pytest.raises(SessionNotFoundError):
                look("web_bob")
        assert directory.find("web_Bob").key == BARE
        assert directory.load("web_Bob").session_id == "web_Bob"


def test_session_of_an_earlier_implementation_is_adopted(directory: SessionDirectory) -> None:
    """As on every file system: it is found, checked and renamed."""
    path = write_bare(directory.path, "web_Bob")
    content = path.read_bytes()
    assert directory.load("web_Bob", adopt=True).session_id == "web_Bob"
    assert files(directory.path) == [OURS]
    assert (directory.path / OURS).read_bytes() == content


def test_session_in_a_file_that_is_spelled_otherwise_does_not_count(directory: SessionDirectory) -> None:
    """Under an earlier name a file counts as its directory spells it: this one stands in bob's place, with Bob in it."""
    with Unchanged(write_bare(directory.path, "web_Bob", name=LOWER)):
        with pytest.raises(SessionNotFoundError):
            directory.load("web_Bob", adopt=True)
        with pytest.raises(MismatchedSessionError):
            directory.load("web_bob", adopt=True)


def test_session_under_its_own_name_counts_in_any_spelling(directory: SessionDirectory) -> None:
    """A program that copies may change the case of our own names; what is in the file tells whose it is."""
    write_bare(directory.path, "web_bob", name="WEB_BOB.json")
    assert directory.load("web_bob").session_id == "web_bob"


def test_damaged_file_of_an_earlier_name_is_that_ones(directory: SessionDirectory) -> None:
    """What cannot be read and is spelled as Bob's earlier name is Bob's, and not bob's."""
    (directory.path / BARE).write_bytes(b"{")
    with pytest.raises(CorruptSessionError):
        directory.load("web_Bob", adopt=True)
    with pytest.raises(SessionNotFoundError):
        directory.find("web_bob")


def test_listing_is_read_only_where_a_name_is_found_otherwise(directory: SessionDirectory, fs: FaultyOs) -> None:
    """A new session costs no listing, and neither does one that is there; only damage has to be looked into."""
    path = write_session(directory.path, "web_bob", OLD)
    write_session(directory.path, "web_Anna", OLD)
    fs.calls.clear()
    directory.load("web_bob", adopt=True)
    directory.load("web_Anna", adopt=True)
    for session_id in ("web_Carl", "web_Bob"):
        with pytest.raises(SessionNotFoundError):
            directory.load(session_id, adopt=True)
    assert "scandir" not in [name for name, _ in fs.calls]
    path.write_bytes(b"{")
    with pytest.raises(SessionNotFoundError):
        directory.load("web_Bob", adopt=True)
    assert "scandir" in [name for name, _ in fs.calls]


# The manager --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [["bob", "Bob", "BOB"], ["BOB", "Bob", "bob"]])
async def test_new_sessions_whose_ids_differ_in_case_live_side_by_side(
    manager: SessionManager, sessions_dir: Path, order: list[str]
) -> None:
    """Whoever comes first, each has a file of their own with their own words in it."""
    for chat_id in order:
        await say(manager, chat_id)
    assert len(files(sessions_dir)) == 3
    for chat_id in order:
        assert read_contents(sessions_dir / file_name(f"web_{chat_id}")) == [f"I am {chat_id}"]


async def test_new_session_in_the_place_of_an_earlier_name_overwrites_nothing(
    manager: SessionManager, sessions_dir: Path
) -> None:
    """bob's first save would be renamed over Bob's file of an earlier implementation: that one is adopted before."""
    content = write_bare(sessions_dir, "web_Bob").read_bytes()
    await say(manager, "bob")
    assert files(sessions_dir) == sorted([LOWER, OURS])
    assert (sessions_dir / OURS).read_bytes() == content
    await say(manager, "Bob")
    assert read_contents(sessions_dir / OURS) == ["hello from Bob", "I am Bob"]
    assert read_contents(sessions_dir / LOWER) == ["I am bob"]


@pytest.mark.parametrize("name", [BARE, "WEB_bob.json", "web_boB~x.json"])
async def test_new_session_in_the_place_of_what_nobody_can_adopt_overwrites_nothing(
    manager: SessionManager, sessions_dir: Path, logs: LogRecorder, name: str
) -> None:
    """What is the name of no session, or of one that has another file, goes into quarantine, with a WARNING."""
    chat_id = "bob~x" if "~" in name else "bob"
    target = sessions_dir / name if "~" not in name else sessions_dir / file_name("web_bob~x").upper()
    write_session(sessions_dir, "web_Bob", OLD)
    target.write_bytes(b"precious")
    await say(manager, chat_id)
    assert logs.one(MOVED)["level"] == "warning"
    (kept,) = (sessions_dir / ".quarantine").iterdir()
    assert kept.read_bytes() == b"precious"
    assert read_contents(sessions_dir / file_name(f"web_{chat_id}")) == [f"I am {chat_id}"]


@pytest.mark.parametrize("trash_for", [None, timedelta(days=7)], ids=["gone", "trash"])
@pytest.mark.parametrize("in_memory", [False, True])
async def test_delete_of_a_session_leaves_the_other_one(
    store: FileSessionStore, sessions_dir: Path, clock: WallClock, trash_for: timedelta | None, in_memory: bool
) -> None:
    """`delete web_Bob` neither deletes nor renames bob's file, nor does `delete web_bob` Bob's of an earlier name."""
    manager = SessionManager(store, clock=clock, policy=RetentionPolicy(trash_for=trash_for))
    path = write_session(sessions_dir, "web_bob", OLD)
    with Unchanged(path):
        if in_memory:
            await say(manager, "Bob")
            await manager.delete_session("web_Bob")
        with pytest.raises(SessionNotFoundError):
            await manager.delete_session("web_Bob")
        assert files(sessions_dir) == [LOWER]
    path.unlink()
    with Unchanged(write_bare(sessions_dir, "web_Bob")), pytest.raises(SessionNotFoundError):
        await manager.delete_session("web_bob")


async def test_delete_of_a_session_of_an_earlier_name_deletes_it(manager: SessionManager, sessions_dir: Path) -> None:
    """Spelled as the directory spells it, with the session in it: it counts, and goes."""
    write_bare(sessions_dir, "web_Bob")
    assert (await manager.delete_session("web_Bob")).size
    assert files(sessions_dir) == []


async def test_pin_of_nobody_is_not_found(manager: SessionManager, sessions_dir: Path) -> None:
    """Bob cannot pin bob's session."""
    with Unchanged(write_session(sessions_dir, "web_bob", OLD)), pytest.raises(SessionNotFoundError):
        await manager.set_pinned("web_Bob", True)


@pytest.mark.parametrize(("damaged", "writes"), [(LOWER, "Bob"), (BARE, "bob")])
async def test_damaged_file_is_quarantined_for_its_own_session_only(
    manager: SessionManager, sessions_dir: Path, logs: LogRecorder, damaged: str, writes: str
) -> None:
    """What cannot be read stays when the other one writes, and goes to quarantine when its own does."""
    (sessions_dir / damaged).write_bytes(b"{")
    await say(manager, writes)
    assert in_quarantine(sessions_dir) == []
    assert b"{" in [path.read_bytes() for path in sessions_dir.glob("*.json")]
    logs.expect_error("Session could not be read; begun anew")
    await say(manager, "bob" if writes == "Bob" else "Bob")
    assert len(in_quarantine(sessions_dir)) == 1
    assert len(files(sessions_dir)) == 2


async def test_restore_beside_the_other_session(
    manager: SessionManager, store: FileSessionStore, clock: WallClock
) -> None:
    """What comes back from the trash takes nobody's place, and is refused for no other one's file."""
    path = store.directory.path
    manager = SessionManager(store, clock=clock, policy=RetentionPolicy(trash_for=timedelta(days=7)))
    await say(manager, "bob")
    await say(manager, "Bob")
    for chat_id in ("Bob", "bob"):
        await manager.delete_session(f"web_{chat_id}")
        assert await manager.restore_session(f"web_{chat_id}") == f"web_{chat_id}"
        assert files(path) == sorted([LOWER, OURS])
        assert read_contents(path / file_name(f"web_{chat_id}")) == [f"I am {chat_id}"]


async def test_cleanup_removes_what_has_expired_and_nothing_that_is_spelled_alike(runs: Runs) -> None:
    """Bob's file of an earlier name expires; bob, who is in use, stays, also when it is in memory."""
    place = runs.store.directory.path
    write_session(place, "web_bob", runs.clock.now)
    write_session(place, "web_Carl", OLD)
    write_bare(place, "web_Anna")
    with Unchanged(place / LOWER):
        result = await runs.by(RetentionPolicy()).run()
    assert (result.sessions_deleted, result.mismatched, result.failed) == (2, 0, 0)
    assert files(place) == [LOWER]


# Normal forms -------------------------------------------------------------------------------------------------

COMPOSED, DECOMPOSED = "web_Jos\u00e9", "web_Jose\u0301"


@pytest.mark.parametrize("made", [PoorOs, FaultyOs])
@pytest.mark.parametrize(("session_id", "spelled"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_session_whose_earlier_name_was_normalised_is_found_and_adopted(
    sessions_dir: Path, made: Callable[[], FaultyOs], session_id: str, spelled: str
) -> None:
    """HFS+ and programs that copy change the form of a name, and not the id in the file: the session is still there."""
    sessions_dir.mkdir(parents=True)
    write_bare(sessions_dir, session_id, name=f"{spelled}.json")
    with SessionDirectory.open(sessions_dir, fs=made()) as directory:
        assert list(scanned(directory)) == [session_id]
        directory.own()
        with pytest.raises(SessionNotFoundError):
            directory.find(spelled)
        assert directory.load(session_id, adopt=True).session_id == session_id
        assert files(sessions_dir) == [file_name(session_id)]


async def test_delete_of_a_session_leaves_one_that_differs_in_form_only(
    manager: SessionManager, sessions_dir: Path
) -> None:
    """Two people whose names look the same are two people."""
    with Unchanged(write_bare(sessions_dir, DECOMPOSED)):
        with pytest.raises(SessionNotFoundError):
            await manager.delete_session(COMPOSED)
        await manager.get_or_create_session("web", COMPOSED.removeprefix("web_"))
        await manager.save_all_sessions()
        await manager.delete_session(COMPOSED)


# Names that a file system does not admit ----------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL])
async def test_new_session_whose_bare_name_cannot_be_is_made(
    manager: SessionManager, fs: FaultyOs, sessions_dir: Path, number: int
) -> None:
    """Where a file system does not admit a name of earlier implementations, no file has it."""
    for call in ("open", "stat"):
        fs.fail(call, number, path="web_Bob:.json")
    await say(manager, "Bob:")
    assert files(sessions_dir) == [file_name("web_Bob:")]
    await manager.delete_session("web_Bob:")


def test_is_spelled_of_what_cannot_be_looked_at_is_an_error(directory: SessionDirectory, fs: FaultyOs) -> None:
    """Not to know is not the same as nothing."""
    fs.fail("stat", errno.EIO)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        is_spelled(fs, directory.fd, LOWER)
    assert directory.is_spelled(LOWER)


def test_fold_takes_names_for_one_that_differ_in_case_and_form_only() -> None:
    """As file systems of macOS do."""
    assert fold("web_JOS\u00c9.json") == fold("web_jose\u0301.JSON")
    assert fold(BARE) == fold(LOWER) != fold(OURS)


def test_put_back_of_what_was_not_captured_is_an_error(directory: SessionDirectory) -> None:
    """There is nothing whose name could be told."""
    with pytest.raises(FileNotFoundError):
        put_back(directory, BARE, dir_fd=directory.fd)
