"""Erasing everything that trash and quarantine hold of a session. Synchronous, for threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from msgspec import Struct

from miniclaw.clock import utc_now
from miniclaw.errors import StoreError
from miniclaw.session import names
from miniclaw.session.conflict_names import whose
from miniclaw.session.entries import Leftover, LeftoverRemoval, ProblemFile
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import quarantined_stem
from miniclaw.session.files.subdirectory import EarlierFolders, Folder
from miniclaw.session.names import split_stamped
from miniclaw.session.removal.leftovers import LEGACY_SUFFIXES, list_legacy, remove_leftovers
from miniclaw.session.removal.quarantine_files import list_quarantined
from miniclaw.session.removal.quarantine_removal import leftover_of
from miniclaw.session.trash.entries import TrashEntry, TrashRemoval
from miniclaw.session.trash.trash import Trash

_SHARED: Final = "not erased: other sessions directories may use this folder; remove it by hand if it is not theirs"


class Traces(Struct, frozen=True):
    """Counts of one erasure.

    Attributes:
        files: Files that were deleted.
        bytes_freed: Bytes freed on the disk.
        failed: For each file that is still there, and each folder that cannot be listed, a sentence with its name and
            the cause.
    """

    files: int
    bytes_freed: int
    failed: Sequence[str]


def erase_traces(
    directory: SessionDirectory, trash: Trash, session_id: str, earlier: EarlierFolders | None = None
) -> Traces:
    """Delete a session's entries and files from trash and quarantine, and from the trash of an earlier version.

    Args:
        directory: Owned by this process.
        trash: The trash.
        session_id: The session; it need not exist now.
        earlier: Folders with entries that could not be moved in. Nothing is deleted from folders that may be shared: an
            entry there may be of another directory's session, and counts as failed.

    Raises:
        OwnershipLostError, ForkedRuntimeError: As `SessionDirectory.check_owned`.
    """
    directory.check_owned()
    is_of = _Whose(session_id)
    failed: list[str] = []
    removed: list[TrashRemoval] = []

    def refused(error: StoreError) -> None:  # a folder that cannot be listed; the rest is deleted nevertheless
        failed.append(str(error))

    try:
        entries = [entry.id for entry in trash.find_all(session_id)]
        entries += [entry.id for entry in trash.entries() if is_of.entry(entry)]
        removed += trash.remove(entries)
        failed += _name_failed(trash, removed)
    except StoreError as error:
        refused(error)
    if earlier is not None and earlier.trash is not None:
        outside = Trash(Folder(earlier.trash, fs=directory.fs, check=directory.check_owned))
        try:
            found = [entry.id for entry in outside.find_all(session_id)]
            tried = [TrashRemoval(each, "failed", reason=_SHARED) for each in found]
            tried = tried if earlier.may_be_shared else outside.remove(found)
            removed += tried
            failed += _name_failed(outside, tried)
        except StoreError as error:
            refused(error)
    # Files of an earlier implementation move to quarantine first, whatever their age, and are deleted from there.
    old = list_legacy(directory, now=utc_now(), names=sorted(is_of.legacy), age=timedelta.min, refused=refused)
    old = [each for each in old if directory.is_spelled(each.key)]
    done: list[TrashRemoval | LeftoverRemoval] = [*removed, *remove_leftovers(directory, old, trash=None)]
    try:
        quarantined = [leftover_of(file) for file in list_quarantined(directory)]
        done += remove_leftovers(directory, [each for each in quarantined if is_of.quarantined(each)], trash=None)
    except StoreError as error:
        refused(error)
    gone = [each for each in done if each.outcome == "removed"]
    return Traces(
        len(gone),
        sum(each.bytes_freed for each in gone),
        [
            *failed,
            *(
                f"{each.leftover.key}: {each.reason}"
                for each in done
                if isinstance(each, LeftoverRemoval) and each.outcome == "failed"
            ),
        ],
    )


class Remaining:
    """Finds the files beside the sessions that hold messages of an erased session, or may hold some, and remain.

    Args:
        problems: The rows of a scan that are no sessions.
    """

    def __init__(self, problems: Iterable[ProblemFile]) -> None:
        self._problems = [(each, whose(each.key)) for each in problems]

    def of(self, session_id: str) -> list[ProblemFile]:
        """Return the files of one session; those that an erasure deletes are left out."""
        own = names.file_names(session_id)
        erased = {name + suffix for name in own for suffix in LEGACY_SUFFIXES}
        return [
            each
            for each, originals in self._problems
            if each.key not in erased and (each.inside == session_id or not originals.isdisjoint(own))
        ]


class _Whose:
    """Finds the files kept of a session: by the id in a file that holds a session, else by the file's name.

    Attributes:
        legacy: Names that an earlier implementation may have given to its other files of the session.
    """

    def __init__(self, session_id: str) -> None:
        # A longer name of an earlier implementation is cut in quarantine, and may be another session's as well.
        own = [name for name in names.file_names(session_id) if len(name.encode()) <= names.MAX_NAME_BYTES]
        self.legacy = {name + suffix for name in own for suffix in LEGACY_SUFFIXES}
        self._session_id = session_id
        self._cut = {quarantined_stem(name) for name in {*own, *self.legacy}}

    def quarantined(self, leftover: Leftover) -> bool:
        split = split_stamped(leftover.key) if leftover.kind == "quarantined" else None
        header = leftover.header
        return split is not None and self._is_it(None if header is None else header.session_id, split[0])

    def entry(self, entry: TrashEntry) -> bool:
        return entry.from_quarantine and self._is_it(entry.session_id, entry.key)

    def _is_it(self, inside: str | None, name: str) -> bool:
        return name in self._cut if inside is None else inside == self._session_id


def _name_failed(trash: Trash, removals: Sequence[TrashRemoval]) -> list[str]:
    return [f"{trash.path_of(each.entry_id)}: {each.reason}" for each in removals if each.outcome == "failed"]
