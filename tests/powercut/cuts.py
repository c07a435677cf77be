"""Many power cuts on one image, each followed by a start-up and a full check."""

from __future__ import annotations

import random
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Final

import trio

from miniclaw.errors import StoreError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.live.store import FileSessionStore
from tests.fakes.chatter import CHATTING_IDS, Chatter, small_segments
from tests.fakes.said import Said
from tests.powercut.cutting_os import KINDS
from tests.powercut.image import CuttableImage, check_cuts, private_mounts
from tests.powercut.ledger import Findings, Ledger
from tests.powercut.start_up import StartUp
from tests.powercut.writer import SESSION_IDS, make_writers, run_writers

_LONGEST_SECONDS: Final = (0.04, 0.2)
_CALLS: Final = (12, 60, 250, 1_000)


@dataclass
class Outcome:
    """What a series of cuts showed; `said`: acknowledgements by way of the journal or a manager."""

    kind: str
    flag: int
    cuts: int = 0
    in_recovery: int = 0
    acknowledgements: int = 0
    said: int = 0
    seconds: float = 0.0
    findings: Findings = field(default_factory=Findings)


class _Series:
    def __init__(self, image: CuttableImage, flag: int, seed: int, broken: str) -> None:
        self.image = image
        self.outcome = Outcome(image.kind, flag)
        self._seed = seed
        self._fs = KINDS[broken](image.commit)
        self._ledger = Ledger(SESSION_IDS)
        self._said = Said(CHATTING_IDS)
        self._path = image.mountpoint / "sessions"
        self._is_cut = threading.Event()
        self._start = StartUp()

    def begin(self) -> None:
        self.image.mount()
        SessionDirectory.open(self._path, create=True).close()
        self.image.unmount()

    def _cut(self) -> None:
        self._is_cut.set()
        self.image.cut(self.outcome.flag)

    def one(self, number: int) -> None:
        """Start up, check, write, cut."""
        chance = random.Random(f"{self._seed} {self.outcome.kind} {self.outcome.flag} {number}")  # noqa: S311
        self._is_cut.clear()
        self.image.mount()
        by_call = chance.random() < 0.5
        before = chance.randint(1, chance.choice(_CALLS)) if by_call else None
        self._fs.arm(self._cut, before=before, chance=chance)
        try:
            trio.run(partial(self._live, number, chance, by_call=by_call))
        except (OSError, StoreError):
            if not self._is_cut.is_set():
                raise
            self.outcome.in_recovery += 1
        finally:
            self._fs.disarm()
            self.image.unmount()
        self.outcome.cuts += 1

    def finish(self, number: int) -> None:
        """Start up and check after the last cut."""
        self._is_cut.clear()
        self.image.mount()
        trio.run(self._start_only, number)
        self.image.unmount()
        self.outcome.said = self._said.acknowledgements

    async def _start_only(self, number: int) -> None:
        async with self._start.opened(self._path):
            self._check(number)

    async def _live(self, number: int, chance: random.Random, *, by_call: bool) -> None:
        async with self._start.opened(self._path, self._fs) as store:
            if self._is_cut.is_set():
                self.outcome.in_recovery += 1
                return
            self._check(number)
            await self._write(store, chance, by_call=by_call)

    def _check(self, number: int) -> None:
        found = self._start.check(self._path, self._ledger, self._said)
        self.image.commit()  # what the check tidied away stays away
        for kind, items in vars(found).items():
            getattr(self.outcome.findings, kind).extend(f"cut {number}: {item}" for item in items)

    async def _write(self, store: FileSessionStore, chance: random.Random, *, by_call: bool) -> None:
        """Write until the power is cut: at a certain call, by one writer or by people, or at any moment, by all."""
        is_cut = self._is_cut.is_set
        writers = make_writers(store.directory, self._ledger, chance, is_cut)
        chatter = Chatter(store, self._said, chance, is_cut)
        beside = []
        is_chatting = True
        if by_call:
            is_chatting = chance.random() < 0.6
            writers = [] if is_chatting else [chance.choice(writers)]
        else:
            beside.append(threading.Timer(chance.uniform(0, chance.choice(_LONGEST_SECONDS)), self._cut))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, partial(run_writers, writers, is_cut, beside=beside))
            if is_chatting:
                nursery.start_soon(chatter.run)
        self.outcome.findings.torn += chatter.wrong
        self.outcome.acknowledgements += sum(writer.acknowledgements for writer in writers)


def try_cuts(kind: str, directory: Path | None) -> None:
    """Try whether cuts can be made here at all.

    Raises:
        CannotRunError: They cannot; the text says why.
    """
    with ExitStack() as stack:
        image = CuttableImage(kind, Path(stack.enter_context(tempfile.TemporaryDirectory(dir=directory))))
        stack.callback(image.close)
        check_cuts(image)


def run_cuts(kind: str, flag: int, cuts: int, seed: int, broken: str, directory: Path | None) -> Outcome:
    """Make so many cuts on a new image; in a process of its own."""
    private_mounts()
    started = perf_counter()
    with ExitStack() as stack:
        image = CuttableImage(kind, Path(stack.enter_context(tempfile.TemporaryDirectory(dir=directory))))
        stack.callback(image.close)
        stack.enter_context(small_segments())
        series = _Series(image, flag, seed, broken)
        series.begin()
        for number in range(cuts):
            series.one(number)
        series.finish(cuts)
    series.outcome.seconds = perf_counter() - started
    return series.outcome
