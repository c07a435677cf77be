"""Erasing what is kept of a session beside it: in the trash, and in quarantine. Synchronous, for threads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from msgspec import Struct

from miniclaw.session import names
from miniclaw.session.clock import utc_now
from miniclaw.session.directory import SessionDirectory
from miniclaw.session.leftovers import LEGACY_SUFFIXES, LeftoverRemoval, list_leftovers, remove_leftovers
from miniclaw.session.quarantine import quarantined_stem
from miniclaw.session.rows import Leftover
from miniclaw.session.stamps import split_stamped
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
    # A longer name of an earlier implementation was cut in quarantine, where it may be another session's as well.
    own = [name for name in names.file_names(session_id) if len(name.encode()) <= names.MAX_NAME_BYTES]
    legacy = {name + suffix for name in own for suffix in LEGACY_SUFFIXES}
    entries = [entry.id for entry in trash.find_all(session_id)]
    # Files of an earlier implementation move to quarantine first, and go with what lies there.
    old = [each for each in _list(directory, sorted(legacy)) if each.kind == "legacy" and each.key in legacy]
    done: list[TrashRemoval | LeftoverRemoval] = [
        *trash.remove(entries),
        *remove_leftovers(directory, old, trash=None),
    ]
    quarantined = {quarantined_stem(name) for name in {*own, *legacy}}
    done += remove_leftovers(
        directory,
        [
            leftover
            for leftover in _list(directory, ())
            if leftover.kind == "quarantined" and (split := split_stamped(leftover.key)) and split[0] in quarantined
        ],
        trash=None,
    )
    gone = [each for each in done if each.outcome == "removed"]
    return Traces(
        len(gone),
        sum(each.bytes_freed for each in gone),
        [each.reason for each in done if each.outcome == "failed"],
    )


def _list(directory: SessionDirectory, candidates: Sequence[str]) -> list[Leftover]:
    # Whose data it is does not wait for an earlier implementation's file to be a day old.
    return list_leftovers(directory, now=utc_now(), trash=None, names=candidates, legacy_age=timedelta.min)
