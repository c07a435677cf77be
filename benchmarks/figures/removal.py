"""The removal of expired sessions, each read whole before it goes, against what removes without looking."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks import ours
from benchmarks.bench import SMALL_BYTES, USUAL_BYTES, Bench
from benchmarks.data import EXPIRED, generate
from benchmarks.figure import Figure, Skipped, UnavailableError, interleave, timed
from benchmarks.peers import databases, walks


def against_find(bench: Bench) -> Iterator[Figure]:
    """Have all sessions of a directory removed, and those of a copy by `find`."""
    for size in (SMALL_BYTES, USUAL_BYTES):
        mine, theirs = interleave(
            bench.form.few_rounds,
            partial(_seconds, bench, size, clean_up),
            partial(_seconds, bench, size, walks.find_delete),
        )
        yield Figure(
            name="removal", title=f"removal of {bench.form.expired:,} expired of {size // 1000} KB, verified",
            peer="`find -mtime +30 -delete`", unit="s", ours=mine, theirs=theirs, goal=4,
        )  # fmt: skip


def against_databases(bench: Bench) -> Iterator[Figure | Skipped]:
    """Have as many sessions removed as rows of a database."""
    title = f"removal of {bench.form.expired:,} expired of {SMALL_BYTES // 1000} KB, verified"
    peers: dict[str, Callable[[Path, Path], float]] = {
        "SQLite `DELETE … WHERE last_accessed < ?`": databases.sqlite_seconds,
        "Redis `EXPIRE key 0`, pipelined": databases.redis_seconds,
    }
    for peer, seconds in peers.items():
        try:
            mine, theirs = interleave(
                bench.form.few_rounds,
                partial(_seconds, bench, SMALL_BYTES, clean_up),
                partial(_peer_seconds, bench, seconds),
            )
        except UnavailableError as error:
            yield Skipped("databases", f"{title}, against {peer}", str(error))
        else:
            yield Figure(name="databases", title=title, peer=peer, unit="s", ours=mine, theirs=theirs)


def clean_up(sessions: Path) -> None:
    """Remove what is expired.

    Raises:
        RuntimeError: That was not all.
    """
    expired = len(os.listdir(sessions))
    if (removed := ours.clean_up(sessions)) != expired:
        raise RuntimeError(f"{removed} of {expired} sessions were removed")


def _seconds(bench: Bench, size: int, remove: Callable[[Path], object]) -> float:
    folder = bench.new_folder()
    sessions = folder / "sessions"
    generate(sessions, bench.form.expired, size, seed=bench.seed, ages=EXPIRED)
    os.sync()
    seconds = timed(lambda: remove(sessions))
    if left := [name for name in os.listdir(sessions) if not name.startswith(".")]:
        raise RuntimeError(f"{len(left)} sessions are left")
    bench.drop(folder)
    return seconds


def _peer_seconds(bench: Bench, seconds: Callable[[Path, Path], float]) -> float:
    folder = bench.new_folder()
    sessions = folder / "sessions"
    generate(sessions, bench.form.expired, SMALL_BYTES, seed=bench.seed, ages=EXPIRED)
    try:
        return seconds(sessions, folder)
    finally:
        bench.drop(folder)
