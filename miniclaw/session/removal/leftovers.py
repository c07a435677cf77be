"""Leftovers: files of ours that are no sessions in their places, found and removed. Synchronous, for threads.

`miniclaw.session.entries.LeftoverKind` defines the kinds. A file belongs to a kind by its name *and*, except in
quarantine, by being a regular file; a file that matches no pattern is foreign, and never touched. Retention decides if
a leftover is old enough to be deleted (`miniclaw.session.retention`); this module only omits files that an earlier
implementation or a save may still be writing. Quarantine age is the timestamp in the file name; the file's own times
are the session's.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeAlias

from miniclaw.errors import SessionFileError, StoreError, StoreIOError
from miniclaw.loggers import get_logger
from miniclaw.session.disk.atomic import DIRECTORY_FLAGS, TEMPORARY_PREFIX, opened
from miniclaw.session.disk.directories import why_no_session_file
from miniclaw.session.disk.unlink import unlink_all, unlink_file
from miniclaw.session.entries import Leftover, LeftoverKind, LeftoverRemoval, ProblemFile, modified_at
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME, quarantine
from miniclaw.session.files.stranded import BATCH_PREFIX, WORK_NAME
from miniclaw.session.names import SUFFIX, is_channel, is_session_file, split_stamped
from miniclaw.session.removal.quarantine_files import is_quarantined, list_quarantined, read_header
from miniclaw.session.removal.quarantine_removal import NOT_OURS, leftover_of, remove_quarantined
from miniclaw.session.removal.transaction import TrashOrder
from miniclaw.session.trash.trash import Trash

TEMPORARY_AGE: Final = timedelta(hours=1)
"""Age beyond which a temporary file counts as orphaned, exclusive. A save takes less than that, or hangs."""

LEGACY_AGE: Final = timedelta(days=1)
"""Age beyond which an earlier implementation's file counts as left behind, exclusive."""

LEGACY_SUFFIXES: Final = (".tmp", ".corrupted")
"""Suffixes that an earlier implementation added to the name of a session's file."""

_TEMPORARY: Final = re.compile(re.escape(TEMPORARY_PREFIX) + "[0-9a-f]{16}")
_LEGACY: Final = tuple(SUFFIX + suffix for suffix in LEGACY_SUFFIXES)

Refused: TypeAlias = Callable[[SessionFileError], None]
"""Takes the error of a folder, or of a file in it, that cannot be examined; if it raises, the listing ends."""

log: Final = get_logger("miniclaw.session.leftovers")


def log_refused(error: SessionFileError) -> None:
    """Log the error as an ERROR."""
    log.error("Leftovers could not be listed", path=str(error.path), error=error.reason)


def list_leftovers(
    directory: SessionDirectory,
    *,
    now: datetime,
    trash: Trash | None,
    names: Iterable[str] | None = None,
    refused: Refused = log_refused,
) -> list[Leftover]:
    """Return all leftovers, in no order. The directory need not be owned.

    Args:
        directory: The sessions directory.
        now: The present, aware; the reference for the ages of temporary files and of an earlier implementation's files.
        trash: The trash, if there is one.
        names: Names in the sessions directory from a scan, which spare a second listing; None: the directory is listed.
        refused: Called for each folder or file that cannot be examined; the rest is listed nevertheless.
    """
    found: list[Leftover] = []
    try:
        found += [leftover_of(file) for file in list_quarantined(directory)]
    except SessionFileError as error:
        refused(error)
    for name, status in _look(directory, [WORK_NAME], _is_temporary, refused=refused):
        if _is_old_file(status, now, TEMPORARY_AGE) and name not in directory.under_way:
            found.append(Leftover("temporary", name, status.st_size, modified_at(status)))
    found += _unfinished(directory, refused)
    found += list_legacy(directory, now=now, names=names, refused=refused)
    if trash is not None:
        try:
            found += trash.leftovers()
        except SessionFileError as error:
            refused(error)
    return found


def list_legacy(
    directory: SessionDirectory,
    *,
    now: datetime,
    names: Iterable[str] | None = None,
    age: timedelta = LEGACY_AGE,
    refused: Refused = log_refused,
) -> list[Leftover]:
    """Return the files of an earlier implementation that are older than `age`, exclusive; else as `list_leftovers`."""
    found: list[Leftover] = []
    for name, status in _look(directory, ["."], _is_legacy, names, refused=refused):
        if _is_old_file(status, now, age):
            header, _, _ = read_header(directory, name)
            found.append(Leftover("legacy", name, status.st_size, modified_at(status), header=header))
    return found


