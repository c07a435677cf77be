"""Removing session files, synchronously: rename aside, verify the captured file, then unlink or put back.

A removal that first checks a file and then unlinks it can hit a newer file than the one it checked. Here the file is
first renamed into a folder of the batch, which no save reaches: the file that is verified there is the file that is
removed. Between verification and unlinking, the owner of the memory state is asked for consent, and forgets the session
in the same step. A session in use is put back with a link, which cannot overwrite a newer file.

Order on the disk, so that a power cut at any point leaves every kept session in its place or in the work folder, from
which `StagingArea.recover` puts it back: rename aside · copy to the trash · link kept sessions back · sync the sessions
directory · make the records of the others in the journal count no more · unlink · sync the folder. A session counts as
removed only after the last step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from miniclaw.errors import StoreError
from miniclaw.session import names
from miniclaw.session.disk.atomic import READ_FLAGS, opened, read_whole, store_errors
from miniclaw.session.disk.sync import sync_directory
from miniclaw.session.entries import ProblemFile, StoredSession, always
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.places import Voided, capture, forget_capture
from miniclaw.session.files.stranded import WORK_NAME
from miniclaw.session.removal.put_back import put_back
from miniclaw.session.removal.staging import StagingArea
from miniclaw.session.trash.entries import Prepared
from miniclaw.session.trash.trash import Trash
from miniclaw.session.types import SessionHeader

Consent: TypeAlias = Callable[[Sequence[SessionHeader]], Sequence[bool]]
"""Called once for each batch, with the captured headers (maybe none); returns True for each that may be removed."""

RemovalOutcome: TypeAlias = Literal[
    "removed", "unsynced", "kept", "active", "kept_by_hook", "vanished", "unreadable", "corrupt", "failed",
    "unanswered", "pending",
]  # fmt: skip
"""The outcome of removing one session.

