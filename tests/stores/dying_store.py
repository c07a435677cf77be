"""A file store whose process is killed at each of its system calls, and what the next start finds.

Run as ``python -m tests.stores.dying_store DIRECTORY``, a process without threads, because it forks; it prints what was
wrong, and how often the store was killed, as JSON.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import trio

from miniclaw.session.as_store.parts import open_parts
from miniclaw.session.runtime import open_runtime
from miniclaw.stores.files import FileStore
from miniclaw.stores.types import Candidate, Change, Trashed
from miniclaw.testing.store_checks.trial import message
from tests.fakes.clock import WallClock
from tests.fakes.point_os import Act, Kill, PointOs
from tests.fakes.tree import put_tree, take_tree
from tests.faults.dying_child import Tell, in_child

DAY: Final = timedelta(days=1)
BEGIN: Final = datetime(2026, 6, 1, tzinfo=UTC)

OLD: Final = [message(text) for text in ("one", "two")]
NEW: Final = [message(text) for text in ("one", "three", "four")]


@asynccontextmanager
async def opened(root: Path, clock: WallClock, fs: PointOs | None = None) -> AsyncIterator[FileStore]:
    """Open a file store, with these system calls."""
    async with open_runtime(root, cleanup=None, clock=clock, fs=fs or PointOs()) as runtime, open_parts(runtime) as it:
        yield FileStore(it, "files")


async def put(store: FileStore, session_id: str, messages: list[bytes]) -> Candidate:
    """Make a session, and return it as a candidate of a removal."""
    lease = await store.acquire(session_id, DAY)
    saved = await store.commit(lease, Change(op=f"put {session_id} {store.clock()}", messages=messages))
    await store.release(saved.lease)
    return Candidate(session_id, saved.last_accessed)


async def remove(store: FileStore, candidate: Candidate, op: str, *, announced: bool = False) -> str:
    """Remove a session into the trash, and return its entry."""
    (outcome,) = await store.remove_if_unused(
        [candidate], min_age=timedelta(0), trash_for=30 * DAY, reason="ttl", by="test", op=op, now=store.clock(),
        announced=announced,
    )  # fmt: skip
    assert outcome.verdict == "removed", outcome
    return outcome.entry_id


async def prepare(root: Path) -> None:
    """Make what the work begins with: sessions, an announcement, and two entries of the trash."""
    clock = WallClock(BEGIN)
    async with opened(root, clock) as store:
        await put(store, "web_edited", OLD)
        due = await put(store, "web_due", OLD)
        others = [await put(store, session_id, OLD) for session_id in ("web_back", "web_gone")]
        clock.move(days=1)
        await store.announce([due], DAY)
        for other in others:
            await remove(store, other, f"remove {other.session_id}")


async def work(root: Path, act: Act, tell: Tell) -> None:
    """Change, remove, restore, empty, announce and sweep; tell what is done. The act begins with the first change."""
    clock, fs = WallClock(BEGIN + 3 * DAY), PointOs()
    async with opened(root, clock, fs) as store:
        entries = {entry.session_id: entry for entry in await store.trash()}
        header = await store.header("web_due")
        assert header is not None
        lease = await store.acquire("web_edited", DAY)
        fs.act = act
        change = Change(op="edit", keep=1, messages=NEW[1:], metadata=b'{"title":"new"}')
        saved = await store.commit(lease, change)
        tell("edited")
        await store.announce([Candidate("web_edited", saved.last_accessed)], DAY)
        tell("announced")
        await remove(store, Candidate("web_due", header.last_accessed), "remove due", announced=True)
        tell("removed")
        await store.restore(entries["web_back"].entry_id, by="test", op="restore")
        tell("restored")
        await store.empty_trash([entries["web_gone"].entry_id], by="test", op="empty")
        tell("emptied")
        turn = await store.begin_sweep(DAY, DAY)
        await store.end_sweep(turn.token, b"note", completed=True)
        tell("swept")
        fs.act = Act()


async def look(root: Path, done: set[str]) -> list[str]:
    """Open the store again, and return what is wrong with it."""
    wrong: list[str] = []

    def holds(sentence: str, does: bool) -> None:
        if not does:
            wrong.append(sentence)

    async with opened(root, WallClock(BEGIN + 4 * DAY)) as store:
        edited = await store.load("web_edited")
        assert edited is not None
        found = [*edited.messages], edited.header.metadata
        is_new = found == (NEW, b'{"title":"new"}')
        holds(f"a change is whole: {found}", is_new or found == (OLD, b""))
        holds("a change that was answered is there", is_new or "edited" not in done)
        holds("an announcement that was answered is there", edited.header.due_at is not None or "announced" not in done)
        trash: dict[str, Trashed] = {entry.session_id: entry for entry in await store.trash()}
        holds("an entry is there once", len(trash) == len(await store.trash()))
        lines = [(line.kind, line.session_id) for line in await store.audit()]
        holds(f"a line is there once: {lines}", len(lines) == len(set(lines)))
        for session_id, kind, told, is_away in (
            ("web_due", "removed", "removed", True), ("web_back", "restored", "restored", False)
        ):  # fmt: skip
            is_there = await store.header(session_id) is not None
            holds(f"{session_id} is in its place or in the trash", is_there != (session_id in trash))
            holds(f"{session_id}: {kind}, and in the audit log", ((kind, session_id) in lines) == (is_there != is_away))
            holds(f"{session_id} stays {kind}", is_there != is_away or told not in done)
        is_emptied = "web_gone" not in trash
        holds("an emptied entry is in the audit log", is_emptied == (("emptied", "web_gone") in lines))
        holds("an emptied entry stays away", is_emptied or "emptied" not in done)
        turn = await store.begin_sweep(DAY, DAY)
        holds("a sweep is remembered", turn.note == b"note" or "swept" not in done)
        entry_id = trash["web_due"].entry_id if "web_due" in trash else ""
        holds("the audit log knows the entry", all(
            line.entry_id == entry_id for line in await store.audit() if line.op == "remove due"
        ))  # fmt: skip
    return wrong


def explore(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Kill the work at each call; yield where it was killed, and what was wrong."""
    in_child(lambda _: trio.run(prepare, root))
    tree = take_tree(root)
    for when in ("before", "half"):
        for k in itertools.count(1):
            put_tree(root, tree)
            killed, told = in_child(partial(_work, root, Kill(k, when)))
            # In a child as well: a trio run leaves a thread behind, and this process forks.
            _, wrong = in_child(partial(_tell_wrong, root, set(told)))
            if not killed:
                break
            yield f"{when} call {k}, after {told}", wrong


def _work(root: Path, act: Act, tell: Tell) -> None:
    trio.run(work, root, act, tell)


def _tell_wrong(root: Path, done: set[str], tell: Tell) -> None:
    for sentence in trio.run(look, root, done):
        tell(sentence)


def main() -> None:
    """Print the findings."""
    found = list(explore(Path(sys.argv[1])))
    print(json.dumps({"points": len(found), "wrong": [f"{where}: {each}" for where, wrong in found for each in wrong]}))


if __name__ == "__main__":
    main()
