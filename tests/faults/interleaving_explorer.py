"""Runs the actors of a `World` in every order, each time over a workspace laid anew."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from miniclaw.session.cleanup import Cleanup
from miniclaw.session.live.store import open_store
from miniclaw.session.manager import SessionManager
from miniclaw.session.retention.policy import RetentionPolicy
from tests.fakes.clock import WallClock
from tests.fakes.samples import write_session
from tests.faults.interleaving import SOAK, Level, Outcome, PausingOs, Schedule, Stage, explore, run_tasks, run_trio
from tests.faults.interleaving_world import ID, World

Prepare = Callable[[World], Awaitable[None]]
Check = Callable[[World, dict[str, Outcome]], Awaitable[None]]
Actors = Callable[[World], Mapping[str, Callable[[Stage], Awaitable[object]]]]


class Explorer:
    """Runs scenarios."""

    def __init__(self, sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self._path = sessions_dir
        self._clock = clock
        self._monkeypatch = monkeypatch

    def run(
        self,
        name: str,
        prepare: Prepare | None,
        check: Check,
        *,
        preemptions: int | None = None,
        level: Level = "shared",
        policy: RetentionPolicy | None = None,
    ) -> int:
        """Run all orders of the actors in `name`, which are methods of `World`; return how many there were."""

        def run(schedule: Schedule) -> None:
            async def main() -> None:
                fs = PausingOs(level)
                shutil.rmtree(self._path, ignore_errors=True)
                write_session(self._path, ID, self._clock.ago(days=40))
                async with open_store(self._path, fs=fs) as store:
                    fs.shared_fd = store.directory.fd
                    manager = SessionManager(store, clock=self._clock, policy=policy)
                    cleanup = partial(Cleanup, self._path, policy=policy, clock=self._clock, manager=manager)
                    world = World(manager, store, cleanup, self._clock)
                    if prepare is not None:
                        await prepare(world)
                    actors = {actor: getattr(world, actor.rstrip("2")) for actor in name.split(" x ")}
                    await check(world, await run_tasks(schedule, fs, actors))

            run_trio(main, self._monkeypatch)

        count = explore(run, preemptions=preemptions)
        bounded = "" if preemptions is None else f", at most {preemptions} preemptions"
        print(
            f"{count} interleavings of {name} over {getattr(prepare, '__name__', 'the disk')}, {level} stops{bounded}"
        )
        return count


LEVELS = pytest.mark.parametrize(
    ("level", "preemptions"), [("shared", 2 if SOAK == 1 else None), ("named", SOAK), ("all", 1 + (SOAK - 1) // 4)]
)
FEW_LEVELS = pytest.mark.parametrize(("level", "preemptions"), [("shared", 1 + SOAK), ("named", SOAK)])
PREPARED = pytest.mark.parametrize("prepare", [None, World.be_idle, World.be_unsaved])
