"""Removing session files, synchronously: rename aside, verify what was captured, then unlink or put back.

A removal that first looks and then unlinks can hit a newer file than the one it looked at. Here the file is first
renamed into a folder of the batch, where no save reaches it, and what is read there is what will be removed. Between
the reading and the unlinking the owner of the memory state is asked for its consent, and forgets the session in the
same step. What turns out to be in use is put back with a link, which cannot overwrite a newer file.

Order on the disk, so that a power cut at any point leaves every kept session in its place or in the work folder, from
which `recover` puts it back: rename aside · link back what is kept · sync the sessions directory · unlink · sync the
folder. A session counts as removed only after the last step.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from miniclaw.errors import SessionFileError, StoreError
from miniclaw.session.directory import WORK_NAME, SessionDirectory, log
from miniclaw.session.files import (
    DIRECTORY_FLAGS,
    READ_FLAGS,
    TEMPORARY_PREFIX,
    create_exclusively,
    opened,
    read_rest,
    store_errors,
    unlink_quietly,
)
from miniclaw.session.rows import ProblemFile, StoredSession
from miniclaw.session.types import SessionHeader
from miniclaw.session.work_folders import BATCH_PREFIX, WorkFolders

# link() on file systems without hard links (FAT, exFAT, some network ones), or at the limit of links
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})

Consent: TypeAlias = Callable[[Sequence[SessionHeader]], Sequence[bool]]
"""Asked once for each batch, with the headers as captured (maybe none); answers which may go."""

RemovalOutcome: TypeAlias = Literal[
    "removed", "unsynced", "kept", "active", "vanished", "unreadable", "corrupt", "failed"
]
"""What became of one session of a removal.

