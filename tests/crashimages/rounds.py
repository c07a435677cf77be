"""Rounds: record, choose crashes, examine each."""

from __future__ import annotations

import random
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.crashimages.crash_image import CrashImage, UnmountableError
from tests.crashimages.disk_log import EXT4_SUPERBLOCK, Crash
from tests.crashimages.recording import Recording, make_base, record
from tests.powercut.image import private_mounts
from tests.powercut.ledger import Findings


@dataclass
class Outcome:
    """What the crashes of a round showed."""

    entries: int = 0
    acknowledgements: int = 0
    prefixes: int = 0
    subsets: int = 0
    findings: Findings = field(default_factory=Findings)
    unmountable: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Add another round's."""
        self.entries += other.entries
        self.acknowledgements += other.acknowledgements
        self.prefixes += other.prefixes
        self.subsets += other.subsets
        self.unmountable += other.unmountable
        for kind, items in vars(other.findings).items():
            getattr(self.findings, kind).extend(items)


def run_round(
    kind: str, number: int, images: int, seed: int, broken: str, directory: Path | None, kept: Path | None
) -> Outcome:
    """Make a recording and examine so many crashes, fewer if the log is too short; in a process of its own."""
    private_mounts()
    chance = random.Random(f"{seed} {kind} {number}")  # noqa: S311 - replayable on purpose
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=directory)))
        base = folder / "base.img"
        make_base(kind, base)
        recording = record(kind, base, folder, chance, broken)
        prefixes, subsets = choose_crashes(
            recording, images, chance, whole=EXT4_SUPERBLOCK if kind == "ext4" else range(0)
        )
        outcome = Outcome(recording.end, recording.acknowledgements, len(prefixes), len(subsets))
        image = CrashImage(kind, base, recording.log, folder)
        stack.callback(image.close)
        for crash in sorted([*prefixes, *subsets], key=lambda crash: crash.position):
            ledger = recording.history.at(crash.position, recording.log)
            what = f"{kind}, seed {seed}, round {number}, {crash}"
            try:
                found = image.examine(crash, ledger)
            except UnmountableError as error:
                outcome.unmountable.append(f"{error}: {what}")
            else:
                for name, items in vars(found).items():
                    getattr(outcome.findings, name).extend(f"{item}: {what}" for item in items)
                if not found:
                    continue
            if kept is not None:
                image.keep(crash, kept / f"{kind}-{seed}-{number}-{crash.position}.img")
    return outcome


def choose_crashes(
    recording: Recording, images: int, chance: random.Random, *, whole: range
) -> tuple[list[Crash], list[Crash]]:
    """Choose half of them in the order of the log, at different positions, and half with any of what was pending.

    Where the log has too few positions for the first half, the second gets the rest. `whole` is never torn.
    """
    log = recording.log
    positions = range(recording.end + 1)
    chosen = chance.sample(positions, min(images // 2, len(positions)))
    pending = [position for position in positions if log.pending(position)]
    rest = images - len(chosen) if pending else 0
    return (
        [log.prefix(position) for position in chosen],
        [log.subset(chance.choice(pending), chance, whole=whole) for _ in range(rest)],
    )
