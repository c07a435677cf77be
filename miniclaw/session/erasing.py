"""Erasing what is kept of a session beside it: in the trash, and in quarantine. Synchronous, for threads."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from miniclaw.session import names
from miniclaw.session.clock import utc_now
from miniclaw.session.directory import SessionDirectory
from miniclaw.session.leftovers import LeftoverRemoval, list_leftovers, remove_leftovers, session_file_of
from miniclaw.session.trash import Trash
from miniclaw.session.trash_rows import TrashRemoval


class Traces(Struct, frozen=True):
    """What was erased.

    Attributes:
        files: How many files.
        bytes_freed: What the disk got back.
        failed: Why the others are still there, a sentence each.
    """

    files: int
    bytes_freed: int
    failed: Sequence[str]


def erase_traces(directory: SessionDirectory, trash: Trash, session_id: str) -> Traces:
    """Remove what trash and quarantine hold of a session.

    Args:
        directory: Owned by this process.
        trash: The trash.
        session_id: The session; whether there is one now does not matter.

    Raises:
        StoreError: The trash cannot be listed.
    """
    kept = names.file_names(session_id)
    quarantined = [
        leftover
        for leftover in list_leftovers(directory, now=utc_now(), trash=None, names=())
        if leftover.kind == "quarantined" and session_file_of(leftover.key) in kept
    ]
    entries = [entry.id for entry in trash.find_all(session_id)]
    done: list[TrashRemoval | LeftoverRemoval] = [
        *trash.remove(entries),
        *remove_leftovers(directory, quarantined, trash=None),
    ]
    gone = [each for each in done if each.outcome == "removed"]
    return Traces(
        len(gone),
        sum(each.bytes_freed for each in gone),
        [each.reason for each in done if each.outcome == "failed"],
    )