def session_file_of(leftover: Leftover) -> str | None:
    """Return the name of the session's file that a leftover was or was to become; None if its name does not show it.

    Of a name that was cut in quarantine, the result may be only a part.
    """
    if leftover.kind == "quarantined":
        split = split_stamped(leftover.key)
        return without_legacy_suffix(split[0] if split else leftover.key)
    return without_legacy_suffix(leftover.key) if leftover.kind == "legacy" else None


def without_legacy_suffix(name: str) -> str:
    """Return the name of the session's file that a file of an earlier implementation was to become."""
    for suffix in LEGACY_SUFFIXES:
        if name.endswith(SUFFIX + suffix):
            return name.removesuffix(suffix)
    return name


def list_foreign(directory: SessionDirectory, trash: Trash | None) -> list[ProblemFile]:
    """Return the entries of quarantine and trash that are not ours, for an administrator to examine.

    The key of each is its folder's name, a slash and its own name.
    """
    found: list[ProblemFile] = []
    for name, _ in _look(directory, [QUARANTINE_NAME], lambda name: not is_quarantined(name)):
        problem = "its name is not that of a file in quarantine, which ends in .TIME-RANDOM"
        found.append(ProblemFile(f"{QUARANTINE_NAME}/{name}", "foreign", problem))
    if trash is not None:
        try:
            found += [ProblemFile(f"{trash.path.name}/{row.key}", row.kind, row.reason) for row in trash.foreign()]
        except SessionFileError as error:
            log_refused(error)
    return found


def remove_leftovers(
    directory: SessionDirectory,
    leftovers: Sequence[Leftover],
    *,
    trash: Trash | None,
    order: TrashOrder | None = None,
) -> list[LeftoverRemoval]:
    """Remove leftovers, each after a final check of its name and type.

    Files of an earlier implementation are moved to quarantine. Unfinished removals are refused: the next removal of the
    session, or the next start, puts it back.

    Args:
        directory: Owned by this process.
        leftovers: The leftovers, as they were listed.
        trash: The trash, if there is one.
        order: The files in quarantine that are moved to the trash; None: there are none.

    Returns:
        One removal for each, in their order. Refusals by the system are reported there, not raised.

    Raises:
        OwnershipLostError, ForkedRuntimeError: As `SessionDirectory.check_owned`; nothing was removed.
    """
    directory.check_owned()
    places: dict[LeftoverKind, list[int]] = {}
    for place, leftover in enumerate(leftovers):
        places.setdefault(leftover.kind, []).append(place)
    results: dict[int, LeftoverRemoval] = {}
    for kind, at in places.items():
        group = [leftovers[place] for place in at]
        if kind == "quarantined":
            removals = remove_quarantined(directory, group, trash=trash, order=order)
        elif kind == "temporary":
            removals = _unlink_temporary(directory, group)
        elif kind == "legacy":
            removals = [_move(directory, leftover) for leftover in group]
        elif kind == "trash":
            removals = _empty(trash, group)
        else:
            reason = "the session is still captured; the next removal of it, or the next start, puts it back"
            removals = [LeftoverRemoval(leftover, "failed", reason=reason) for leftover in group]
        results.update(zip(at, removals, strict=True))
    return [results[place] for place in range(len(leftovers))]


def _unlink_temporary(directory: SessionDirectory, leftovers: list[Leftover]) -> list[LeftoverRemoval]:
    def unlink(folder: int, name: str) -> int:
        if not _is_temporary(name):
            raise StoreError(NOT_OURS)
        return unlink_file(directory.fs, name, dir_fd=folder)

    work = partial(opened, directory.fs, WORK_NAME, DIRECTORY_FLAGS, dir_fd=directory.fd)
    names = [leftover.key for leftover in leftovers]
    done = unlink_all(directory.fs, work, directory.path / WORK_NAME, names, unlink)
    return [LeftoverRemoval(leftover, *each) for leftover, each in zip(leftovers, done, strict=True)]


