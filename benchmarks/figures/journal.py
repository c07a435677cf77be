"""The cost of a message until it is safe: on a journalled ext4, whatever the size of its session."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import Final

import trio

from benchmarks.bench import Bench
from benchmarks.data import Corpus, generate
from benchmarks.disk import ColdDisk, cold_disk
from benchmarks.figure import Figure
from benchmarks.figures.saving import loaded, new_message
from benchmarks.peers.c_program import build
from miniclaw.session.journal.journal import Batch
from miniclaw.session.journal.records import add_body
from miniclaw.session.live.store import open_store
from miniclaw.session.manager import SessionManager
from miniclaw.session.persistence import PromptSaver

_SIZES: Final = {5_000: "5 KB", 50_000: "50 KB", 500_000: "500 KB", 5_000_000: "5 MB"}
_TIMES: Final = 300  # commits in one sample
_EXCHANGES: Final = 100
_PEOPLE: Final = 200
_SECONDS: Final = 5.0
_QUIET: Final = 20
_NEARLY_FULL: Final = 60_000_000
_RECORDS: Final = 25_000
_CRASHED: Final = 250  # sessions that have these records
_DISK_BYTES: Final = 1_500_000_000


def acknowledge(bench: Bench) -> Iterator[Figure]:
    """Commit one message: by the journal alone, and through the manager to sessions of any size."""
    titles = ["the journal's commit", *(f"`add_message(durable=True)`, session of {name}" for name in _SIZES.values())]
    samples: list[list[tuple[float, float]]] = [[] for _ in titles]
    with _disk(bench) as disk:
        program = build(bench.folder, "append")
        for number in range(bench.form.rounds):
            peer = partial(_append, program, disk.root / "raw")
            samples[0].append((trio.run(_commits, disk.root / f"bare-{number}"), peer()))
            for place, size in enumerate(_SIZES, 1):
                corpus = generate(disk.root / f"{number}-{size}", 1, size, seed=bench.seed)
                samples[place].append((trio.run(_through_manager, corpus), peer()))
    for title, rounds, goal in zip(titles, samples, [1.2, *(3.0 for _ in _SIZES)], strict=True):
        yield Figure(
            name="acknowledge", title=f"one message until it is safe: {title}", peer="C: write + fdatasync", unit="ms",
            ours=tuple(mine for mine, _ in rounds), theirs=tuple(theirs for _, theirs in rounds), goal=goal,
        )  # fmt: skip


def exchange(bench: Bench) -> Iterator[Figure]:
    """Commit a message and its answer, and count what the device is sent, the file system's own journal included."""
    with _disk(bench) as disk:
        for size in (5_000, 5_000_000):
            corpora = [
                generate(disk.root / f"{size}-{number}", 1, size, seed=bench.seed)
                for number in range(bench.form.few_rounds)
            ]
            yield Figure(
                name="exchange", title=f"sent to the device for a message and its answer, session of {_SIZES[size]}",
                peer="", unit="KB", ours=tuple(trio.run(_sent, disk, corpus) for corpus in corpora),
                kind="value", goal=10,
            )  # fmt: skip


def people(bench: Bench) -> Iterator[Figure]:
    """Let many people write one message a second each, and ask for its confirmation as the channels do."""
    waits = _waits(bench, _PEOPLE, _chatting)
    for name, part, goal in (("p50", 0.5, 15), ("p99", 0.99, 60)):
        yield Figure(
            name="people", title=f"{_PEOPLE} people, one message a second: confirmed after, {name}", peer="", unit="ms",
            ours=tuple(each[int(len(each) * part)] * 1000 for each in waits), kind="value", goal=goal,
        )  # fmt: skip


def beside_large(bench: Bench) -> Iterator[Figure]:
    """Let one session just below its bound be written again and again beside quiet ones."""
    waits = _waits(bench, _QUIET, _beside)
    yield Figure(
        name="beside-large", title=f"{_QUIET} quiet chats beside one of {_NEARLY_FULL // 10**6} MB: confirmed, p99",
        peer="", unit="ms", ours=tuple(each[int(len(each) * 0.99)] * 1000 for each in waits), kind="value", goal=100,
    )  # fmt: skip


def replay(bench: Bench) -> Iterator[Figure]:
    """Start after a crash."""
    with _disk(bench) as disk:
        corpora = [
            generate(disk.root / f"crashed-{number}", _CRASHED, 5_000, seed=bench.seed)
            for number in range(bench.form.few_rounds)
        ]
        for corpus in corpora:
            trio.run(_crash, corpus)
        yield Figure(
            name="replay", title=f"start after a crash with {_RECORDS:,} records of {_CRASHED} sessions", peer="",
            unit="s", ours=tuple(trio.run(_start, corpus) for corpus in corpora), kind="value", goal=3,
        )  # fmt: skip


def _waits(bench: Bench, chats: int, run: Callable[[Corpus], Awaitable[list[float]]]) -> list[list[float]]:
    """Return the waits in seconds of each round, the shortest first; each round has new chats."""
    with _disk(bench) as disk:
        corpora = (
            generate(disk.root / f"round-{number}", chats, 5_000, seed=bench.seed)
            for number in range(bench.form.few_rounds)
        )
        return [sorted(trio.run(run, corpus)) for corpus in corpora]


