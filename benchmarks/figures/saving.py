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
from benchmarks.figure import Figure
from benchmarks.peers import raw_save
from miniclaw.clock import utc_now
from miniclaw.session import names
from miniclaw.session.files.ledger import LedgerFile
from miniclaw.session.files.subdirectory import STATE_NAME, Folder
from miniclaw.session.format import codec
from miniclaw.session.live.store import SAVE_THREADS, open_store
from miniclaw.session.manager import SessionManager
from miniclaw.session.types import Message

_SMALL: Final = 5_000
_LARGE: Final = 5_000_000
_TURNS: Final = 20  # in one sample
_APPENDED: Final = 50  # in one turn


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
    """Return how long each save took, ours and the raw one of the same bytes but for the last message, in ms."""
    mine: list[float] = []
    theirs: list[float] = []
    threads = min(SAVE_THREADS, corpus.count)
    async with loaded(corpus) as (manager, session_ids):
        file_names = [names.file_name(session_id) for session_id in session_ids]
        for number in range(rounds + 1):  # the first one finds no files to replace, or cold code
            contents = {name: (corpus.directory / name).read_bytes() for name in file_names}
            for session_id in session_ids:
                await manager.add_message(session_id, new_message())
            for is_ours in (True, False) if number % 2 else (False, True):
                begin = perf_counter()
                if not is_ours:
                    raw_save.save_all(raw, contents, threads=threads)
                elif (report := await manager.save_all_sessions()).saved != corpus.count:
                    raise RuntimeError(f"{report.saved} of {corpus.count} sessions were saved")
                (mine if is_ours else theirs).append((perf_counter() - begin) * 1000)
    return mine[1:], theirs[1:]


async def _append_to(large: Corpus, small: Corpus) -> tuple[float, float]:
    """Return how many microseconds a message takes in each; both take turns."""
    seconds = [0.0, 0.0]
    message = new_message()
    async with loaded(large) as (first, (first_id,)), loaded(small) as (second, (second_id,)):
        for _ in range(_TURNS):
            for index, (manager, session_id) in enumerate(((first, first_id), (second, second_id))):
                begin = perf_counter()
                for _ in range(_APPENDED):
                    await manager.add_message(session_id, message)
                seconds[index] += perf_counter() - begin
    return seconds[0] / _TURNS / _APPENDED * 1e6, seconds[1] / _TURNS / _APPENDED * 1e6


@asynccontextmanager
async def loaded(corpus: Corpus) -> AsyncIterator[tuple[SessionManager, list[str]]]:
    """Have all sessions of a corpus in memory for a block, which is not saved at its end."""
    session_ids = [
        codec.decode_header(path.read_bytes()).session_id
        for path in corpus.directory.iterdir()
        if path.suffix == ".json"
    ]
    async with open_store(corpus.directory, create=False) as store:
        store.keep_ledger(LedgerFile(Folder.within(store.directory, STATE_NAME)))
        manager = SessionManager(store, max_live_sessions=corpus.count + 1)
        for session_id in session_ids:
            await manager.get_session(session_id)
        yield manager, session_ids


def new_message() -> Message:
    return texts.turn(Random(1), ["This is a sentence of some words."], utc_now())[0]
