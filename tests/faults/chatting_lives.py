"""Lives of a process in which people chat by way of the journal, each on what the last one left.

As a program (``python -m tests.faults.chatting_lives DIRECTORY POINTS``) it kills such a life, and the start that
follows it, at so many system calls, in children that it forks, and prints its findings as one JSON object.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio

from miniclaw.errors import StoreError
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME
from miniclaw.session.journal.records import JOURNAL_NAME
from miniclaw.session.live.store import open_store
from tests.fakes.chatter import CHATTING_IDS, Chatter, small_segments
from tests.fakes.descriptors import descriptors_below
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.point_os import Act, Kill, PointOs
from tests.fakes.said import Said
from tests.fakes.threads import until
from tests.fakes.work_folder import left_in_work
from tests.faults.dying_child import Tell, in_child

WHEN: Final = ("before", "after", "half")
ROUNDS: Final = 4


class Lives:
    """A directory, and what was said in it: each `begin` goes back to a beginning that has something of everything.

    Args:
        root: An empty folder.
        recorder: Of the log.
    """

    def __init__(self, root: Path, recorder: LogRecorder) -> None:
        self.path = root / "sessions"
        self.said = Said(CHATTING_IDS)
        self._recorder = recorder
        self._beginning = root / "beginning"
        trio.run(partial(self._chat, PointOs(), 0, Act()))
        assert not self._wrong
        shutil.copytree(self.path, self._beginning)
        self._said_before = self.said

    def begin(self) -> None:
        """Go back."""
        shutil.rmtree(self.path)
        shutil.copytree(self._beginning, self.path)
        self.said = deepcopy(self._said_before)

    def live(self, act: Act, seed: int, *, from_start: bool = True) -> list[str]:
        """Start, chat and die; return what memory had wrong. With `from_start`, the start may fail as well."""
        self._wrong: list[str] = []
        with suppress(OSError, StoreError):  # it did not start
            trio.run(partial(self._chat, PointOs(act if from_start else None), seed, act))
        return self._wrong

    def start(self, act: Act) -> None:
        """Start, and die."""
        with suppress(OSError, StoreError):
            trio.run(self._start, PointOs(act))

    def judge(self) -> Iterator[str]:
        """Start without a fault, and yield what is wrong."""
        self._recorder.events.clear()
        trio.run(self._start, PointOs())
        yield from (f"the start logged {event}" for event in self._recorder.events if event["level"] == "error")
        with SessionDirectory.open(self.path) as directory:
            for kind, sentences in self.said.check(directory.load).items():
                yield from (f"{kind}: {sentence}" for sentence in sentences)
        yield from (f"left: {each}" for each in left_in_work(self.path))
        for folder in (JOURNAL_NAME, QUARANTINE_NAME):
            yield from (f"left: {each}" for each in self.path.glob(f"{folder}/*"))

    async def _end(self) -> None:
        """Wait for the threads that a dead process would not have."""
        await until(lambda: not descriptors_below(self.path))

    async def _chat(self, fs: PointOs, seed: int, act: Act) -> None:
        chance = random.Random(seed)  # noqa: S311 - replayable on purpose
        with small_segments():
            async with open_store(self.path, fs=fs) as store:
                fs.act = act
                chatter = Chatter(store, self.said, chance, rounds=ROUNDS, pause_seconds=0.004)
                await chatter.run(flush=chance.random() < 0.3)
                self._wrong = chatter.wrong
            await self._end()

    async def _start(self, fs: OsCalls) -> None:
        with small_segments():
            try:
                async with open_store(self.path, fs=fs):
                    pass
            finally:
                with trio.CancelScope(deadline=trio.current_time() + PATIENCE_SECONDS, shield=True):
                    await self._end()


def _is_killed(lives: Lives, act: Act, seed: int, *, chats: bool) -> bool:
    """Live or start in a forked child, and repeat here what it told; return whether it was killed."""

    def do(tell: Tell) -> None:
        lives.said = deepcopy(lives.said)
        lives.said.note = lambda event: tell(json.dumps(event))
        if chats:
            wrong = lives.live(act, seed)
            assert not wrong, wrong
        else:
            lives.start(act)

    killed, told = in_child(do)
    for line in told:
        name, arguments = json.loads(line)
        lives.said.take((name, tuple(arguments)))
    return killed


def main(root: str, points: int) -> None:
    """Kill lives and starts at so many points, and print what was found."""
    recorder = LogRecorder()
    structlog.configure(processors=[recorder], cache_logger_on_first_use=False)
    lives = Lives(Path(root), recorder)
    killed, wrong, acknowledgements = [0, 0], [], 0
    chance = random.Random(root)  # noqa: S311 - any points will do
    for point in range(points):
        lives.begin()
        when = WHEN[point % 3]
        for chats, most in ((True, 700), (False, 150)):
            k = chance.randint(1, most // (6 if when == "half" else 1))
            killed[chats] += _is_killed(lives, Kill(k, when), point, chats=chats)
        acknowledgements = max(acknowledgements, lives.said.acknowledgements)
        wrong += [f"point {point}, killed {when} {k}: {sentence}" for sentence in lives.judge()]
    found = {"lives": killed[True], "starts": killed[False], "acknowledgements": acknowledgements, "wrong": wrong}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
