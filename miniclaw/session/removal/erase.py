"""Erasing everything that trash and quarantine hold of a session. Synchronous, for threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Final, Protocol

from msgspec import Struct

from miniclaw.clock import utc_now
from miniclaw.errors import StoreError
from miniclaw.session import names
from miniclaw.session.conflict_names import whose
from miniclaw.session.entries import LeftoverRemoval, ProblemFile, QuarantinedFile
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME, quarantined_stem
from miniclaw.session.files.subdirectory import TRASH_NAME, EarlierFolders, Folder
from miniclaw.session.journal.overlay import number_of
from miniclaw.session.journal.records import mentions
from miniclaw.session.removal.leftovers import LEGACY_SUFFIXES, list_legacy, remove_leftovers, without_legacy_suffix
from miniclaw.session.removal.quarantine_files import list_quarantined, pieces_of
from miniclaw.session.removal.quarantine_removal import leftover_of
from miniclaw.session.trash.entries import TrashEntry, TrashRemoval
from miniclaw.session.trash.trash import Trash

NO_ID: Final = "its name does not tell whose it is; give the session's ID"
CUT: Final = (
    f"its name was longer than {names.MAX_NAME_BYTES} bytes, is cut in quarantine, and may be another session's as well"
)
DAMAGED: Final = "it is a damaged segment of the journal; its damaged lines do not tell whose they are"
_SHARED: Final = "not erased: other sessions directories may use this folder; remove it by hand if it is not theirs"


class Traces(Struct, frozen=True):
    """Counts of one erasure.

    Attributes:
        files: Files that were deleted.
        bytes_freed: Bytes freed on the disk.
        failed: For each file that is still there, and each folder that cannot be listed, a sentence with its name and
            the cause.
        remaining: Files of which neither name nor content shows for certain that they are the session's.
    """

    files: int
    bytes_freed: int
    failed: Sequence[str]
    remaining: Sequence[ProblemFile] = ()


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
    verdicts = _Verdicts(directory, trash, session_id)
    failed: list[str] = []
    removed: list[TrashRemoval] = []

    def refused(error: StoreError) -> None:  # a folder that cannot be listed; the rest is deleted nevertheless
        failed.append(str(error))

    try:
        entries = [entry.id for entry in trash.find_all(session_id)]
        entries += [entry.id for entry in trash.entries() if entry.from_quarantine and verdicts.on_trashed(entry)]
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
    old = list_legacy(directory, now=utc_now(), names=verdicts.wish.legacy(), age=timedelta.min, refused=refused)
    old = [each for each in old if directory.is_spelled(each.key)]
    done: list[TrashRemoval | LeftoverRemoval] = [*removed, *remove_leftovers(directory, old, trash=None)]
    try:
        quarantined = filter(verdicts.on_quarantined, list_quarantined(directory))
        done += remove_leftovers(directory, [leftover_of(file) for file in quarantined], trash=None)
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
        verdicts.remaining,
    )


class _Verdicts:
    """Judges the files of trash and quarantine for the erasure of one session.

    Attributes:
        wish: The session.
        remaining: The files that may be its own, and are not deleted.
    """

    def __init__(self, directory: SessionDirectory, trash: Trash, session_id: str) -> None:
        self._directory = directory
        self._trash = trash
        self._session_id = session_id
        self.wish = ByIds([session_id])
        self.remaining: list[ProblemFile] = []

    def on_trashed(self, entry: TrashEntry) -> bool:
        """Return whether an entry of a file from quarantine is deleted."""
        place = f"{TRASH_NAME}/{entry.id}"
        if number_of(entry.key) is None:
            return self._on_session(place, entry.session_id, entry.key)
        return self._on_segment(place, lambda: self._trash.read(entry.id))

    def on_quarantined(self, file: QuarantinedFile) -> bool:
        """Return whether a file in quarantine is deleted."""
        place = f"{QUARANTINE_NAME}/{file.id}"
        if number_of(file.file) is None:
            return self._on_session(place, None if file.header is None else file.header.session_id, file.file)
        return self._on_segment(place, lambda: b"".join(pieces_of(self._directory, file.id)))

    def _on_session(self, place: str, inside: str | None, name: str) -> bool:
        is_theirs = self.wish.kept(inside, name)
        if inside is None and not is_theirs and self.wish.may_be_for(without_legacy_suffix(name)):
            self.remaining.append(ProblemFile(place, "unreadable", CUT))
        return is_theirs

    def _on_segment(self, place: str, read: Callable[[], bytes]) -> bool:
        """Return whether a segment of the journal has a record of the session; the other ones are in files as well."""
        try:
            is_theirs, is_sound = mentions(read(), self._session_id)
        except StoreError as error:
            self.remaining.append(ProblemFile(place, "unreadable", str(error)))
            return False
        if not is_theirs and not is_sound:
            self.remaining.append(ProblemFile(place, "corrupt", DAMAGED))
        return is_theirs


class Wish(Protocol):
    """The sessions to delete, as their files show them."""

    def is_for(self, session_id: str) -> bool:
        """Return whether a session is meant."""
        ...

    def whose(self, name: str) -> str | None:
        """Return the meant session whose file has this name; None: there is none, or the name is not certain."""
        ...

    def may_be_for(self, name: str) -> bool:
        """Return whether a file of this name may belong to a meant session."""
        ...


class ByIds:
    """The sessions of some ids; a `Wish`.

    The names in quarantine, without stamps, of files whose names are too long for it, count as well. A long name of an
    earlier implementation is cut within the chat id there, and may be another session's; of our own names, only the
    suffix after them is cut.

    Raises:
        InvalidSessionIdError: A text is no session id.
    """

    def __init__(self, session_ids: Iterable[str]) -> None:
        self._ids = frozenset(session_ids)
        self._names: dict[str, str] = {}
        self._in_doubt: set[str] = set()
        for session_id in self._ids:
            for name in names.file_names(session_id):
                self._names[name] = session_id
                cut = {quarantined_stem(name + suffix) for suffix in ("", *LEGACY_SUFFIXES) if is_long(name + suffix)}
                if is_long(name):
                    self._in_doubt |= cut
                else:
                    self._names |= dict.fromkeys(cut, session_id)

    def is_for(self, session_id: str) -> bool:
        """Return whether a session is meant."""
        return session_id in self._ids

    def whose(self, name: str) -> str | None:
        """Return the meant session whose file has this name; None: there is none, or the name is not certain."""
        return self._names.get(name)

    def may_be_for(self, name: str) -> bool:
        """Return whether a file of this name may belong to a meant session."""
        return name in self._names or name in self._in_doubt

    def kept(self, inside: str | None, name: str) -> bool:
        """Return whether a file of trash or quarantine belongs to a meant session.

        Args:
            inside: The id in the file; None: it holds no session, and its name decides.
            name: The file's name, without its stamp.
        """
        if inside is not None:
            return self.is_for(inside)
        stem = without_legacy_suffix(name)
        return self.whose(stem) is not None and not is_long(stem)

    def legacy(self) -> list[str]:
        """Return the names that an earlier implementation may have given to its other files of the sessions, sorted."""
        own = [name for session_id in self._ids for name in names.file_names(session_id) if not is_long(name)]
        return sorted(name + suffix for name in own for suffix in LEGACY_SUFFIXES)


def is_long(name: str) -> bool:
    """Return whether the name of a file is cut in quarantine."""
    return len(os.fsencode(name)) > names.MAX_NAME_BYTES


class Remaining:
    """Finds the files beside the sessions that hold messages of an erased session, or may hold some, and remain.

    Args:
        problems: The rows of a scan that are no sessions.
    """

    def __init__(self, problems: Iterable[ProblemFile]) -> None:
        self._problems = [(each, whose(each.key)) for each in problems]

    def of(self, wish: Wish) -> list[ProblemFile]:
        """Return the files of some sessions; those that an erasure deletes are left out."""
        return [
            each
            for each, originals in self._problems
            if not _is_erased(each.key, wish)
            and ((each.inside and wish.is_for(each.inside)) or any(map(wish.may_be_for, originals)))
        ]


def _is_erased(name: str, wish: Wish) -> bool:
    stem = without_legacy_suffix(name)
    return stem != name and wish.may_be_for(stem) and not is_long(stem)


def _name_failed(trash: Trash, removals: Sequence[TrashRemoval]) -> list[str]:
    return [f"{trash.path_of(each.entry_id)}: {each.reason}" for each in removals if each.outcome == "failed"]
