"""Session files for the benchmark, made from a seed, in our own format by the project's own names and codec.

The same seed makes the same files; only their times move along with the clock, because `find` knows no other clock than
the system's. They are written without the store, whose fsync for each one would take most of the time, and a few
conversations serve them all, under a header of each one's own: a hundred thousand are made in seconds.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final

import msgspec
from msgspec import Struct

from benchmarks import texts
from miniclaw.session import names
from miniclaw.session.format import codec
from miniclaw.session.types import Session

FRESH: Final = (timedelta(hours=1), timedelta(days=28))
"""How long ago the sessions were used: nothing is expired by a TTL of 30 days, which is what nearly every day finds."""

EXPIRED: Final = (timedelta(days=32), timedelta(days=60))
"""How long ago, where all are expired; `find -mtime +30` means 31 whole days or more."""

_SPREAD: Final = 0.2  # sizes are even around the mean, by this part of it to either side
_CONVERSATION_BYTES: Final = 16_000_000  # all of a corpus's different conversations together, about
_MOST_CONVERSATIONS: Final = 64
_SETTLE_SECONDS: Final = 2.5  # a file that is younger is not entered into the ledger


class Corpus(Struct, frozen=True):
    """A folder of session files.

    Attributes:
        directory: Where; it holds nothing else.
        count: How many.
        mean_bytes: How large they were to be on average.
        total_bytes: Their sizes, added up.
    """

    directory: Path
    count: int
    mean_bytes: int
    total_bytes: int

    def settle(self) -> None:
        """Wait until the files are old enough for the ledger, and on the disk, so that nothing is written meanwhile."""
        os.sync()
        newest = self.directory.stat().st_mtime  # of the last file's name
        time.sleep(max(0.0, newest + _SETTLE_SECONDS - time.time()))


class Corpora:
    """The corpora that are only read, each made when it is first asked for.

    Args:
        folder: Where they lie.
        seed: What all follow from.
    """

    def __init__(self, folder: Path, *, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._made: dict[tuple[int, int], Corpus] = {}

    def get(self, count: int, mean_bytes: int) -> Corpus:
        """Return so many fresh sessions of about this size, settled."""
        corpus = self._made.get((count, mean_bytes))
        if corpus is None:
            corpus = generate(self._folder / f"{count}-of-{mean_bytes}", count, mean_bytes, seed=self._seed)
            corpus.settle()
            self._made[count, mean_bytes] = corpus
        return corpus


def generate(
    directory: Path,
    count: int,
    mean_bytes: int,
    *,
    seed: int,
    ages: tuple[timedelta, timedelta] = FRESH,
    first: int = 0,
) -> Corpus:
    """Make the folder, where it is missing, and put files into it.

    Args:
        directory: Where.
        count: How many.
        mean_bytes: How large on average; a header takes about 200.
        seed: What all texts, ids and sizes follow from.
        ages: How long ago they were used, at least and at most; the files' mtime is the same.
        first: The number of the first one: what was made before has the numbers below it.
    """
    rng = Random(f"{seed} {count} {mean_bytes} {first}")
    conversations = _conversations(rng, count, mean_bytes)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = datetime.now(UTC)
    total = 0
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for index in range(first, first + count):
            last_accessed = now - ages[0] - (ages[1] - ages[0]) * rng.random()
            channel, chat_id = _chat(rng, index)
            session_id = names.make_session_id(channel, chat_id)
            session = Session(session_id, channel, chat_id, last_accessed - timedelta(days=9), last_accessed)
            data = codec.encode_session(session)
            data[-2:-2] = rng.choice(conversations)  # before the end of the empty list of messages
            total += len(data)
            _write(names.file_name(session_id), data, last_accessed.timestamp(), folder)
    finally:
        os.close(folder)
    return Corpus(directory, count, mean_bytes, total)


def _write(name: str, data: bytearray, used: float, folder: int) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        with memoryview(data) as view:
            rest = view
            while rest:
                rest = rest[os.write(fd, rest) :]
        os.utime(fd, (used, used))
    finally:
        os.close(fd)


def _conversations(rng: Random, count: int, mean_bytes: int) -> list[bytes]:
    number = max(2, min(_MOST_CONVERSATIONS, count, _CONVERSATION_BYTES // mean_bytes))
    pool = texts.sentences(rng)
    # Evenly over the sizes, so that few have the wanted mean as well as many.
    parts = [(2 * index + 1) / number - 1 for index in range(number)]
    return [conversation(rng, pool, round((mean_bytes - 200) * (1 + _SPREAD * part))) for part in parts]


def conversation(rng: Random, pool: list[str], size: int) -> bytes:
    """Return the messages of a session as they stand in its file, about so many bytes, as an array without brackets."""
    when = datetime(2026, 1, 5, 8, tzinfo=UTC)
    messages: list[bytes] = []
    written = 0
    while written < size:
        when += timedelta(seconds=rng.uniform(2, 90))
        for message in texts.turn(rng, pool, when):
            messages.append(msgspec.json.encode(message))
            written += len(messages[-1]) + 1  # and a comma
    # The last turn may be long: without the messages that are too much, but never without any.
    while len(messages) > 1 and written - len(messages[-1]) / 2 > size:
        written -= len(messages.pop()) + 1
    return b",".join(messages)


def _chat(rng: Random, index: int) -> tuple[str, str]:
    # The index keeps them apart. One in twenty has capitals, and so a digest in its file's name.
    kind = rng.random()
    if kind < 0.6:
        return "telegram", f"{rng.randrange(10_000, 99_999)}{index:06}"
    if kind < 0.95:
        return "web", f"{rng.getrandbits(96):024x}{index:08x}"
    return "api", f"Report-{index}"
