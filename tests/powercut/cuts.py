"""Many power cuts on one image, each followed by a start-up and a full check."""

from __future__ import annotations

import random
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Final

from miniclaw.errors import StoreError
from miniclaw.session.files.directory import SessionDirectory
from tests.powercut.cutting_os import KINDS
from tests.powercut.image import CuttableImage, check_cuts, private_mounts
from tests.powercut.ledger import Findings, Ledger
from tests.powercut.start_up import StartUp
from tests.powercut.writer import SESSION_IDS, make_writers, run_writers

_LONGEST_SECONDS: Final = 0.04
_CALLS: Final = (12, 60, 250)


@dataclass
class Outcome:
    """What a series of cuts showed."""

    kind: str
    flag: int
    cuts: int = 0
    in_recovery: int = 0
    acknowledgements: int = 0
    seconds: float = 0.0
    findings: Findings = field(default_factory=Findings)


class _Series:
    def __init__(self, image: CuttableImage, flag: int, seed: int, broken: str) -> None:
        self.image = image
        self.outcome = Outcome(image.kind, flag)
        self._seed = seed
        self._fs = KINDS[broken](image.commit)
        self._ledger = Ledger(SESSION_IDS)
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
            with SessionDirectory.open(self._path, fs=self._fs) as directory:
                if self._start_up(directory, number):
                    self._write(directory, chance, by_call=by_call)
                else:
                    self.outcome.in_recovery += 1
        except StoreError:
            if not self._is_cut.is_set():
                raise
            self.outcome.in_recovery += 1  # before the directory was even open
        finally:
            self._fs.disarm()
            self.image.unmount()
        self.outcome.cuts += 1

    def finish(self, number: int) -> None:
        """Start up and check after the last cut."""
        self._is_cut.clear()
        self.image.mount()
        with SessionDirectory.open(self._path) as directory:
            self._start_up(directory, number)
        self.image.unmount()

    def _start_up(self, directory: SessionDirectory, number: int) -> bool:
        """Recover and check; return False if the power went meanwhile."""
        try:
            self._start.run(directory)
        except (OSError, StoreError):
            if not self._is_cut.is_set():
                raise
        if self._is_cut.is_set():
            return False
        found = self._start.check(self._path, self._ledger)
        self.image.commit()  # what the check tidied away stays away
        for kind, items in vars(found).items():
            getattr(self.outcome.findings, kind).extend(f"cut {number}: {item}" for item in items)
        return True

    def _write(self, directory: SessionDirectory, chance: random.Random, *, by_call: bool) -> None:
        """Write until the power is cut: by one writer at a certain call, or by several at any moment."""
        writers = make_writers(directory, self._ledger, chance, self._is_cut.is_set)
        if by_call:
            writers = [chance.choice(writers)]
            run_writers(writers, self._is_cut.is_set)
        else:
            timer = threading.Timer(chance.uniform(0, _LONGEST_SECONDS), self._cut)
            run_writers(writers, self._is_cut.is_set, beside=[timer])
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
        series = _Series(image, flag, seed, broken)
        series.begin()
        for number in range(cuts):
            series.one(number)
        series.finish(cuts)
    series.outcome.seconds = perf_counter() - started
    return series.outcome
