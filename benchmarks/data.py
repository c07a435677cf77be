"""Session files for the benchmark, made from a seed, in our own format by the project's own names and codec.

The same seed makes the same conversations; only their times move along with the clock, because `find` knows no other
clock than the system's. The files are written without the store, whose fsync for each one would take most of the
time; what is on the disk is the same.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final

import msgspec
from msgspec import Struct

from miniclaw.session import codec, names
from miniclaw.session.types import Message, Role, Session, ToolCall

OLDEST: Final = timedelta(days=28)
"""The longest inactivity; below the TTL of 30 days, so that nothing is expired."""

_SPREAD: Final = 0.2  # sizes are even around the mean, by this part of it to either side
_SENTENCES: Final = 3_000  # in the pool that all texts draw from; drawing every word anew would take minutes

_COMMON: Final = (
    "the the the the and and and to to to of of a a a in in is is it it you that that for for on with as this was "
    "be at by not are from have can will would should there their about which when what how some time day week "
    "morning tomorrow today please could find look write read send remind check change open close start stop need "
    "want think know make take give show list file folder server message note meeting calendar report question "
    "answer number example problem reason result weather train ticket flight recipe garden kitchen window table "
    "invoice customer project budget version release branch error test setting password account address street "
    "first second last next new old good better small large quick slow every another because however although "
    "therefore between before after during without against toward probably usually certainly perhaps"
)
_WORDS: Final = _COMMON.split()

_SPICE: Final = (
    'She said "not before Friday", and that was that.',
    "Run:\n\n```sh\njournalctl -u miniclaw --since today | tail -n 40\n```\n",
    "It\u2019s the café by the river — naïve, but it works 🙂.",
    "| day | from | to |\n| --- | --- | --- |\n| Mon | 09:10 | 11:45 |\n",
    "The path is C:\\Users\\me\\notes.txt, if I remember it right.",
)


class SizeClass(Struct, frozen=True):
    """Files of one size, in a folder of their own.

    Attributes:
        title: What the report calls it.
        file_count: How many.
        mean_bytes: Their size on average.
    """

    title: str
    file_count: int
    mean_bytes: int


class Corpus(Struct, frozen=True):
    """What was generated for a size class.

    Attributes:
        directory: The folder; it holds nothing else.
        size_class: What was asked for.
        total_bytes: The sizes of the files, added up.
    """

    directory: Path
    size_class: SizeClass
    total_bytes: int


def generate(directory: Path, size_class: SizeClass, *, seed: int, now: datetime) -> Corpus:
    """Make the folder and fill it.

    Args:
        directory: Where; may not exist yet.
        size_class: How many files, and how large.
        seed: What all texts, ids and sizes follow from.
        now: What `last_accessed` is counted back from, by up to `OLDEST`; the files' mtime is the same.
    """
    rng = Random(f"{seed} {size_class.title}")
    pool = _sentences(rng)
    directory.mkdir(mode=0o700)
    total = 0
    for index in range(size_class.file_count):
        size = round(size_class.mean_bytes * rng.uniform(1 - _SPREAD, 1 + _SPREAD))
        session = _session(rng, pool, index, size=size, now=now)
        data = codec.encode_session(session)
        path = directory / names.file_name(session.session_id)
        path.write_bytes(data)
        used = session.last_accessed.timestamp()
        os.utime(path, (used, used))
        total += len(data)
    return Corpus(directory, size_class, total)


def _session(rng: Random, pool: list[str], index: int, *, size: int, now: datetime) -> Session:
    channel, chat_id = _chat(rng, index)
    last_accessed = now - OLDEST * rng.random()
    created_at = last_accessed - timedelta(days=rng.uniform(0.1, 200))
    session = Session(names.make_session_id(channel, chat_id), channel, chat_id, created_at, last_accessed)
    written = len(codec.encode_session(session))
    when = created_at
    while written < size:
        when += timedelta(seconds=rng.uniform(2, 90))
        for message in _turn(rng, pool, min(when, last_accessed)):
            session.messages.append(message)
            written += len(msgspec.json.encode(message)) + 1  # and a comma
    return session


def _chat(rng: Random, index: int) -> tuple[str, str]:
    # The index keeps them apart. One in twenty has capitals, and so a digest in its file's name.
    kind = rng.random()
    if kind < 0.6:
        return "telegram", f"{rng.randrange(10_000, 99_999)}{index:05}"
    if kind < 0.95:
        return "web", f"{rng.getrandbits(96):024x}{index:08x}"
    return "api", f"Report-{index}"


def _turn(rng: Random, pool: list[str], when: datetime) -> list[Message]:
    def say(role: Role, sentences: int, **fields: object) -> Message:
        return Message(role, " ".join(rng.choices(pool, k=sentences)), when, **fields)  # type: ignore[arg-type]

    turn = [say("user", rng.randint(1, 3))]
    if rng.random() < 0.15:
        call = ToolCall(f"call_{rng.getrandbits(48):012x}", "read_file", '{"path": "notes/today.md", "limit": 200}')
        turn += [say("assistant", 1, tool_calls=(call,)), say("tool_result", rng.randint(5, 25), tool_call_id=call.id)]
    return [*turn, say("assistant", rng.randint(2, 10))]


def _sentences(rng: Random) -> list[str]:
    def sentence() -> str:
        if rng.random() < 0.04:
            return rng.choice(_SPICE)
        return " ".join(rng.choices(_WORDS, k=rng.randint(5, 18))).capitalize() + rng.choice("....?!")

    return [sentence() for _ in range(_SENTENCES)]
