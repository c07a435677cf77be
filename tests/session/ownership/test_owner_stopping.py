"""A process that wants to own the sessions waits for an owner that is stopping, and for no other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from miniclaw.errors import WorkspaceHeldError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.live import store as store_module
from miniclaw.session.live.store import open_store
from miniclaw.session.operations.operations import open_operations
from miniclaw.session.ownership import patience
from miniclaw.session.ownership.holder import Holder
from miniclaw.session.ownership.patience import STOPPING_SECONDS
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.runtime import open_runtime
from tests.fakes.clock import WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.os_calls import FaultyOs
from tests.fakes.threads import until

WAITING = "Waiting for process 4711, which is stopping"


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once: the tests wait for what happens, not for seconds."""
    monkeypatch.setattr(patience, "RETRY_SECONDS", 0)


@pytest.fixture
def owner(sessions_dir: Path) -> Iterator[SessionDirectory]:
    """Another owner, which calls itself process 4711."""
    with SessionDirectory.open(sessions_dir, create=True) as directory:
        directory.own()
        yield directory


def stop(owner: SessionDirectory) -> None:
    """Have it say that it is stopping, under its own name."""
    owner.say_stopping()
    path = owner.path / ".lock"
    path.write_text(path.read_text().replace(f'"pid":{_pid(owner)}', '"pid":4711'))


def _pid(owner: SessionDirectory) -> int:
    holder = owner.holder()
    assert holder is not None
    assert holder.pid is not None
    return holder.pid


def opened(what: str, sessions_dir: Path) -> Callable[[], object]:
    """Return what opens the directory to own it, by each of the ways there are."""
    return {
        "store": lambda: open_store(sessions_dir),
        "runtime": lambda: open_runtime(sessions_dir, cleanup_interval_seconds=None),
        "command": lambda: open_operations(sessions_dir, policy=RetentionPolicy()),
    }[what]


@pytest.mark.parametrize("what", ["store", "runtime", "command"])
async def test_open_waits_for_an_owner_that_is_stopping(
    owner: SessionDirectory, logs: LogRecorder, nursery: trio.Nursery, what: str
) -> None:
    """Whoever wants to own the directory says once that it waits, and owns it as soon as it is free."""
    stop(owner)
    is_open = trio.Event()

    async def second() -> None:
        async with opened(what, owner.path)():  # type: ignore[attr-defined]
            is_open.set()

    nursery.start_soon(second)
    await until(lambda: bool(logs.named(WAITING)))
    assert not is_open.is_set()
    owner.close()
    await is_open.wait()
    assert logs.one(WAITING)["seconds"] == STOPPING_SECONDS == 25


@pytest.mark.parametrize("what", ["store", "runtime", "command"])
async def test_open_waits_for_a_command(
    sessions_dir: Path, logs: LogRecorder, nursery: trio.Nursery, what: str
) -> None:
    """A command that owns the directory ends in a moment: everybody waits for it, another command as well."""
    SessionDirectory.open(sessions_dir, create=True).close()
    is_open = trio.Event()

    async def second() -> None:
        async with opened(what, sessions_dir)():  # type: ignore[attr-defined]
            is_open.set()

    async with open_operations(sessions_dir, policy=RetentionPolicy()):
        nursery.start_soon(second)
        await until(lambda: any(event["event"].startswith("Waiting for process") for event in logs.events))
        assert not is_open.is_set()
    await is_open.wait()


async def test_open_does_not_wait_for_an_owner_that_stays(owner: SessionDirectory, logs: LogRecorder) -> None:
    """An owner that has said nothing is named at once."""
    with pytest.raises(WorkspaceHeldError, match=f"process {_pid(owner)}; stop it first"):
        async with open_store(owner.path):
            pytest.fail("two owners")
    assert logs.events == []


