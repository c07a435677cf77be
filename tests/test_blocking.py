"""The runtime for programs that are not trio, end to end over real files."""

from __future__ import annotations

import errno
import itertools
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from miniclaw import blocking
from miniclaw.errors import (
    InvalidSessionIdError,
    RuntimeClosedError,
    SessionNotFoundError,
    SessionsDirectoryError,
    UnsavedSessionsError,
    WorkspaceHeldError,
)
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import write_session


def _message(text: str) -> Message:
    return Message("user", text, datetime.now(UTC))


def _contents(path: Path) -> list[str]:
    return [message["content"] for message in json.loads(path.read_bytes())["messages"]]


def test_blocking_a_conversation_is_on_disk_after_the_block(sessions_dir: Path) -> None:
    """What was said is saved when the block is left, without anybody asking for it."""
    with blocking.open_runtime(sessions_dir) as runtime:
        session = runtime.get_or_create_session("telegram", "123456789")
        assert session.session_id == "telegram_123456789"
        assert runtime.add_message(session.session_id, _message("hello")) is session
        assert runtime.get_session("telegram_123456789") is session
    assert _contents(sessions_dir / "telegram_123456789.json") == ["hello"]


def test_blocking_a_conversation_goes_on_in_the_next_block(sessions_dir: Path) -> None:
    """A session lives longer than the runtime that began it."""
    for text in ("one", "two"):
        with blocking.open_runtime(sessions_dir) as runtime:
            runtime.add_message(runtime.get_or_create_session("web", "a").session_id, _message(text))
    assert _contents(sessions_dir / "web_a.json") == ["one", "two"]


def test_blocking_save_all_sessions_saves_now(sessions_dir: Path) -> None:
    """A save that is asked for is done when it returns."""
    with blocking.open_runtime(sessions_dir) as runtime:
        runtime.add_message(runtime.get_or_create_session("web", "a").session_id, _message("one"))
        report = runtime.save_all_sessions()
        assert (report.saved, report.failed) == (1, ())
        assert _contents(sessions_dir / "web_a.json") == ["one"]
        assert runtime.save_all_sessions().saved == 0


def test_blocking_run_cleanup_removes_the_expired_ones_only(sessions_dir: Path, clock: WallClock) -> None:
    """The sweep that is asked for removes at once what is older than the TTL, and nothing else."""
    write_session(sessions_dir, "telegram_old", clock.ago(days=31))
    write_session(sessions_dir, "telegram_new", clock.ago(days=29))
    with blocking.open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None) as runtime:
        assert runtime.run_cleanup().sessions_deleted == 1
        assert runtime.get_session("telegram_old") is None
        assert runtime.get_session("telegram_new") is not None
    assert [path.name for path in sessions_dir.glob("*.json")] == ["telegram_new.json"]


def test_blocking_is_session_expired_follows_the_policy_that_was_given(sessions_dir: Path, clock: WallClock) -> None:
    """The options are those of the runtime."""
    write_session(sessions_dir, "web_a", clock.ago(hours=2))
    policy = RetentionPolicy(ttl=timedelta(hours=1))
    with blocking.open_runtime(sessions_dir, clock=clock, policy=policy, cleanup=None) as runtime:
        assert runtime.is_session_expired("web_a")
        runtime.get_or_create_session("web", "a")
        assert not runtime.is_session_expired("web_a")


def test_blocking_delete_session_frees_its_bytes(sessions_dir: Path, clock: WallClock) -> None:
    """A session that is deleted is gone from disk and memory."""
    path = write_session(sessions_dir, "web_a", clock.now)
    size = path.stat().st_size
    with blocking.open_runtime(sessions_dir, clock=clock) as runtime:
        assert runtime.delete_session("web_a") == size
        assert not path.exists()
        assert runtime.get_session("web_a") is None


def test_blocking_pin_and_restore_do_what_the_manager_does(sessions_dir: Path, clock: WallClock) -> None:
    """A pinned session outlives its TTL; a deleted one comes back from the trash that the policy keeps."""
    write_session(sessions_dir, "web_pinned", clock.ago(days=90))
    write_session(sessions_dir, "web_a", clock.now)
    policy = RetentionPolicy(trash_for=timedelta(days=7))
    with blocking.open_runtime(sessions_dir, clock=clock, policy=policy, cleanup_interval_seconds=None) as runtime:
        assert runtime.set_pinned("web_pinned", True)
        assert not runtime.set_pinned("web_pinned", True)
        runtime.save_all_sessions()
        assert runtime.run_cleanup().pinned == 1
        runtime.delete_session("web_a")
        assert runtime.restore_session("web_a") == "web_a"
    assert {path.name for path in sessions_dir.glob("*.json")} == {"web_a.json", "web_pinned.json"}


