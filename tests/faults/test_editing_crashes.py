"""Messages added and removed, metadata and pins, with a crash before each call that changes the disk.

After the next start the session is as one of the changes has left it: none that was confirmed is lost or undone, and
those after it count only without a gap. Nothing is in quarantine: a crash is no fault of a file.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from miniclaw.errors import SessionNotFoundError
from miniclaw.session.disk.syscalls import Bytes, OsCalls
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.live.store import open_store
from miniclaw.session.runtime import SessionRuntime, open_runtime
from miniclaw.session.types import Message, Session
from tests.fakes.clock import WallClock
from tests.faults.operations import SOAK

ID: Final = "web_1"

State = tuple[tuple[str, ...], bool, tuple[tuple[str, Any], ...]]
"""The texts of a session, its pin and its metadata."""


class Crash(NamedTuple):
    """What a crash leaves: the files by their paths, and the numbers of the first and last state that may be found."""

    files: dict[str, bytes]
    sure: int
    begun: int


class CrashingOs(OsCalls):
    """The real calls; before each one that changes the disk, what a crash would leave is noted."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.crashes: list[Crash] = []
        self.sure = self.begun = 0

    def note(self) -> None:
        """Note the present files, unless they and the states are as before."""
        files = {}
        for path in sorted(self._root.rglob("*")):
            if path.is_file() and path.name != ".lock" and ".state" not in path.parts:
                files[str(path.relative_to(self._root))] = path.read_bytes()
        crash = Crash(files, self.sure, self.begun)
        if not self.crashes or self.crashes[-1] != crash:
            self.crashes.append(crash)

    def pwrite(self, fd: int, data: Bytes, offset: int) -> int:
        self.note()
        view = memoryview(data)
        ends = [n + 1 for n, byte in enumerate(bytes(view)) if byte == ord("\n")]
        for end in (len(view) // 2, *ends[:-1]):  # a crash may tear what is not synced, also between two lines
            super().pwrite(fd, view[:end], offset)
            self.note()
        return super().pwrite(fd, data, offset)

    def sync_data(self, fd: int) -> None:
        self.note()
        super().sync_data(fd)

    def rename(self, source: str, target: str, **fds: Any) -> None:
        self.note()
        super().rename(source, target, **fds)
        self.note()

    def unlink(self, name: str, **fds: Any) -> None:
        self.note()
        super().unlink(name, **fds)


def state_of(session: Session | None) -> State | None:
    """Return what is compared; None: there is no session."""
    if session is None:
        return None
    texts = tuple(message.content for message in session.messages)
    return texts, bool(session.pinned), tuple(session.metadata.items())


class World:
    """A runtime with one session, its states so far, and the changes that a scenario names by a letter."""

    def __init__(self, sessions: SessionRuntime, fs: CrashingOs, clock: WallClock, *, moves: bool) -> None:
        self._sessions = sessions
        self._fs = fs
        self._clock = clock
        self._moves = moves
        self._number = 0
        self.states: list[State | None] = [None]

    async def run(self, scenario: str) -> None:
        """Run changes one after another: each is a state of its own."""
        acts: dict[str, Callable[[], Awaitable[Any]]] = {
            "a": lambda: self._sessions.add_messages(ID, [self._say()]),
            "A": lambda: self._sessions.add_messages(ID, [self._say(), self._say()]),
            "p": lambda: self._sessions.pop_messages(ID, 1),
            "P": lambda: self._sessions.pop_messages(ID, 3),
            "c": lambda: self._sessions.clear(ID),
            "m": lambda: self._sessions.set_metadata(ID, n=self._count()),
            "x": lambda: self._sessions.set_pinned(ID, True),
            "y": lambda: self._sessions.set_pinned(ID, False),
        }
        await self._sessions.get_or_create("web", "1")
        await self._step(None)
        for letter in scenario:
            if self._moves:
                self._clock.move(seconds=1)
            if letter == "d":
                await self._sessions.durable(ID)
            elif letter == "s":
                await self._sessions.manager.saver.save_due(30)
            else:
                await self._step(acts[letter])
                continue
            self._fs.sure = self._fs.begun

    async def _step(self, act: Callable[[], Awaitable[Any]] | None) -> None:
        if act is not None:
            await act()
        session = self._sessions.manager._memory.peek(ID)
        assert session is not None
        self.states.append(state_of(session.session))
        self._fs.begun += 1

    def _count(self) -> int:
        self._number += 1
        return self._number

    def _say(self) -> Message:
        return Message("user", f"text {self._count()}", self._clock.now)


async def crashes_of(scenario: str, path: Path, clock: WallClock, *, moves: bool) -> tuple[list[Crash], World]:
    path.mkdir(0o700)
    fs = CrashingOs(path)
    async with open_runtime(path, clock=clock, cleanup_interval_seconds=None, fs=fs) as sessions:
        world = World(sessions, fs, clock, moves=moves)
        await world.run(scenario)
        fs.note()
    fs.note()
    return fs.crashes, world


async def problem_of(crash: Crash, states: list[State | None], path: Path) -> str:
    """Start on what a crash has left; return what is wrong then, or nothing."""
    for name, data in crash.files.items():
        (path / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    allowed = states[crash.sure : crash.begun + 2]  # the change under way is in memory before it is counted
    with SessionDirectory.open(path) as directory:
        read: State | None = None
        with suppress(SessionNotFoundError):
            read = state_of(directory.load(ID))
    found: State | None = None
    async with open_store(path) as store:
        with suppress(SessionNotFoundError):
            found = state_of(await store.load(ID))
    quarantined = list((path / ".quarantine").glob("*")) if (path / ".quarantine").exists() else []
    if found not in allowed or read != found or quarantined:
        return f"{found}, {read} for a reader, {len(quarantined)} in quarantine; not among {allowed}"
    return ""


def made_up(seed: int) -> str:
    draw = random.Random(seed)  # noqa: S311 - it chooses tests
    return "".join(draw.choices("aAApPcmxyds", k=14)) + "d"


SCENARIOS = (
    "AdpdadsadpsadPd",
    "AdAdAdsAdcAdsd",
    "AdcdaadsAdcadcd",
    "AdppasadpAdsdpd",
    "AdsAdpApApdsad",
    "Admdadmsadpmdad",
    "AdxpdypdxAdpsyd",
)


@pytest.mark.parametrize("moves", [True, False], ids=["time-passes", "time-stands-still"])
@pytest.mark.parametrize("scenario", [*SCENARIOS, *map(made_up, range(2 + 30 * (SOAK > 1)))])
async def test_start_after_a_crash_finds_a_state_and_undoes_none_that_was_confirmed(
    tmp_path: Path, clock: WallClock, scenario: str, moves: bool
) -> None:
    """Whatever was removed and confirmed stays removed, what was added after it has its place, and readers agree."""
    crashes, world = await crashes_of(scenario, tmp_path / "sessions", clock, moves=moves)
    wrong = []
    for number, crash in enumerate(crashes):
        path = tmp_path / "crash"
        path.mkdir(0o700)
        if problem := await problem_of(crash, world.states, path):
            wrong.append(f"crash {number} of {len(crashes)} in {scenario}: {problem}")
        shutil.rmtree(path)
    assert not wrong, "\n".join(wrong[:5])
    assert len(crashes) > 10
