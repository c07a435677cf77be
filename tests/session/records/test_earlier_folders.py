"""`state_dir` and `trash_dir` of earlier versions: accepted with a warning, and no conversation is handed to others."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from miniclaw.errors import TrashEntryNotFoundError
from miniclaw.session.files.subdirectory import EarlierFolders
from miniclaw.session.operations.operations import open_operations
from miniclaw.session.records.state import LANDMARK_NAME, STATE_FILE
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.runtime import open_runtime
from tests.fakes.clock import WallClock
from tests.fakes.folders import state_in, trash_in
from tests.fakes.logs import LogRecorder
from tests.fakes.samples import write_session
from tests.fakes.threads import settle
from tests.faults.migration_work import ENTRIES, lay

POLICY = RetentionPolicy(trash_for=timedelta(days=7))
DEPRECATED = "state_dir and trash_dir of open_runtime are deprecated; both lie in the sessions directory now"
MOVED = "State and trash of an earlier version moved into the sessions directory"
STAYING = "Entries of the trash stay where they are; no history says that they were removed from this directory"
ID = "web_anna"


async def throw_away(sessions: Path, clock: WallClock, *, days: int) -> str:
    """Delete a session that was last used so many days ago, and return its entry's name."""
    write_session(sessions, ID, clock.ago(days=days))
    async with open_operations(sessions, policy=POLICY, clock=clock) as operations:
        (done,) = await operations.delete([ID])
    return f"{done.entry_id}.gz"


@pytest.fixture
async def shared(tmp_path: Path, clock: WallClock) -> Path:
    """Two sessions directories that have their trash in one folder, as an earlier version allowed; each has its state."""
    trash = tmp_path / "trash"
    trash.mkdir()
    for number, days in (("one", 1), ("two", 2)):
        sessions = tmp_path / number
        name = await throw_away(sessions, clock, days=days)
        (sessions / ".trash" / name).rename(trash / f"{number}-{name}")  # apart for the moment: both are of one session
        (sessions / ".trash").rmdir()
        for name in (STATE_FILE, LANDMARK_NAME):  # no earlier version has made those
            (sessions / ".state" / name).unlink()
        (sessions / ".state").rename(tmp_path / f"{number}-state")
    for path in trash.iterdir():
        path.rename(trash / path.name.partition("-")[2])
    return tmp_path


@pytest.mark.parametrize("first", ["one", "two"])
async def test_shared_trash_gives_each_directory_its_own_entries(
    shared: Path, clock: WallClock, logs: LogRecorder, first: str
) -> None:
    """Whoever starts first gets the entries that its history names, and never a conversation of the other."""
    for number in (first, "two" if first == "one" else "one"):
        async with open_runtime(
            shared / number, policy=POLICY, clock=clock, cleanup_interval_seconds=None,
            state_dir=shared / f"{number}-state", trash_dir=shared / "trash",
        ) as runtime:  # fmt: skip
            (entry,) = trash_in(shared / number).entries()
            assert entry.last_accessed == clock.ago(days=1 if number == "one" else 2)
            assert await runtime.manager.restore_session(ID) == ID
            with pytest.raises(TrashEntryNotFoundError):
                await runtime.manager.restore_session(ID)
    assert sorted(os.listdir(shared)) == ["one", "two"]
    assert [event["level"] for event in logs.named(MOVED)] == ["warning"] * 2
    assert [event["trash_entries"] for event in logs.named(MOVED)] == [1, 1]
    assert [event["more"] + len(event["files"]) for event in logs.named(STAYING)] == [1]