def test_blocking_move_does_what_the_manager_does(sessions_dir: Path, clock: WallClock) -> None:
    """Another chat goes on with the conversation, and the old one has none any more."""
    write_session(sessions_dir, "web_a", clock.now)
    with blocking.open_runtime(sessions_dir, clock=clock) as runtime:
        held = runtime.get_session("web_a")
        runtime.move_session("web_a", "telegram_1")
        assert runtime.get_session("web_a") is None
        moved = runtime.get_session("telegram_1")
        assert held is not None
        assert moved is not None
        assert moved.messages == held.messages
    assert [path.name for path in sessions_dir.glob("*.json")] == ["telegram_1.json"]


def test_blocking_errors_of_the_runtime_reach_the_caller_as_they_are(sessions_dir: Path) -> None:
    """The caller catches miniclaw's errors, not groups and not the portal's, and can go on."""
    with blocking.open_runtime(sessions_dir) as runtime:
        with pytest.raises(SessionNotFoundError):
            runtime.add_message("web_nobody", _message("hello"))
        with pytest.raises(InvalidSessionIdError):
            runtime.get_or_create_session("Web", "a")
        with pytest.raises(SessionNotFoundError):
            runtime.delete_session("web_nobody")
        assert runtime.get_session("web_nobody") is None


def test_blocking_messages_from_many_threads_are_all_kept(sessions_dir: Path) -> None:
    """Any thread may call; nothing that was said gets lost."""
    texts = [str(number) for number in range(60)]
    with blocking.open_runtime(sessions_dir) as runtime:
        runtime.get_or_create_session("web", "a")
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda text: runtime.add_message("web_a", _message(text)), texts))
    assert sorted(_contents(sessions_dir / "web_a.json")) == sorted(texts)


def test_blocking_a_directory_that_is_held_is_refused(sessions_dir: Path) -> None:
    """Two runtimes never write to one directory; the first goes on."""
    with blocking.open_runtime(sessions_dir) as runtime:
        with pytest.raises(WorkspaceHeldError), blocking.open_runtime(sessions_dir):
            pytest.fail("opened twice")
        runtime.get_or_create_session("web", "a")
    with blocking.open_runtime(sessions_dir) as runtime:
        assert runtime.get_session("web_a") is not None


def test_blocking_a_file_in_the_directorys_place_is_refused(tmp_path: Path) -> None:
    """What goes wrong at the opening is told as by the runtime itself."""
    (tmp_path / "sessions").write_text("")
    with pytest.raises(SessionsDirectoryError, match="not a directory"), blocking.open_runtime(tmp_path / "sessions"):
        pytest.fail("opened")


def test_blocking_a_call_after_the_block_is_refused(sessions_dir: Path) -> None:
    """A call that nobody would answer does not hang, and its error is miniclaw's own."""
    with blocking.open_runtime(sessions_dir) as runtime:
        pass
    with pytest.raises(RuntimeClosedError):
        runtime.get_session("web_a")


def test_blocking_an_exception_in_the_block_still_saves(sessions_dir: Path) -> None:
    """A program that fails does not lose what was said to it."""

    def talk_and_fail() -> None:
        with blocking.open_runtime(sessions_dir) as runtime:
            runtime.add_message(runtime.get_or_create_session("web", "a").session_id, _message("kept"))
            raise LookupError("the caller's own")

    with pytest.raises((LookupError, ExceptionGroup)):
        talk_and_fail()
    assert _contents(sessions_dir / "web_a.json") == ["kept"]


def test_blocking_threads_that_go_on_writing_lose_nothing_that_was_accepted(sessions_dir: Path) -> None:
    """Threads that outlive the block are refused from its end on, and what was accepted before is on the disk."""
    accepted: list[str] = []
    refused: list[type[BaseException]] = []

    def write(runtime: blocking.BlockingSessionRuntime, name: str) -> None:
        for number in itertools.count():
            try:
                runtime.add_message("web_a", _message(f"{name}{number}"))
            except RuntimeClosedError as error:
                refused.append(type(error))
                return
            accepted.append(f"{name}{number}")

    with ThreadPoolExecutor(4) as pool:
        with blocking.open_runtime(sessions_dir) as runtime:
            runtime.get_or_create_session("web", "a")
            written = [pool.submit(write, runtime, name) for name in "abcd"]
            while len(accepted) < 50:
                runtime.get_session("web_a")
        for future in written:
            future.result(30)
    assert refused == [RuntimeClosedError] * 4
    assert sorted(_contents(sessions_dir / "web_a.json")) == sorted(accepted)