@contextmanager
def _disk(bench: Bench) -> Iterator[ColdDisk]:
    folder = bench.new_folder()
    with cold_disk(folder, size=_DISK_BYTES, files=10_000) as disk:
        yield disk
    bench.drop(folder)


def _append(program: Path, file: Path) -> float:
    """Return how many milliseconds the C program takes for one append."""
    done = subprocess.run([program, file, str(_TIMES)], capture_output=True, text=True, check=True)
    return int(done.stdout) / 1e6


@asynccontextmanager
async def _committing(corpus: Corpus) -> AsyncIterator[tuple[SessionManager, list[str]]]:
    async with loaded(corpus) as (manager, ids), trio.open_nursery() as nursery:
        await nursery.start(manager.saver.committer.run)
        yield manager, ids
        manager.saver.committer.stop()


async def _commits(path: Path) -> float:
    """Return how many milliseconds a commit of one message takes in the thread that asks for it."""
    took = []
    async with open_store(path) as store:
        session = await SessionManager(store).get_or_create_session("web", "a")
        session.messages.append(new_message())
        body, _ = add_body(session.session_id, session, 0, "")
        for _ in range(_TIMES):
            began = perf_counter()
            store.journal.commit(Batch([(session.session_id, body)]))
            took.append(perf_counter() - began)
    return median(took) * 1000


async def _through_manager(corpus: Corpus) -> float:
    took, message = [], new_message()
    async with _committing(corpus) as (manager, (session_id,)):
        for _ in range(_TIMES):
            began = perf_counter()
            await manager.add_message(session_id, message, durable=True)
            took.append(perf_counter() - began)
    return median(took) * 1000


async def _sent(disk: ColdDisk, corpus: Corpus) -> float:
    """Return how many KB an exchange sends to the device."""
    message = new_message()
    async with _committing(corpus) as (manager, (session_id,)):
        await manager.add_message(session_id, message, durable=True)
        before = disk.written()
        for _ in range(2 * _EXCHANGES):
            await manager.add_message(session_id, message, durable=True)
        return (disk.written() - before) / _EXCHANGES / 1000


async def _chatting(corpus: Corpus) -> list[float]:
    """Return the seconds from each message of many people to its confirmation."""
    took: list[float] = []
    random = Random(1)
    async with _committing(corpus) as (manager, ids), trio.open_nursery() as nursery:
        saver = PromptSaver(manager)
        await nursery.start(saver.run)

        async def person(session_id: str) -> None:
            while True:
                await trio.sleep(random.expovariate(1))
                took.append(await _confirmed(manager, saver, session_id))

        for session_id in ids:
            nursery.start_soon(person, session_id)
        await trio.sleep(_SECONDS)
        nursery.cancel_scope.cancel()
    return took


async def _confirmed(manager: SessionManager, saver: PromptSaver, session_id: str) -> float:
    """Return the seconds from a message to its confirmation."""
    began, saved = perf_counter(), trio.Event()
    await manager.add_message(session_id, new_message())
    saver.want(session_id, lambda _: saved.set())
    await saved.wait()
    return perf_counter() - began


async def _beside(quiet: Corpus) -> list[float]:
    """Return the seconds from each message of quiet chats to its confirmation, while a large one is written."""
    took: list[float] = []
    is_over = trio.Event()
    message = new_message()
    text = message.content * (1_000_000 // len(message.content))
    async with _committing(quiet) as (manager, ids), trio.open_nursery() as nursery:
        saver = PromptSaver(manager)
        await nursery.start(saver.run)
        await manager.get_or_create_session("web", "large")
        for _ in range(_NEARLY_FULL // len(text)):
            await manager.add_message("web_large", type(message)(message.role, text, message.timestamp))

        async def large() -> None:
            # Not cancelled: a save that goes on in the background would keep the disk busy.
            while not is_over.is_set():
                await _confirmed(manager, saver, "web_large")
                await manager.save_sessions(["web_large"])

        async def person(session_id: str) -> None:
            while True:
                await trio.sleep(0.1)
                took.append(await _confirmed(manager, saver, session_id))

        await manager.save_sessions(["web_large"])
        async with trio.open_nursery() as writing:
            writing.start_soon(large)
            with trio.move_on_after(_SECONDS):
                async with trio.open_nursery() as chats:
                    for session_id in ids:
                        chats.start_soon(person, session_id)
            is_over.set()
        nursery.cancel_scope.cancel()
    return took


async def _crash(corpus: Corpus) -> None:
    """Leave a journal behind, as a process that died."""
    message = new_message()
    async with _committing(corpus) as (manager, ids):
        for _ in range(_RECORDS // len(ids)):
            for session_id in ids:
                await manager.add_message(session_id, message)
            await manager.saver.committer.commit(ids)


async def _start(corpus: Corpus) -> float:
    began = perf_counter()
    async with open_store(corpus.directory):
        return perf_counter() - began
