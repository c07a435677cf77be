"""What a chat writes to the disk: each message and each answer is saved before anybody is told that it is safe."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import trio

from benchmarks.bench import Bench
from benchmarks.data import generate
from benchmarks.figure import Figure, UnavailableError
from benchmarks.figures.saving import loaded, new_message
from miniclaw.session.persistence import PromptSaver

_SIZES: Final = {5_000: "5 KB", 50_000: "50 KB", 500_000: "500 KB", 5_000_000: "5 MB"}
_EXCHANGES: Final = 10


def chat_writes(bench: Bench) -> Iterator[Figure]:
    """Save a message, then its answer, as the chat does; the peer is the text of both."""
    for size, title in _SIZES.items():
        rounds = [trio.run(_written, bench, size) for _ in range(bench.form.few_rounds)]
        yield Figure(
            name="chat-writes", title=f"written to the disk for a message and its answer, session of {title}",
            peer="their text", unit="KB", ours=tuple(mine for mine, _ in rounds),
            theirs=tuple(theirs for _, theirs in rounds),
        )  # fmt: skip


async def _written(bench: Bench, size: int) -> tuple[float, float]:
    """Return how many KB an exchange writes, and how many its two messages have."""
    folder = bench.new_folder()
    corpus = generate(folder / "sessions", 1, size, seed=bench.seed)
    message = new_message()
    async with loaded(corpus) as (manager, (session_id,)), trio.open_nursery() as nursery:
        saver = PromptSaver(manager)
        await nursery.start(saver.run)
        before = _write_bytes()
        for _ in range(2 * _EXCHANGES):
            await manager.add_message(session_id, message)
            saved = trio.Event()
            saver.want(session_id, partial(_tell, saved))
            await saved.wait()
        written = _write_bytes() - before
        nursery.cancel_scope.cancel()
    bench.drop(folder)
    return written / _EXCHANGES / 1000, 2 * len(message.content) / 1000


def _tell(event: trio.Event, saved: bool) -> None:
    assert saved, "the benchmark deletes nothing"
    event.set()


def _write_bytes() -> int:
    """Return how many bytes this process has sent towards a disk; see proc(5)."""
    try:
        fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines())
    except OSError as error:
        raise UnavailableError(f"the system does not tell what a process writes: {error}") from error
    return int(fields["write_bytes"])