def test_blocking_unsaved_sessions_leave_the_block_as_an_error(sessions_dir: Path, logs: LogRecorder) -> None:
    """What could not be saved is named to a program that is not trio, too."""
    logs.expect_error("Session could not be saved; it stays in memory for the next try")
    logs.expect_error("Journal could not be written; sessions are saved as a whole")
    logs.expect_error("Sessions could not be saved before the end")
    logs.expect_error("Journal could not be written; sessions are saved as a whole")
    fs = FaultyOs()

    def run() -> None:
        with blocking.open_runtime(sessions_dir, fs=fs) as runtime:
            runtime.get_or_create_session("web", "a")
            fs.fail("rename", errno.ENOSPC, path="web_a.json")
            fs.fail("pwrite", errno.ENOSPC)

    with pytest.raises(UnsavedSessionsError, match="web_a"):
        run()


FORKING = """
import multiprocessing, os, sys
from miniclaw import blocking
from miniclaw.errors import ForkedRuntimeError

def call(runtime):
    for work in (
        lambda: runtime.get_session("web_1"), runtime.save_all_sessions, runtime.run_cleanup,
        lambda: runtime.add_message("web_1", None), lambda: runtime.delete_session("web_1"),
    ):
        try:
            work()
        except ForkedRuntimeError:
            continue
        os._exit(1)

def main(how):
    with blocking.open_runtime(sys.argv[1]) as runtime:
        runtime.get_or_create_session("web", "1")
        if how == "multiprocessing":
            child = multiprocessing.get_context("fork").Process(target=call, args=(runtime,))
            child.start()
            child.join()
            code = child.exitcode
        elif pid := os.fork():
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        elif how == "leaves":
            call(runtime)
            return
        else:
            call(runtime)
            os._exit(0)
        assert code == 0, code
        runtime.save_all_sessions()
    print("done")

try:
    main(sys.argv[2])
except ForkedRuntimeError:  # the child that leaves the block
    sys.exit(0)
"""


@pytest.mark.parametrize("how", ["fork", "leaves", "multiprocessing"])
def test_blocking_runtime_in_a_forked_child_is_refused_instead_of_hanging(sessions_dir: Path, how: str) -> None:
    """A child has not the thread that answers: its calls, and leaving the block, raise; the parent notices nothing."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING, str(sessions_dir), how],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done
    assert (sessions_dir / "web_1.json").exists()


def test_blocking_runtime_that_cannot_start_leaves_no_thread(
    sessions_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What keeps trio from starting is raised, and the thread is gone."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("anyio.run", refuse)
    with pytest.raises(OSError, match="Too many open files"), blocking.open_runtime(sessions_dir):
        pytest.fail("it started")
    assert "miniclaw.blocking" not in {thread.name for thread in threading.enumerate()}


def test_blocking_has_the_calls_of_the_runtime(sessions_dir: Path) -> None:
    """Lists, blocks and changes work from any thread, and after the end each raises the same error."""
    policy = RetentionPolicy(trash_for=timedelta(days=7))
    with blocking.open_runtime(sessions_dir, policy=policy, cleanup=None) as sessions:
        for number in range(3):
            sessions.get_or_create("web", str(number))
        sessions.add_messages("web_1", [_message("a"), _message("b")], durable=True)
        assert [message.content for message in sessions.pop_messages("web_1", 1)] == ["b"]
        assert sessions.set_metadata("web_1", session_id="its own", title="x").metadata["session_id"] == "its own"
        assert sessions.set_pinned("web_2", True)
        sessions.durable("web_1")
        copy = sessions.read("web_1")
        assert copy is not None
        assert copy.messages == sessions.get_or_create("web", "1").messages
        with sessions.using("web_9", create=True) as session:
            assert session.session_id == "web_9"
        with ThreadPoolExecutor(4) as pool:
            lists = list(pool.map(lambda _: sorted(entry.session_id for entry in sessions.list()), range(8)))
        assert lists == [["web_0", "web_1", "web_2", "web_9"]] * 8
        assert [entry.session_id for entry in sessions.list(pinned=True)] == ["web_2"]
        assert sessions.clear("web_1") == 1
        deleted = sessions.delete("web_1")
        assert [entry.entry_id for entry in sessions.trash()] == [deleted.entry_id]
        assert sessions.restore("web_1") == "web_1"
        assert [event.event for event in sessions.history()] == ["restored", "deleted"]
        assert sessions.plan().sessions_scanned > 0
        assert sessions.clean_up().sessions_deleted == 0
        items = sessions.list()
        next(items)
    for call in (lambda: next(items), sessions.list, sessions.now, lambda: sessions.using("web_1").__enter__()):
        with pytest.raises(RuntimeClosedError):
            call()