async def test_open_gives_up_when_the_owner_does_not_end(
    owner: SessionDirectory, logs: LogRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner that hangs while it is stopping is not waited for without end: the error says who it is."""
    monkeypatch.setattr(patience, "STOPPING_SECONDS", 0)
    stop(owner)
    with pytest.raises(WorkspaceHeldError, match="held by process 4711; it is stopping; try again"):
        async with open_store(owner.path):
            pytest.fail("two owners")


async def test_open_gives_up_at_once_when_another_owner_comes(
    owner: SessionDirectory, logs: LogRecorder, nursery: trio.Nursery
) -> None:
    """Where a third process is quicker, that one is named, and not waited for."""
    stop(owner)
    errors: list[WorkspaceHeldError] = []
    ended = trio.Event()

    async def second() -> None:
        try:
            async with open_store(owner.path):
                pytest.fail("two owners")
        except WorkspaceHeldError as error:
            errors.append(error)
        ended.set()

    nursery.start_soon(second)
    await until(lambda: bool(logs.named(WAITING)))
    (owner.path / ".lock").write_text('{"pid":4712}')
    await ended.wait()
    assert (errors[0].holder, errors[0].stopping) == ("process 4712", False)


async def test_open_that_is_cancelled_while_it_waits_owns_nothing(
    owner: SessionDirectory, logs: LogRecorder, nursery: trio.Nursery
) -> None:
    """Waiting holds up nothing and can be cancelled; the directory is free for others afterwards."""
    stop(owner)
    scope, ended = trio.CancelScope(), trio.Event()

    async def second() -> None:
        with scope:
            async with open_store(owner.path):
                pytest.fail("two owners")
        ended.set()

    nursery.start_soon(second)
    await until(lambda: bool(logs.named(WAITING)))
    scope.cancel()
    await ended.wait()
    owner.close()
    async with open_store(owner.path):
        pass


async def test_runtime_that_ends_says_that_it_is_stopping_before_it_flushes(
    sessions_dir: Path, clock: WallClock, logs: LogRecorder, fs: FaultyOs
) -> None:
    """A second start that comes while the last sessions are saved waits for that, however the block was left."""
    stopping: list[bool] = []

    def look(called: str, args: tuple[object, ...]) -> None:
        if called == "rename" and "web_1.json" in args:
            with SessionDirectory.open(sessions_dir) as reader:
                holder = reader.holder()
            stopping.append(holder is not None and holder.stopping)

    fs.on(look)
    for cancelled in (False, True):
        with trio.CancelScope() as scope:
            async with open_runtime(sessions_dir, clock=clock, fs=fs, cleanup_interval_seconds=None) as runtime:
                await runtime.manager.get_or_create_session("web", "1")
                if cancelled:
                    scope.cancel()
        with SessionDirectory.open(sessions_dir) as reader:
            assert reader.holder() is None
    assert stopping == [True, True]


async def test_say_stopping_on_a_hung_disk_is_given_up(
    sessions_dir: Path, clock: WallClock, fs: FaultyOs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that hangs does not hold up the end: what cannot be written is not."""
    monkeypatch.setattr(store_module, "SAYING_SECONDS", 0)
    async with open_runtime(sessions_dir, clock=clock, fs=fs, cleanup_interval_seconds=None) as runtime:
        gate = fs.block("pwrite")
        await runtime.say_stopping()
        gate.opened.set()


def test_holder_is_never_unknown_while_its_text_replaces_a_longer_one(sessions_dir: Path) -> None:
    """The end of the earlier text, which is cut off a moment later, does not hide who the owner is."""
    with SessionDirectory.open(sessions_dir, create=True) as earlier:
        earlier.own(briefly=True)
    fs = FaultyOs()
    seen: list[Holder | None] = []

    def look(called: str, _args: tuple[object, ...]) -> None:
        if called == "ftruncate":
            with SessionDirectory.open(sessions_dir) as reader:
                seen.append(reader.holder())

    fs.on(look)
    with SessionDirectory.open(sessions_dir, fs=fs) as owner:
        owner.own()
    assert [(holder and holder.pid, holder and holder.stopping) for holder in seen] == [(os.getpid(), False)]
