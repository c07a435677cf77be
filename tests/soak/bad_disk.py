"""`python -m tests.soak.bad_disk`: a disk that is really full, and one that really hangs, under a gateway with chats.

The workspace lies on an ext4 image. ``full``: another program fills it to the last block and takes every block that
becomes free, then the gateway is killed or the blocks are freed. ``hung``: the image lies on a second one, which is
frozen, so that each sync waits in the kernel; then it is thawed, or the gateway is killed meanwhile.

What was acknowledged has to be there, once, and whole, as in `tests.soak.kill_load`. While the disk hangs all who wait
for a confirmation are told soon that there is none, and once it answers every chat is confirmed again. Needs root and
loop devices, and says so.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import select
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from miniclaw.session.journal.journal import WAIT_SECONDS
from tests.fakes.patience import PATIENCE_SECONDS
from tests.powercut.image import CannotRunError, Image, make_file_system, private_mounts
from tests.soak import driver
from tests.soak.record import Ledger

_CHATS: Final = 6
_ROUNDS_PER_CHAT: Final = 2  # then its session takes too much of the disk
_MEBIBYTE: Final = 1024 * 1024
_TOLD_MS: Final = 1000 * (2 * WAIT_SECONDS + 6)
"""Longest time until one who waits is told: a commit that waits for one that hangs, and a loaded machine."""

_EXPECTED: Final = {
    "full": ("No space left on device",),
    "hung": ("Journal does not answer; messages are not confirmed",),
}


class Disk:
    """An ext4 image on another one, and what can be wrong with it."""

    def __init__(self, directory: Path) -> None:
        lower = directory / "lower.img"
        make_file_system("ext4", lower, size=64 * _MEBIBYTE)
        self._below = Image("ext4", lower, directory / "below")
        self._below.mount()
        upper = self._below.mountpoint / "upper.img"
        make_file_system("ext4", upper, size=24 * _MEBIBYTE)
        self._image = Image("ext4", upper, directory / "disk", direct=True)
        self._image.mount()
        self.path = self._image.mountpoint

    def close(self) -> None:
        self._image.close()
        self._below.close()

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Let no write reach the image for a block."""
        self._below.freeze()
        try:
            yield
        finally:
            self._below.thaw()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no room, not even what becomes free meanwhile, for a block."""
        is_over = threading.Event()
        with (self.path / "ballast").open("wb", buffering=0) as file:
            _fill(file.fileno())
            taking = threading.Thread(target=_keep_full, args=(file.fileno(), is_over))
            taking.start()
            try:
                yield
            finally:
                is_over.set()
                taking.join()
                (self.path / "ballast").unlink()


def _chats(generation: int) -> list[str]:
    return [f"{generation}-{index}" for index in range(_CHATS)]


def _fill(fd: int) -> None:
    for size in (_MEBIBYTE, 4096, 1):
        with suppress(OSError):
            while os.write(fd, b"x" * size):
                pass


def _keep_full(fd: int, is_over: threading.Event) -> None:
    while not is_over.wait(0.02):
        _fill(fd)


class Gateway:
    """A gateway process, and what it records."""

    def __init__(self, home: Path, record: Path, seed: str, first: int, chats: list[str]) -> None:
        self._record = record
        ready, ready_fd = os.pipe()
        self.pid = driver.start(
            {
                "home": str(home), "record_path": str(record), "ready_fd": ready_fd, "interval": 0.5, "seed": seed,
                "chats": chats, "first": first,
            },
            cold=False,
        )  # fmt: skip
        os.close(ready_fd)
        self.is_ready = bool(select.select([ready], [], [], PATIENCE_SECONDS)[0] and os.read(ready, 1))
        os.close(ready)

    def told(self, kind: str, since: int) -> list[list[str]]:
        """Return the words of the lines of a kind that were recorded behind so many bytes."""
        with self._record.open("rb") as file:
            file.seek(since)
            lines = file.read().decode().splitlines()
        return [words[1:] for line in lines if (words := line.split(" "))[0] == kind]

    def until_confirmed(self) -> bool:
        """Return whether every chat is confirmed again in time."""
        since, deadline = self._record.stat().st_size, time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if len({chat for chat, _ in self.told("saved", since)}) == _CHATS:
                return True
            time.sleep(0.1)
        return False

    def kill(self) -> int:
        """Kill it; return when, in ns. A process that waits for the disk ends when the disk answers."""
        killed = time.monotonic_ns()
        os.kill(self.pid, signal.SIGKILL)
        return killed

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class Series:
    """Rounds on one disk."""

    def __init__(self, kind: str, directory: Path, seed: int, hold_seconds: float) -> None:
        self._kind = kind
        self._seed = f"{seed} {kind}"
        self._hold_seconds = hold_seconds
        self._disk = Disk(directory)
        self._bad: Callable[[], object] = self._disk.full if kind == "full" else self._disk.hung
        self._home, self._record = self._disk.path / "home", directory / "record"
        self._record.touch()
        self.ledger = Ledger(self._home, self._record)
        self.confirmed = 0  # while the disk was bad
        self.killed = 0
        self.troubles: list[str] = []

    def close(self) -> None:
        self._disk.close()

    def one(self, number: int) -> None:
        chance = random.Random(f"{self._seed} {number}")  # noqa: S311 - replayable on purpose
        generation = number // _ROUNDS_PER_CHAT
        if number % _ROUNDS_PER_CHAT == 0:
            self.ledger.retire(_chats(generation - 1))
        seed, first = f"{self._seed} {number}", number * 1_000_000 + 1
        gateway = Gateway(self._home, self._record, seed, first, _chats(generation))
        if not gateway.is_ready or not gateway.until_confirmed():
            self.troubles.append(f"round {number}: the chats are not confirmed on a sound disk")
        is_killed_meanwhile, killed = bool(number % 2), 0
        since = self._record.stat().st_size
        with self._bad():  # type: ignore[attr-defined]
            time.sleep(self._hold_seconds * chance.uniform(0.7, 1.3))
            self.confirmed += len(gateway.told("saved", since))
            self._check_told(gateway, since, number)
            if is_killed_meanwhile:
                killed = gateway.kill()
        if is_killed_meanwhile:
            self.killed += 1
        else:
            if not gateway.until_confirmed():
                self.troubles.append(f"round {number}: the disk is sound again, and not all chats are confirmed")
            killed = gateway.kill()
        if (code := gateway.wait()) != -signal.SIGKILL:
            self.troubles.append(f"round {number}: it ended by itself with {code}")
        self.ledger.check(killed, number)

    def _check_told(self, gateway: Gateway, since: int, number: int) -> None:
        refused = gateway.told("refused", since)
        if late := [words for words in refused if int(words[2]) > _TOLD_MS]:
            self.troubles.append(f"round {number}: told after {late[0][2]} ms that it is not confirmed")
        if self._kind == "hung" and len({chat for chat, *_ in refused}) < _CHATS:
            self.troubles.append(f"round {number}: not all chats were told, but {refused}")

    def finish(self) -> list[str]:
        """Return what is wrong."""
        self.ledger.finish()
        totals = self.ledger.totals
        totals.trouble = [each for each in totals.trouble if not any(text in each for text in _EXPECTED[self._kind])]
        return [*self.troubles, *totals.failures]


def run_series(kind: str, rounds: int, seed: int, hold_seconds: float) -> bool:
    """Run the rounds; return whether nothing was wrong."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm"))
        series = Series(kind, Path(directory), seed, hold_seconds)
        stack.callback(series.close)
        for number in range(rounds):
            series.one(number)
        wrong = series.finish()
        totals = series.ledger.totals
    print(
        f"{kind:5} {rounds:>6} {series.killed:>6} {totals.said:>8,} {totals.acknowledged:>12,} {series.confirmed:>9,} "
        f"{len(totals.refused):>7,} {totals.removed:>7,} "
        f"{len(totals.lost):>4} {len(totals.torn):>4} {len(totals.doubled):>7} {len(totals.returned):>8}",
        flush=True,
    )
    for each in wrong[:10]:
        print(f"    {each[:400]}")
    return not wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.bad_disk", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="of each kind")
    parser.add_argument("--kind", action="append", choices=list(_EXPECTED), help="both if not given")
    parser.add_argument("--hold", type=float, default=8, help="seconds for which the disk is bad, about")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    args = parser.parse_args()
    print(f"seed {args.seed}")
    try:
        private_mounts()
        with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
            Disk(Path(directory)).close()
    except (CannotRunError, OSError) as error:
        print(f"skipped: {error}")
        return 0
    print("kind  rounds killed     said acknowledged while bad refused removed lost torn doubled returned", flush=True)
    outcomes = [run_series(kind, args.rounds, args.seed, args.hold) for kind in args.kind or _EXPECTED]
    return int(not all(outcomes))


if __name__ == "__main__":
    sys.exit(main())
