"""Erasing the records of a deleted session from the journal: all segments are deleted at once.

They may have its messages under an earlier id as well, from before a move. The other sessions in them are saved first.
Any file of a session that is saved has all that the journal has of it, so a crash at any point loses nothing and brings
nothing back.
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
    """Delete all segments of the journal; return the number of those that had records of a session.

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
    with trio.move_on_after(PATIENCE_SECONDS) as patience:
        await store.run(journal.begin_segment, limiter)
        found = journal.index.segments_with(session_id)
        journal.index.release(session_id)
        await saver.save(journal.index.needed_until(journal.index.last_closed()))
        await store.run(partial(journal.delete, journal.index.spent()), limiter)
    left = [number for number in journal.index.segments_with(session_id) if number in found]
    if left or patience.cancelled_caught:
        raise StoreError(f"{journal.path_of(left[0]) if left else journal.path}: {_NEEDED}")
    return len(found)
