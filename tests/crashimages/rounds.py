"""Rounds: record, choose crashes, examine each; and crash again in the start-up that follows some of them."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from miniclaw.errors import StoreError
from tests.crashimages.crash_image import CrashImage, UnmountableError, build
from tests.crashimages.disk_log import TEARING, Crash, DiskLog, Tearing
from tests.crashimages.recording import make_base, record, record_start_up
from tests.fakes.said import Said
from tests.powercut.image import private_mounts
from tests.powercut.ledger import ABSENT, Findings, Ledger

Ledgers: TypeAlias = tuple[Ledger, Said]

_START_UPS: Final = 6
_START_UP_SHARE: Final = 0.2
"""Of the images of a round."""


@dataclass
class Outcome:
    """What the crashes of a round showed."""

    entries: int = 0
    acknowledgements: int = 0
    prefixes: int = 0
    subsets: int = 0
    in_start_up: int = 0
    findings: Findings = field(default_factory=Findings)
    unmountable: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Add another round's."""
        for name in ("entries", "acknowledgements", "prefixes", "subsets", "in_start_up"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.unmountable += other.unmountable
        for kind, items in vars(other.findings).items():
            getattr(self.findings, kind).extend(items)


def run_round(
    kind: str, number: int, images: int, seed: int, broken: str, directory: Path | None, kept: Path | None
) -> Outcome:
    """Make a recording and examine so many crashes, fewer if the log is too short; in a process of its own.

    Args:
        kind: The file system.
        number: The round.
        images: How many crashes, those in start-ups among them.
        seed: Of the work and of the choice of the crashes.
        broken: What is wrong with the store's system calls; see `KINDS`.
        directory: Where the images lie meanwhile.
        kept: Where those with findings are kept, if anywhere.
    """
    private_mounts()
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        return _Round(kind, f"{kind}-{seed}-{number}", Path(folder), kept).run(images, broken)


class _Round:
    def __init__(self, kind: str, name: str, folder: Path, kept: Path | None) -> None:
        self._kind = kind
        self._name = name
        self._folder = folder
        self._kept = kept
        self._chance = random.Random(name)  # noqa: S311 - replayable on purpose
        self._outcome = Outcome()

    def run(self, images: int, broken: str) -> Outcome:
        chance, outcome = self._chance, self._outcome
        base = self._folder / "base.img"
        make_base(self._kind, base)
        recording = record(self._kind, base, self._folder, chance, broken)
        log, history, said = recording.log, recording.history, recording.said
        outcome.entries, outcome.acknowledgements = recording.end, recording.acknowledgements

        in_start_ups = round(images * _START_UP_SHARE)
        prefixes, subsets = self._choose(log, recording.end, images - in_start_ups)
        outcome.prefixes, outcome.subsets = len(prefixes), len(subsets)

        def ledgers_at(crash: Crash) -> Ledgers:
            return history.at(crash.position, log), said.at(crash.position, log)

        self._examine(log, [*prefixes, *subsets], base, ledgers_at)

        removing = [crash for crash in subsets if _is_removing(history.at(crash.position, log))]
        chosen = chance.sample(removing, min(_START_UPS // 2, len(removing)))
        chosen += chance.sample(subsets, _START_UPS - len(chosen))  # most of them have something in the journal
        for index, crash in enumerate(chosen):
            folder = self._folder / f"again-{index}"
            folder.mkdir()
            build(base, log, crash, folder / "base.img")
            self._crash_again(folder, crash, in_start_ups // len(chosen), ledgers_at(crash))
        return outcome

    def _crash_again(self, folder: Path, first: Crash, images: int, ledgers: Ledgers) -> None:
        """Crash in the start-up that follows a crash. It acknowledges nothing and begins nothing."""
        base = folder / "base.img"
        try:
            log = record_start_up(self._kind, base, folder)
        except (OSError, StoreError):
            return  # `first` has been examined already: it is among the findings
        prefixes, subsets = self._choose(log, len(log.entries), images)
        self._outcome.in_start_up += len(prefixes) + len(subsets)
        self._examine(log, [*prefixes, *subsets], base, lambda _: deepcopy(ledgers), before=f"start-up after {first}: ")

    def _choose(self, log: DiskLog, end: int, images: int) -> tuple[list[Crash], list[Crash]]:
        return choose_crashes(log, end, images, self._chance, TEARING[self._kind])

    def _examine(
        self,
        log: DiskLog,
        crashes: list[Crash],
        base: Path,
        ledgers_at: Callable[[Crash], Ledgers],
        *,
        before: str = "",
    ) -> None:
        with closing(CrashImage(self._kind, base, log, base.parent)) as image:
            for number, crash in enumerate(sorted(crashes, key=lambda crash: crash.position)):
                what = f"{self._name}: {before}{crash}"
                try:
                    found = image.examine(crash, *ledgers_at(crash))
                except UnmountableError as error:
                    self._outcome.unmountable.append(f"{error}: {what}")
                else:
                    for name, items in vars(found).items():
                        getattr(self._outcome.findings, name).extend(f"{item}: {what}" for item in items)
                    if not found:
                        continue
                if self._kept is not None:
                    build(base, log, crash, self._kept / f"{self._name}-{base.parent.name}-{number}.img")


def choose_crashes(
    log: DiskLog, end: int, images: int, chance: random.Random, tearing: Tearing
) -> tuple[list[Crash], list[Crash]]:
    """Choose half of them in the order of the log, at different positions, and half with any of what was pending.

    Where the log has too few positions until `end` for the first half, the second gets the rest.
    """
    positions = range(end + 1)
    chosen = chance.sample(positions, min(images // 2, len(positions)))
    pending = [position for position in positions if log.pending(position)]
    rest = images - len(chosen) if pending else 0
    return (
        [log.prefix(position) for position in chosen],
        [log.subset(chance.choice(pending), chance, tearing) for _ in range(rest)],
    )


def _is_removing(ledger: Ledger) -> bool:
    return any(ABSENT in begun for begun in ledger.begun.values())
