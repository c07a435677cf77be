"""Erasing the records of a deleted session from the journal: the segments that have them are deleted at once.

The other sessions in these segments, and in older ones, are saved first. Any file of a session that is saved has all
that the journal has of it, so a crash at any point loses nothing and brings nothing back.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import trio

from miniclaw.errors import StoreError
from miniclaw.session.live.saver import SessionSaver
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.threads import PATIENCE_SECONDS

_NEEDED: Final = (
    "other sessions in it cannot be saved, or the disk does not answer; the records are deleted with it later"
)


async def erase_records(store: FileSessionStore, saver: SessionSaver, session_id: str) -> int:
    """Delete all segments of the journal that have records of a session, and return their number.

    Args:
        store: The store; owned by this process.
        saver: Saves the other sessions.
        session_id: The session, which is deleted: its records count no more.

    Durability: the records are deleted from the disk when this returns.

    Raises:
        StoreError: Segments with its records remain; the message names the first one. `PATIENCE_SECONDS` is the longest
            time that a hung disk takes for that.

    Cancellation: what has begun ends in the background.
    """
    journal, limiter = store.journal, trio.CapacityLimiter(1)
    saver.committer.forget(session_id)
    found: list[int] = []
    with trio.move_on_after(PATIENCE_SECONDS):
        await store.run(journal.begin_segment, limiter)
        if not (found := journal.index.segments_with(session_id)):
            return 0
        journal.index.release(session_id)
        await saver.save(journal.index.needed_until(found[-1]))
        spent = [number for number in journal.index.spent() if number <= found[-1]]
        await store.run(partial(journal.delete, spent), limiter)
    left = [number for number in journal.index.segments_with(session_id) if number in found]
    if left or not found:
        raise StoreError(f"{journal.path_of(left[0]) if left else journal.path}: {_NEEDED}")
    return len(found)