async def test_entries_without_evidence_stay_and_are_named(tmp_path: Path, clock: WallClock, logs: LogRecorder) -> None:
    """An entry of which no history tells stays in its folder, whole, and the warning says what can be done."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    lay(workspace)
    for _ in range(2):
        async with open_runtime(
            workspace / "sessions", clock=clock, trash_dir=workspace / "trash", cleanup_interval_seconds=None
        ):
            pass
    assert {name: (workspace / "trash" / name).read_bytes() for name in ENTRIES} == ENTRIES
    assert not (workspace / "sessions" / ".trash").exists()
    event = logs.named(STAYING)[1]
    assert (event["level"], event["files"]) == ("warning", sorted(ENTRIES))
    assert str(workspace / "sessions" / ".trash") in event["what_to_do"]
    assert len(logs.named(DEPRECATED)) == 2
    # And what it says can be done, works.
    (workspace / "sessions" / ".trash").mkdir()
    for name in ENTRIES:
        (workspace / "trash" / name).rename(workspace / "sessions" / ".trash" / name)
    assert len(trash_in(workspace / "sessions").entries()) == len(ENTRIES)


async def test_announced_sessions_are_no_evidence(shared: Path, clock: WallClock, logs: LogRecorder) -> None:
    """Only events that remove sessions say that an entry belongs here."""
    history = shared / "one-state" / "history.jsonl"
    history.write_bytes(history.read_bytes().replace(b'"deleted","by"', b'"announced","by"'))
    async with open_runtime(
        shared / "one", clock=clock, state_dir=shared / "one-state", trash_dir=shared / "trash", cleanup_interval_seconds=None
    ):  # fmt: skip
        assert trash_in(shared / "one").entries() == []
    assert len(logs.one(STAYING)["files"]) == 2


async def test_state_dir_is_moved_in_and_used_no_more(tmp_path: Path, clock: WallClock, logs: LogRecorder) -> None:
    """The state is found in the sessions directory by the first start, which says so, and by the next ones."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    lay(workspace)
    async with open_runtime(
        workspace / "sessions", clock=clock, state_dir=str(workspace / "state"), cleanup_interval_seconds=None
    ):
        pass
    # Another program may be writing the temporary file, for the folder may be shared.
    assert os.listdir(workspace / "state") == ["tmp-0123456789abcdef"]
    assert (logs.one(MOVED)["level"], logs.one(MOVED)["state_files"]) == ("warning", 4)
    assert logs.one(DEPRECATED)["level"] == "warning"
    assert len(state_in(workspace / "sessions").history().read()[0]) == 4


async def test_runtime_without_the_old_arguments_says_nothing_of_them(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A program that names no folder has none made or looked for beside its sessions."""
    async with open_runtime(sessions_dir, clock=clock):
        pass
    assert [*logs.named(DEPRECATED), *logs.named(MOVED)] == []
    assert os.listdir(sessions_dir.parent) == ["sessions"]


async def test_sessions_directory_travels_with_all_that_is_its_own(tmp_path: Path, clock: WallClock) -> None:
    """Moved to another place, a sessions directory has its trash, its history and what it knows of the time."""
    async with open_runtime(tmp_path / "here", policy=POLICY, clock=clock):
        await settle()  # the first run
        clock.move(hours=5)
    entry = await throw_away(tmp_path / "here", clock, days=1)
    (tmp_path / "here").rename(tmp_path / "there")
    async with open_runtime(tmp_path / "there", policy=POLICY, clock=clock, cleanup_interval_seconds=None) as runtime:
        assert [f"{found.id}.gz" for found in trash_in(tmp_path / "there").entries()] == [entry]
        assert await runtime.manager.restore_session(ID) == ID
    assert [event.event for event in state_in(tmp_path / "there").history().read()[0]][-1] == "deleted"
    state = state_in(tmp_path / "there").load()
    assert state is not None
    assert state.last_run is not None
    assert state.last_run.lived == 0
    assert state.timeline.lived == timedelta(hours=5) // timedelta(microseconds=1)


async def test_folders_that_belong_to_one_directory_need_no_evidence(
    tmp_path: Path, clock: WallClock, logs: LogRecorder
) -> None:
    """A workspace has one sessions directory: all of its trash is moved in, with an INFO."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    lay(workspace)
    earlier = EarlierFolders(workspace / "state", workspace / "trash")
    async with open_runtime(workspace / "sessions", clock=clock, earlier=earlier, cleanup_interval_seconds=None):
        assert len(trash_in(workspace / "sessions").entries()) == len(ENTRIES)
    assert logs.one(MOVED)["level"] == "info"
    assert logs.named(DEPRECATED) == []