``removed``: gone, durably. ``unsynced``: gone, but a power cut may bring it back. ``kept``: consent was refused after
the capture. ``active``: memory knew it to be in use before any file was touched. ``vanished``: there was no such file
any more. ``unreadable``, ``corrupt``: what was captured could not be verified. ``failed``: the system refused;
`Removal.reason` says what and where the file is.
"""


class Removal(Struct, frozen=True):
    """What became of one session of a removal.

    Attributes:
        key: The store's name for it.
        outcome: See `RemovalOutcome`.
        bytes_freed: What the disk got back; 0 unless removed, and 0 for a file that has another hard link.
        header: As it was captured, where it could be read.
        reason: A sentence, where there is something to tell.
    """

    key: str
    outcome: RemovalOutcome
    bytes_freed: int = 0
    header: SessionHeader | None = None
    reason: str = ""


class Recovery(Struct, frozen=True):
    """What `recover` found that an earlier process had left behind."""

    put_back: int = 0
    temporary: int = 0


def remove_batch(directory: SessionDirectory, keys: Sequence[str], consent: Consent) -> list[Removal]:
    """Remove sessions, each verified after it was moved aside.

    Args:
        directory: Owned by this process.
        keys: File names; the caller holds the lock of each session.
        consent: May block; an exception from it counts as refusal and is raised after all was put back.

    Returns:
        One removal for each key, in their order.

    Raises:
        StoreIOError: The batch could not be begun; nothing was moved.
    """
    if not keys:
        return []
    with WorkFolders(directory).taken() as (folder, fd):
        return _Batch(directory, folder, fd).run(keys, consent)


class _Batch:
    def __init__(self, directory: SessionDirectory, folder: str, fd: int) -> None:
        self._directory = directory
        self._fs = directory.fs
        self._fd = fd
        self._folder = folder
        self._path = directory.path / WORK_NAME / folder
        self._put_back: list[str] = []  # have their places again; the captured names are still there

    def run(self, keys: Sequence[str], consent: Consent) -> list[Removal]:
        captured = {key: self._capture(key) for key in keys}
        sound = {key: row for key, row in captured.items() if isinstance(row, StoredSession)}
        verdicts: Sequence[bool] = [False] * len(sound)
        try:
            verdicts = consent([row.header for row in sound.values()])
        finally:
            going = {key for key, verdict in zip(sound, verdicts, strict=True) if verdict}
            results = {key: self._keep(key, row) for key, row in captured.items() if key not in going}
            results |= self._discard({key: sound[key] for key in going})
            self._remember(captured)
        return [results[key] for key in keys]

    def _capture(self, key: str) -> StoredSession | ProblemFile | Removal:
        try:
            _settle_captured(self._directory, key)
        except (OSError, StoreError) as error:
            return Removal(key, "failed", reason=f"an earlier removal of it is unfinished: {error}")
        try:
            self._fs.rename(key, key, src_dir_fd=self._directory.fd, dst_dir_fd=self._fd)
        except FileNotFoundError:
            return Removal(key, "vanished")
        except OSError as error:
            return Removal(key, "failed", reason=f"could not move it aside: {error.strerror}")
        row = self._directory.read_row(key, dir_fd=self._fd, verify=_always)
        return row or Removal(key, "vanished")

    def _keep(self, key: str, row: StoredSession | ProblemFile | Removal) -> Removal:
        if isinstance(row, Removal):
            return row
        try:
            put_back(self._directory, key, dir_fd=self._fd)
        except (OSError, StoreError) as error:
            where = self._path / key
            return Removal(key, "failed", reason=f"could not put it back, it lies at {where}: {error}")
        self._put_back.append(key)
        if isinstance(row, StoredSession):
            return Removal(key, "kept", header=row.header)
        return Removal(key, "corrupt" if row.kind == "corrupt" else "unreadable", reason=row.reason)

    def _discard(self, going: dict[str, StoredSession]) -> dict[str, Removal]:
        """Unlink what may go, and the second names of what was put back."""
        try:
            self._fs.fsync(self._directory.fd)
        except OSError as error:
            # Without it, a kept session's new link may not be on the disk: its captured name must stay.
            return {key: self._failed(key, row, error) for key, row in going.items()}
        results = {}
        for key, row in going.items():
            try:
                links = self._fs.stat(key, dir_fd=self._fd).st_nlink
                self._fs.unlink(key, dir_fd=self._fd)
            except OSError as error:
                results[key] = self._failed(key, row, error)
            else:
                freed = row.size if links == 1 else 0
                results[key] = Removal(key, "removed", freed, row.header)
        for key in self._put_back:
            unlink_quietly(self._fs, key, dir_fd=self._fd)
        try:
            self._fs.fsync(self._fd)
        except OSError as error:
            reason = f"removed, but a power cut may bring it back: {error.strerror}"
            results = {
                key: Removal(key, "unsynced", header=removal.header, reason=reason)
                if removal.outcome == "removed"
                else removal
                for key, removal in results.items()
            }
        return results

    def _failed(self, key: str, row: StoredSession, error: OSError) -> Removal:
        reason = f"could not remove it: {error.strerror}"
        try:
            put_back(self._directory, key, dir_fd=self._fd)
        except (OSError, StoreError) as again:
            reason += f"; could not put it back, it lies at {self._path / key}: {again}"
        return Removal(key, "failed", header=row.header, reason=reason)

    def _remember(self, captured: dict[str, StoredSession | ProblemFile | Removal]) -> None:
        """Note what stays captured: a later removal of the same session would not be one, it would come back."""
        for key, row in captured.items():
            if isinstance(row, Removal):
                continue
            try:
                self._fs.stat(key, dir_fd=self._fd)
            except FileNotFoundError:
                continue
            except OSError:
                pass  # not known: it counts as there until somebody has looked
            self._directory.captured[key] = self._folder


def put_back(directory: SessionDirectory, name: str, *, dir_fd: int) -> None:
    """Give a captured file its place again, without overwriting what may stand there by now.

    Afterwards the captured name, if it is still there, is for the caller to unlink, once the sessions directory is
    synced.

    Where another file stands in the place, the one that can be read as a session keeps it (the one in place, if both
    can), and the other goes into quarantine: nothing is lost.

    Raises:
        OSError: It is still captured.
        StoreError: It is still captured.
    """
    if _same_file(directory, name, dir_fd=dir_fd):
        return
    try:
        _link_back(directory, name, dir_fd=dir_fd)
    except FileExistsError:
        in_place = directory.read_row(name, verify=_always)
        if isinstance(in_place, ProblemFile) and in_place.kind == "unreadable":
            raise SessionFileError(directory.path / name, in_place.reason) from None
        if isinstance(in_place, StoredSession):
            kept = directory.quarantine(name, dir_fd=dir_fd)
        else:
            kept = directory.quarantine(name)
            _link_back(directory, name, dir_fd=dir_fd)
        log.error("Two files for one session; one is in quarantine", path=str(directory.path / name), kept=str(kept))


def _always(_: SessionHeader) -> bool:
    return True


def _settle_captured(directory: SessionDirectory, name: str) -> None:
    """Put back what an earlier removal has left captured of a session, and unlink its second name."""
    folder = directory.captured.get(name)
    if folder is None:
        return
    fs = directory.fs
    with opened(fs, folder, DIRECTORY_FLAGS, dir_fd=directory.work_fd) as fd:
        try:
            fs.stat(name, dir_fd=fd)
        except FileNotFoundError:
            pass
        else:
            put_back(directory, name, dir_fd=fd)
            fs.fsync(directory.fd)
            with suppress(FileNotFoundError):  # it went to quarantine
                fs.unlink(name, dir_fd=fd)
            fs.fsync(fd)
    del directory.captured[name]
    WorkFolders(directory).give_back(folder)


def _same_file(directory: SessionDirectory, name: str, *, dir_fd: int) -> bool:
    try:
        there = directory.fs.stat(name, dir_fd=directory.fd)
        here = directory.fs.stat(name, dir_fd=dir_fd)  # none where it went to quarantine
    except FileNotFoundError:
        return False
    return (there.st_ino, there.st_dev) == (here.st_ino, here.st_dev)


def _link_back(directory: SessionDirectory, name: str, *, dir_fd: int) -> None:
    fs = directory.fs
    if not stat.S_ISREG(fs.stat(name, dir_fd=dir_fd).st_mode):
        _rename_back(directory, name, dir_fd=dir_fd)
        return
    try:
        fs.link(name, name, src_dir_fd=dir_fd, dst_dir_fd=directory.fd)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with opened(fs, name, READ_FLAGS, dir_fd=dir_fd) as fd:
            data = read_rest(fs, fd)
        create_exclusively(fs, name, data, dir_fd=directory.fd)
        fs.fsync(directory.fd)
        fs.unlink(name, dir_fd=dir_fd)


def _rename_back(directory: SessionDirectory, name: str, *, dir_fd: int) -> None:
    """Put back what cannot be linked (a directory that took a file's place); rename would replace, so look first."""
    try:
        directory.fs.stat(name, dir_fd=directory.fd)
    except FileNotFoundError:
        directory.fs.rename(name, name, src_dir_fd=dir_fd, dst_dir_fd=directory.fd)
    else:
        raise FileExistsError(errno.EEXIST, "something else stands there", name)


def recover(directory: SessionDirectory) -> Recovery:
    """Resolve what a process that died has left in the work folder. Nothing of it has an owner alive.

    Temporary files were never anybody's session and go. Captured sessions are put back: an unfinished removal was
    reported to no one, and the next run decides anew.

    Raises:
        StoreIOError: The work folder cannot be read. What could not be put back is logged and stays there.
    """
    fs = directory.fs
    work = directory.path / WORK_NAME
    with store_errors(work, "list"), fs.scandir(directory.work_fd) as entries:
        found = [entry.name for entry in entries]
    empty: list[str] = []
    temporary = put = 0
    for name in found:
        if name.startswith(TEMPORARY_PREFIX):
            unlink_quietly(fs, name, dir_fd=directory.work_fd)
            temporary += 1
        elif name.startswith(BATCH_PREFIX):
            try:
                put += _recover_batch(directory, name)
                empty.append(name)
            except (OSError, StoreError) as error:
                log.error("Unfinished removal could not be resolved", path=str(work / name), error=str(error))
    WorkFolders(directory).keep_one_ready(empty)
    if temporary or put:
        log.warning("Resolved what an earlier process left", put_back=put, temporary=temporary, path=str(work))
    return Recovery(put, temporary)


def _recover_batch(directory: SessionDirectory, folder: str) -> int:
    fs = directory.fs
    with opened(fs, folder, DIRECTORY_FLAGS, dir_fd=directory.work_fd) as fd:
        with fs.scandir(fd) as entries:
            names = [entry.name for entry in entries]
        if not names:
            return 0
        for name in names:
            put_back(directory, name, dir_fd=fd)
        fs.fsync(directory.fd)
        for name in names:
            unlink_quietly(fs, name, dir_fd=fd)
        fs.fsync(fd)
    return len(names)