``removed``: deleted or in the trash, durably. ``unsynced``: removed, but a power cut may undo that. ``kept``: consent
was refused after the capture. ``active``: memory showed it to be in use before any file was touched. ``kept_by_hook``:
the program's `before_remove` keeps it, for `Removal.reason`. ``vanished``: the file no longer existed. ``unreadable``,
``corrupt``: the captured file could not be verified. ``failed``: the system refused; `Removal.reason` gives the error
and the file's location. ``unanswered``: the disk took too long, and the removal was called off before any change.
``pending``: the disk takes too long; the outcome is reported later.
"""


class Removal(Struct, frozen=True):
    """The outcome of removing one session, with its details.

    Attributes:
        key: The name of its file.
        outcome: See `RemovalOutcome`.
        bytes_freed: Bytes freed on the disk; 0 unless removed, and 0 for a file that has another hard link. Negative if
            the entry in the trash is larger than the file.
        header: The header as captured, if it could be read.
        reason: A sentence, if there is something to report; else empty.
        entry_id: The id of its entry in the trash, if it has one; else empty.
        size: Bytes of the file that was removed.
    """

    key: str
    outcome: RemovalOutcome
    bytes_freed: int = 0
    header: SessionHeader | None = None
    reason: str = ""
    entry_id: str = ""
    size: int = 0


class TrashOrder(Struct, frozen=True):
    """The sessions of a batch that are moved to the trash, and the facts for their entries.

    Attributes:
        reasons: Key -> the reason of its removal. Sessions of other keys are deleted for good.
        by: The actor of the removal.
        now: Time of the removal, aware.
        keep_for: How long the entries are kept.
    """

    reasons: Mapping[str, str]
    by: str
    now: datetime
    keep_for: timedelta


class TrashCopies:
    """The copies in the trash of those sessions or files of a batch that its order names.

    Attributes:
        prepared: Key -> its copy, prepared or committed.
    """

    def __init__(self, trash: Trash | None, order: TrashOrder | None) -> None:
        self._trash = trash
        self._order = order
        self.prepared: dict[str, Prepared] = {}

    def add(self, key: str, header: SessionHeader | None, *, dir_fd: int, from_quarantine: bool = False) -> None:
        """Copy a file, if the order names it; arguments and errors as for `Trash.prepare`."""
        order = self._order
        if self._trash is not None and order is not None and key in order.reasons:
            self.prepared[key] = self._trash.prepare(
                key, header, dir_fd=dir_fd, reason=order.reasons[key],
                by=order.by, now=order.now, keep_for=order.keep_for, from_quarantine=from_quarantine,
            )  # fmt: skip

    def commit(self) -> None:
        """Turn the copies into entries; raises as `Trash.commit`."""
        if self._trash is not None:
            self._trash.commit(list(self.prepared.values()))

    def abandon(self, keys: Iterable[str]) -> None:
        """Withdraw the copies of files that are kept."""
        copies = [copy for key in keys if (copy := self.prepared.pop(key, None)) is not None]
        if self._trash is not None:
            self._trash.abandon(copies)


def remove_batch(
    directory: SessionDirectory,
    keys: Sequence[str],
    consent: Consent,
    *,
    trash: Trash | None = None,
    order: TrashOrder | None = None,
    without_file: Callable[[], bool] = lambda: False,
) -> list[Removal]:
    """Remove sessions, each verified after it was moved aside.

    Args:
        directory: Owned by this process.
        keys: File names; the caller holds the lock of each session.
        consent: May block. An exception from it counts as refusal, and is raised after all sessions were put back.
        trash: Receives copies of the sessions in `order`. A session that cannot be copied is kept.
        order: None: no session is moved to the trash.
        without_file: Called after the consent; true: sessions that have no file are removed as well, from the journal.

    Returns:
        One removal for each key, in their order. A session that only the journal had counts as vanished.

    Raises:
        StoreIOError: The batch could not be begun; nothing was moved.
    """
    if not keys:
        return []
    with StagingArea(directory).taken() as (folder, fd):
        return _Batch(directory, folder, fd, TrashCopies(trash, order)).run(keys, consent, without_file)


def remove_checked(directory: SessionDirectory, key: str, is_expected: Callable[[bytes], bool]) -> Removal:
    """Remove one session for good, if its captured file has the expected content.

    Args:
        directory: As for `remove_batch`.
        key: Likewise.
        is_expected: The consent, by the content of the file; not called for a file that holds no session. May block.

    Raises:
        StoreIOError: The removal could not be begun, or the captured file could not be read; it was put back.
    """
    path = directory.path / key
    with StagingArea(directory).taken() as (folder, fd):

        def consent(headers: Sequence[SessionHeader]) -> list[bool]:
            if not headers:
                return []
            with store_errors(path, "read"), opened(directory.fs, key, READ_FLAGS, dir_fd=fd) as file:
                return [is_expected(read_whole(directory.fs, file))]

        (removal,) = _Batch(directory, folder, fd, TrashCopies(None, None)).run([key], consent)
    return removal


class _Batch:
    def __init__(self, directory: SessionDirectory, folder: str, fd: int, copies: TrashCopies) -> None:
        self._directory = directory
        self._fs = directory.fs
        self._fd = fd
        self._folder = folder
        self._path = directory.path / WORK_NAME / folder
        self._put_back: list[str] = []  # are in their places again; their captured names still exist
        self._copies = copies  # prepared, then committed for the sessions to be removed
        self._refused: dict[str, str] = {}  # key -> why it cannot be copied to the trash; it is kept
        self._astray: set[str] = set()  # to be kept, but not in their places; maybe still captured

    def run(
        self, keys: Sequence[str], consent: Consent, without_file: Callable[[], bool] = lambda: False
    ) -> list[Removal]:
        captured = {key: self._capture(key) for key in keys}
        sound = {key: row for key, row in captured.items() if isinstance(row, StoredSession) and self._copy(row)}
        verdicts: Sequence[bool] = [False] * len(sound)
        try:
            verdicts = consent([row.header for row in sound.values()])
        finally:
            going = self._commit([key for key, verdict in zip(sound, verdicts, strict=True) if verdict])
            results = {key: self._keep(key, row) for key, row in captured.items() if key not in going}
            missing = [key for key, row in captured.items() if isinstance(row, Removal) and row.outcome == "vanished"]
            results |= self._discard({key: sound[key] for key in going}, missing if without_file() else [])
            self._remember(captured)
            self._copies.abandon([key for key in going if results[key].outcome == "failed" and key not in self._astray])
        return [results[key] for key in keys]

    def _copy(self, row: StoredSession) -> bool:
        """Copy a session to the trash, if ordered; return whether it may be removed.

        The copy is made before consent is asked, because it takes a while, and nothing may come between consent and
        unlinking.
        """
        try:
            self._copies.add(row.key, row.header, dir_fd=self._fd)
        except StoreError as error:
            self._refused[row.key] = str(error)
        return row.key not in self._refused

    def _commit(self, going: list[str]) -> list[str]:
        """Commit the copies of the sessions with consent; return the keys that may really be removed."""
        self._copies.abandon([key for key in self._copies.prepared if key not in going])
        try:
            self._copies.commit()
        except StoreError as error:
            self._refused |= dict.fromkeys(self._copies.prepared, str(error))
            self._copies.prepared.clear()
        return [key for key in going if key not in self._refused]

    def _capture(self, key: str) -> StoredSession | ProblemFile | Removal:
        try:
            StagingArea(self._directory).settle(key)
        except (OSError, StoreError) as error:
            return Removal(key, "failed", reason=f"an earlier removal of it is unfinished: {error}")
        if self._leads_to_another(key):
            return Removal(key, "vanished")
        try:
            capture(self._directory, key, dir_fd=self._fd)
        except FileNotFoundError:
            return Removal(key, "vanished")
        except OSError as error:
            return Removal(key, "failed", reason=f"could not move it aside: {error.strerror}")
        row = self._directory.read_row(key, dir_fd=self._fd, verify=always)
        return row or Removal(key, "vanished")

    def _leads_to_another(self, key: str) -> bool:
        """Return whether the key would capture another session's file, which has another name.

        Putting that file back would give it this name.
        """
        if not self._directory.ignores_case and key.isascii():
            return False
        # An ASCII name that fits the session in the file needs no listing of the directory.
        row = self._directory.read_row(key) if key.isascii() else None
        return not isinstance(row, StoredSession) and self._directory.is_spelled(key) is False

    def _keep(self, key: str, row: StoredSession | ProblemFile | Removal) -> Removal:
        if isinstance(row, Removal):
            return row
        try:
            put_back(self._directory, key, dir_fd=self._fd)
        except (OSError, StoreError) as error:
            where = self._path / key
            return Removal(key, "failed", reason=f"could not put it back, it is at {where}: {error}")
        self._put_back.append(key)
        if isinstance(row, ProblemFile) and row.kind == "mismatched" and names.own_name_of_bare(key) is not None:
            return Removal(key, "vanished")  # an earlier name counts only for a file with the session in it
        if key in self._refused:
            return Removal(key, "failed", reason=self._refused[key])
        if isinstance(row, StoredSession):
            return Removal(key, "kept", header=row.header)
        return Removal(key, "corrupt" if row.kind == "corrupt" else "unreadable", reason=row.reason)

    def _discard(self, going: dict[str, StoredSession], missing: Sequence[str]) -> dict[str, Removal]:
        """Unlink the sessions that may be removed, and the captured names of those that were put back.

        The records of all of them in the journal count no more before that, and likewise those of the missing ones.
        """
        try:
            # Without the sync, a kept session's new link may be lost: its captured name must not be unlinked.
            sync_directory(self._fs, self._directory.fd)
        except OSError as error:
            return {key: self._failed(key, going.get(key), error) for key in [*going, *missing]}
        try:
            voided = Voided(self._directory, [*going, *missing])
        except StoreError as error:
            results = {key: self._failed(key, going.get(key), error) for key in [*going, *missing]}
            self._put_back += [key for key in going if key not in self._astray]
            with suppress(OSError):
                sync_directory(self._fs, self._directory.fd)
                self._forget_put_back()
            return results
        results = {}
        for key, row in going.items():
            try:
                links = self._fs.stat(key, dir_fd=self._fd).st_nlink
                voided.discard(key, dir_fd=self._fd)
            except OSError as error:
                results[key] = self._failed(key, row, error)
            else:
                results[key] = self._removed(key, row, is_last_link=links == 1)
        self._forget_put_back()
        try:
            sync_directory(self._fs, self._fd)
        except OSError as error:
            reason = f"removed, but a power cut may bring it back: {error.strerror}"
            results = {
                key: replace(removal, outcome="unsynced", bytes_freed=0, reason=reason)
                if removal.outcome == "removed"
                else removal
                for key, removal in results.items()
            }
        return results

    def _forget_put_back(self) -> None:
        for key in self._put_back:
            with suppress(OSError):
                forget_capture(self._directory, key, dir_fd=self._fd)

    def _removed(self, key: str, row: StoredSession, *, is_last_link: bool) -> Removal:
        freed, entry_id = row.size if is_last_link else 0, ""
        if copy := self._copies.prepared.get(key):
            freed, entry_id = freed - copy.stored_size, copy.entry_id
        return Removal(key, "removed", freed, row.header, entry_id=entry_id, size=row.size)

    def _failed(self, key: str, row: StoredSession | None, error: OSError | StoreError) -> Removal:
        """Put a session back that cannot be removed; None: it has no file."""
        reason = f"could not remove it: {error.strerror if isinstance(error, OSError) else error}"
        if row is None:
            return Removal(key, "failed", reason=reason)
        try:
            put_back(self._directory, key, dir_fd=self._fd)
        except (OSError, StoreError) as again:
            reason += f"; could not put it back, it is at {self._path / key}: {again}"
            self._astray.add(key)
            if copy := self._copies.prepared.get(key):
                reason += f"; a copy is in the trash, as {copy.entry_id}"
        return Removal(key, "failed", header=row.header, reason=reason)

    def _remember(self, captured: dict[str, StoredSession | ProblemFile | Removal]) -> None:
        """Record the sessions that are still captured.

        Without the record, a later removal of the same session would miss the captured file, and the next start would
        put it back.
        """
        for key, row in captured.items():
            if isinstance(row, Removal):
                continue
            try:
                self._fs.stat(key, dir_fd=self._fd)
            except FileNotFoundError:
                continue
            except OSError:
                pass  # unknown: it counts as captured until the next check
            self._directory.captured[key] = self._folder