def _move(directory: SessionDirectory, leftover: Leftover) -> LeftoverRemoval:
    if not _is_legacy(leftover.key):
        return LeftoverRemoval(leftover, "failed", reason=NOT_OURS)
    try:
        status = directory.fs.stat(leftover.key, dir_fd=directory.fd)
        problem = why_no_session_file(status.st_mode)
        if problem is None and modified_at(status) != leftover.since:
            problem = "another program has changed it since"
        if problem is not None:
            return LeftoverRemoval(leftover, "failed", reason=problem)
        quarantine(directory, leftover.key)
    except FileNotFoundError:
        return LeftoverRemoval(leftover, "vanished")
    except OSError as error:
        return LeftoverRemoval(leftover, "failed", reason=f"could not look at it: {error.strerror}")
    except StoreError as error:
        return LeftoverRemoval(leftover, "failed", reason=str(error))
    return LeftoverRemoval(leftover, "moved")


def _empty(trash: Trash | None, leftovers: list[Leftover]) -> list[LeftoverRemoval]:
    if trash is None:
        return [LeftoverRemoval(leftover, "failed", reason="there is no trash") for leftover in leftovers]
    removals = trash.remove([leftover.key for leftover in leftovers])
    return [
        LeftoverRemoval(leftover, removal.outcome, removal.bytes_freed, removal.reason)
        for leftover, removal in zip(leftovers, removals, strict=True)
    ]


# Looking ------------------------------------------------------------------------------------------------------


def _look(
    directory: SessionDirectory,
    folders: Sequence[str],
    is_wanted: Callable[[str], bool],
    names: Iterable[str] | None = None,
    *,
    refused: Refused = log_refused,
) -> list[tuple[str, os.stat_result]]:
    """Return the wanted names among `names`, or among all, each with its status; vanished ones are left out."""
    fs, path = directory.fs, directory.path.joinpath(*folders)
    found: list[tuple[str, os.stat_result]] = []
    try:
        with ExitStack() as resources:
            fd = directory.fd
            for folder in folders:  # one by one: none of them may be a link
                fd = resources.enter_context(opened(fs, folder, DIRECTORY_FLAGS, dir_fd=fd))
            if names is None:
                entries = resources.enter_context(fs.scandir(fd))
                names = (entry.name for entry in entries)
            for name in filter(is_wanted, names):
                with suppress(FileNotFoundError):
                    found.append((name, fs.stat(name, dir_fd=fd)))
    except FileNotFoundError:
        pass  # the folder was never needed
    except OSError as error:
        refused(StoreIOError(path, "list", error))
    return found


def _unfinished(directory: SessionDirectory, refused: Refused) -> Iterator[Leftover]:
    """Yield the sessions that earlier removals left captured, except those that count as sessions.

    If this process owns the directory, its record of captured sessions leaves out those of a removal under way. If the
    directory has no owner, the captured sessions are yielded whose places are taken by now. If another process owns it,
    none are yielded.
    """
    folders: dict[str, list[str]] = {}
    if directory.is_owned:
        for name, folder in list(directory.captured.items()):
            folders.setdefault(folder, []).append(name)
    elif (
        batches := _look(directory, [WORK_NAME], lambda name: name.startswith(BATCH_PREFIX), refused=refused)
    ) and directory.is_nobodys():
        stranded = directory.stranded()
        for folder, _ in batches:
            names = [name for name, _ in _look(directory, [WORK_NAME, folder], is_session_file, refused=refused)]
            folders[folder] = [name for name in names if stranded.get(name) != folder]
    for folder, captured in folders.items():
        for name, status in _look(directory, [WORK_NAME, folder], is_session_file, captured, refused=refused):
            # The captured name of a session that was already put back takes no space.
            size = status.st_size if status.st_nlink == 1 else 0
            yield Leftover("unfinished", f"{folder}/{name}", size, None)


def _is_temporary(name: str) -> bool:
    return _TEMPORARY.fullmatch(name) is not None


def _is_legacy(name: str) -> bool:
    channel, underscore, _ = name.partition("_")
    return name.endswith(_LEGACY) and bool(underscore) and is_channel(channel) and "/" not in name


def _is_old_file(status: os.stat_result, now: datetime, age: timedelta) -> bool:
    return stat.S_ISREG(status.st_mode) and now - modified_at(status) > age
