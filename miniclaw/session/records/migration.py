"""Moving in the state and the trash that earlier versions kept outside of the sessions directory.

The owner does it at its start, before anything reads state or trash. The rules:

* At any moment a file is whole in its old place or in its new one, or in both. The next start completes an interrupted
  move, with the same outcome.
* On one file system a file is renamed. Across file systems it is copied to a temporary name, synced, read back and
  compared, and renamed; the original is deleted once the new name is on the disk.
* Nothing is overwritten. A trash entry whose name is taken by another entry gets a name of its own. Two histories are
  merged by time, each line once. A ledger is only a cache: the one in the new place is kept. The other state of the
  services is dropped: the next run announces the sessions that it finds due.
* A file that cannot be moved is left in place; an ERROR names it, the rest is moved, and the next start tries again.
* Foreign files are left in place, and no link is followed. A folder that is empty afterwards is deleted.

Entries of the trash do not name the sessions directory from which they were removed. From a folder that several
directories may have shared, only those entries are moved that this directory's history records as removed here. An
entry left behind can be moved by hand; a conversation disclosed to users of another directory cannot be taken back.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from datetime import datetime
from typing import Final

from msgspec import Struct, field

from miniclaw.errors import StoreError
from miniclaw.loggers import get_logger
from miniclaw.session.disk.atomic import unlink_quietly
from miniclaw.session.disk.folder_move import FolderMove
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.ledger import LEDGER_NAME
from miniclaw.session.files.subdirectory import STATE_NAME, TRASH_NAME, EarlierFolders, Folder
from miniclaw.session.records.history import HISTORY_NAME, merge_histories
from miniclaw.session.records.state import EARLIER_NAMES, LAST_SEEN_NAME, StateDirectory
from miniclaw.session.trash.folder import SUFFIX, entry_id_of, is_temporary
from miniclaw.session.trash.trash import Trash

BATCH_FILES: Final = 100
"""Files that are moved between two syncs of the folders."""

_NAMED_FILES: Final = 20  # most names in a line of the log

_REMOVALS: Final = frozenset({"cleanup", "interrupted", "deleted"})
"""The events of a history that name sessions which may be in the trash."""

_DROPPED: Final = (*EARLIER_NAMES, LAST_SEEN_NAME)
"""Files of the earlier state that are not needed: without them the next run announces the sessions it finds due."""

log: Final = get_logger("miniclaw.session.migration")


def is_ours(name: str, hidden_name: str) -> bool:
    """Return whether a file of this name in a folder of an earlier version belongs into this hidden folder."""
    if hidden_name == TRASH_NAME:
        return entry_id_of(name) is not None
    return name in _DROPPED or name in {HISTORY_NAME, LEDGER_NAME}


def holds_ours(folder: Folder, hidden_name: str) -> bool:
    """Return whether a folder of an earlier version holds a file that belongs into this hidden folder."""
    try:
        with folder.opened() as fd, folder.fs.scandir(fd) as entries:
            return any(is_ours(entry.name, hidden_name) for entry in entries)
    except OSError:
        return False  # the next owner reports it


def move_in(directory: SessionDirectory, earlier: EarlierFolders) -> None:
    """Move the content of earlier folders into the hidden folders of a sessions directory.

    It never fails: an ERROR in the log names the files that could not be moved.

    Args:
        directory: Owned by this process.
        earlier: The folders with the content; a missing folder counts as empty.

    Durability: as in the module's rules.
    """
    folders: dict[str, _EarlierFolder] = {}
    for path, hidden_name in ((earlier.state, STATE_NAME), (earlier.trash, TRASH_NAME)):
        if path is not None:
            folder = _EarlierFolder(directory, Folder(path, fs=directory.fs), earlier.may_be_shared)
            folders.setdefault(str(path), folder).files[hidden_name] = []
    for folder in folders.values():
        try:
            folder.empty()
        except (OSError, StoreError) as error:
            log.error(
                "Folder of an earlier version could not be moved in", path=str(folder.folder.path), error=str(error)
            )
    moved = {name: sum(folder.moved.get(name, 0) for folder in folders.values()) for name in (STATE_NAME, TRASH_NAME)}
    if any(moved.values()):
        (log.warning if earlier.may_be_shared else log.info)(
            "State and trash of an earlier version moved into the sessions directory",
            sessions_dir=str(directory.path),
            moved_from=[path for path, folder in folders.items() if any(folder.moved.values())],
            state_files=moved[STATE_NAME],
            trash_entries=moved[TRASH_NAME],
        )


class _EarlierFolder(Struct):
    """One folder of an earlier version, to be emptied into a sessions directory."""

    directory: SessionDirectory
    folder: Folder
    may_be_shared: bool  # as in `EarlierFolders`
    files: dict[str, list[str]] = field(default_factory=dict)  # hidden folder -> the files that belong there
    moved: dict[str, int] = field(default_factory=dict)  # hidden folder -> the number of files moved there

    def empty(self) -> None:
        """Move all files of ours, and delete the folder if it is empty then; an error leaves the rest unchanged."""
        if not self.folder.is_there():
            return  # it was emptied by an earlier start, or never made
        fs, path = self.directory.fs, self.folder.path
        with self.folder.opened() as fd:
            if any(_is_open_as(fs, fd, name, self.directory.fd) for name in self.files):
                return  # it is the new place already
            others = self._list(fd)
            if _is_open_as(fs, fd, ".", self.directory.fd):
                others = []  # the sessions, and the hidden folders
            if self.may_be_shared and self.files.get(TRASH_NAME):
                self._leave_others_entries()
            for hidden_name, names in self.files.items():
                if names:
                    self._move(fd, hidden_name, names)
        if others:
            log.info("Files of others stay in a folder of an earlier version", path=str(path), **_some(others))
        with suppress(OSError):  # not empty, or a mount point
            fs.rmdir(str(path))

    def _list(self, fd: int) -> list[str]:
        """List the files to be moved, and return the names of foreign ones."""
        fs = self.directory.fs
        with fs.scandir(fd) as entries:
            found = sorted((entry.name, entry.is_file(follow_symlinks=False)) for entry in entries)
        others: list[str] = []
        for name, is_file in found:
            hidden_name = next((hidden for hidden in self.files if is_file and is_ours(name, hidden)), None)
            if hidden_name is not None:
                self.files[hidden_name].append(name)
            elif not (is_file and is_temporary(name)):
                others.append(name)
            elif not self.may_be_shared:
                unlink_quietly(fs, name, dir_fd=fd)  # of a process that died; no other process can be writing it
        return others

    def _leave_others_entries(self) -> None:
        """Keep only those entries in the list that the history records as removed from this directory."""
        events, _ = StateDirectory.within(self.directory).history().read()
        removed: set[tuple[str | None, datetime | None]] = {
            (session.session_id, session.last_accessed)
            for event in events
            if event.event in _REMOVALS
            for session in event.sessions
        }
        entries = Trash(self.folder).entries()
        here = {entry.id + SUFFIX for entry in entries if (entry.session_id, entry.last_accessed) in removed}
        names = self.files[TRASH_NAME]
        self.files[TRASH_NAME] = [name for name in names if name in here]
        if staying := [name for name in names if name not in here]:
            log.warning(
                "Entries of the trash stay where they are; no history says that they were removed from this directory",
                path=str(self.folder.path),
                sessions_dir=str(self.directory.path),
                **_some(staying),
                what_to_do=f"move them into {self.directory.path / TRASH_NAME} if no other directory used this trash",
            )

    def _move(self, fd: int, hidden_name: str, names: list[str]) -> None:
        move_file = _move_entry if hidden_name == TRASH_NAME else _move_state
        with Folder.within(self.directory, hidden_name).made() as target:
            move = FolderMove(self.directory.fs, fd, target)
            try:
                for start in range(0, len(names), BATCH_FILES):
                    self.directory.check_owned()
                    for name in names[start : start + BATCH_FILES]:
                        try:
                            move_file(move, name)
                        except OSError as error:
                            move.failed[name] = error.strerror or str(error)
                    move.settle()
            finally:
                self.moved[hidden_name] = move.moved
                if move.failed:
                    log.error(
                        "Files of an earlier version could not be moved in; the next start tries again",
                        path=str(self.folder.path),
                        **_some(list(move.failed)),
                        error=next(iter(move.failed.values())),
                    )


def _move_entry(move: FolderMove, name: str) -> None:
    """Move an entry of the trash under its name or, if another entry has it, under one derived from its content."""
    new_name = name
    while move.is_taken(new_name):
        if move.is_copy(name, new_name):
            return move.drop(name, new_name)
        if new_name != name:
            raise FileExistsError(errno.EEXIST, "two other entries have the names that it could get")
        new_name = f"{name[: -len('00000000' + SUFFIX)]}{move.checksum(name):08x}{SUFFIX}"
    return move.put(name, new_name)


def _move_state(move: FolderMove, name: str) -> None:
    """Move a file of the services, merge it into the existing one, or drop it."""
    if name not in _DROPPED:
        if not move.is_taken(name):
            move.put(name, name)
            return
        if name == HISTORY_NAME:
            move.merge(name, merge_histories)
    move.drop(name)


def _some(names: list[str]) -> dict[str, object]:
    """Return the fields of a log line that names files."""
    return {"files": names[:_NAMED_FILES], "more": max(0, len(names) - _NAMED_FILES)}


def _is_open_as(fs: OsCalls, fd: int, name: str, dir_fd: int) -> bool:
    """Return whether a descriptor refers to the file or folder of this name in a folder."""
    try:
        return os.path.samestat(fs.fstat(fd), fs.stat(name, dir_fd=dir_fd))
    except FileNotFoundError:
        return False
