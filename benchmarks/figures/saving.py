"""Saving sessions, against the raw writing of the same bytes; and appending to a large session and to a small one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Final

import trio

from benchmarks import texts
from benchmarks.bench import USUAL_BYTES, Bench
from benchmarks.data import Corpus, generate
from benchmarks.figure import Figure, timed
from benchmarks.peers import raw_save
from miniclaw.session import names
from miniclaw.session.clock import utc_now
from miniclaw.session.manager import SessionManager
from miniclaw.session.store import SAVE_THREADS, open_store
from miniclaw.session.types import Message

_SMALL: Final = 5_000
_LARGE: Final = 5_000_000
_APPENDED: Final = 500  # in one sample


def flush(bench: Bench) -> Iterator[Figure]:
    """Save many changed sessions of the usual size at once."""
    title = f"flush of {bench.form.flushed:,} dirty sessions of {USUAL_BYTES // 1000} KB"
    peer = f"raw write+fsync+rename, {SAVE_THREADS} threads"
    yield _saved(bench, "flush", title, peer, count=bench.form.flushed, size=USUAL_BYTES, goal=1.3)


def save_large(bench: Bench) -> Iterator[Figure]:
    """Save a large session after one message more, as the autosave does while somebody chats."""
    yield _saved(
        bench, "save-large", "save of a session of 5 MB", "raw write+fsync+rename", count=1, size=_LARGE, goal=None
    )


def append(bench: Bench) -> Iterator[Figure]:
    """Append a message to a large session and to a small one."""
    folder = bench.new_folder()
    large = generate(folder / "large", 1, _LARGE, seed=bench.seed)
    small = generate(folder / "small", 1, _SMALL, seed=bench.seed)
    rounds = [trio.run(_append_to, large, small) for _ in range(bench.form.rounds)]
    bench.drop(folder)
    yield Figure(
        name="append", title="append of a message, session of 5 MB", peer="the same at 5 KB", unit="µs",
        ours=tuple(mine for mine, _ in rounds), theirs=tuple(theirs for _, theirs in rounds), goal=1.2,
        text="in memory, until the next save",
    )  # fmt: skip


def _saved(bench: Bench, name: str, title: str, peer: str, *, count: int, size: int, goal: float | None) -> Figure:
    folder = bench.new_folder()
    corpus = generate(folder / "sessions", count, size, seed=bench.seed)
    (folder / "raw").mkdir()
    mine, theirs = trio.run(partial(_save, corpus, folder / "raw", rounds=bench.form.rounds))
    bench.drop(folder)
    return Figure(
        name=name, title=title, peer=peer, unit="ms", ours=tuple(mine), theirs=tuple(theirs), goal=goal,
    )  # fmt: skip


async def _save(corpus: Corpus, raw: Path, *, rounds: int) -> tuple[list[float], list[float]]:
    """Return how long each save took, ours and the raw one of the very bytes that ours has written, in milliseconds."""
    mine: list[float] = []
    theirs: list[float] = []
    async with _loaded(corpus) as (manager, session_ids):
        for _ in range(rounds + 1):  # the first one finds no files to replace, or cold code
            for session_id in session_ids:
                await manager.add_message(session_id, _message())
            begin = perf_counter()
            report = await manager.save_all_sessions()
            mine.append((perf_counter() - begin) * 1000)
            if report.saved != corpus.count:
                raise RuntimeError(f"{report.saved} of {corpus.count} sessions were saved")
            file_names = map(names.file_name, session_ids)
            contents = {name: (corpus.directory / name).read_bytes() for name in file_names}
            theirs.append(
                timed(partial(raw_save.save_all, raw, contents, threads=min(SAVE_THREADS, corpus.count))) * 1000
            )
    return mine[1:], theirs[1:]


async def _append_to(large: Corpus, small: Corpus) -> tuple[float, float]:
    """Return how many microseconds a message takes in each."""
    seconds = []
    for corpus in (large, small):
        async with _loaded(corpus) as (manager, (session_id,)):
            await manager.add_message(session_id, _message())
            message = _message()
            begin = perf_counter()
            for _ in range(_APPENDED):
                await manager.add_message(session_id, message)
            seconds.append((perf_counter() - begin) / _APPENDED * 1e6)
    return seconds[0], seconds[1]


@asynccontextmanager
async def _loaded(corpus: Corpus) -> AsyncIterator[tuple[SessionManager, list[str]]]:
    """Have all sessions of a corpus in memory for a block, which is not saved at its end."""
    session_ids = []
    async with open_store(corpus.directory, create=False) as store:
        manager = SessionManager(store, max_live_sessions=corpus.count + 1)
        async with store.scan() as scan:
            while not scan.complete:
                session_ids += [row.header.session_id for row in await scan.next_batch()]  # type: ignore[union-attr]
        for session_id in session_ids:
            await manager.get_session(session_id)
        yield manager, session_ids


def _message() -> Message:
    return texts.turn(Random(1), ["This is a sentence of some words."], utc_now())[0]
