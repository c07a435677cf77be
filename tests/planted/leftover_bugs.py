"""Planted bugs in the trash, in restoring, in the history and in sweeping what is left over."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import (
    FREE_PLACE,
    HISTORY,
    LEFTOVERS,
    MOVER,
    PLACES,
    QUARANTINE_FILES,
    RELOCATION,
    RESTORE,
    TRASH,
    UNLINK,
    Bug,
    Change,
    bug_of_one,
)

_SYNC: Final = """    with store_errors(directory.path, f"sync; the session is in its place and in {still_in} as well"):
        sync_directory(directory.fs, directory.fd)
"""

LEFTOVER_BUGS: Final = (
    bug_of_one(
        "no sync of a copy in the trash", "a power cut leaves an empty entry, and no session", TRASH,
        "                    size += len(piece)\n                sync_file(self._fs, fd)\n",
        "                    size += len(piece)\n",
        "session/trash/test_trash.py",
    ),
    bug_of_one(
        "trash not synced", "a power cut takes entries whose sessions are gone", TRASH,
        "dst_dir_fd=folder)\n                sync_directory(self._fs, folder)\n", "dst_dir_fd=folder)\n",
        "session/trash/test_trash.py",
    ),
    bug_of_one(
        "half a batch committed", "sessions that stay are in the trash as well", TRASH,
        "            self.abandon(prepared)\n            raise\n", "            raise\n",
        "session/trash/test_trash.py",
    ),
    bug_of_one(
        "foreign files emptied", "emptying the trash removes what somebody has put there", TRASH,
        "        if split_entry_id(entry_id) is None:\n", "        if False:\n",
        "session/trash/test_trash_listing.py",
    ),
    bug_of_one(
        "links in the trash removed as entries", "emptying the trash removes what is no entry", UNLINK,
        "    if problem := why_no_session_file(status.st_mode):\n        raise StoreError(problem)\n", "",
        "session/trash/test_trash_listing.py",
    ),
    Bug(
        "restore overwrites", "a newer session is replaced by the one from the trash",
        (
            Change(
                PLACES, "        name_exclusively(fs, source, name, src_dir_fd=src_dir_fd, dst_dir_fd=fd)\n",
                "        fs.rename(source, name, src_dir_fd=src_dir_fd, dst_dir_fd=fd)\n",
            ),
        ),
        ("session/removal/test_restore.py",),
    ),
    bug_of_one(
        "restore keeps last_accessed", "a restored session is removed again by the next run", RESTORE,
        "    session.last_accessed = now.astimezone(UTC)\n", "",
        "session/removal/test_restore.py",
    ),
    bug_of_one(
        "entry removed before the session is synced", "a power cut takes the session and its entry", RESTORE,
        _SYNC, "",
        "session/removal/test_restore.py",
    ),
    bug_of_one(
        "restore looks under one name only", "two files for one session, the older one wins", FREE_PLACE,
        "    for name in names.file_names(session_id):\n", "    for name in names.file_names(session_id)[:1]:\n",
        "session/removal/test_restore.py",
    ),
    bug_of_one(
        "move removes what was not copied", "what another program has written meanwhile is lost", RELOCATION,
        "return _is_written(directory, codec.snapshot_session(captured, target_id))", "return True",
        "session/removal/test_move_window.py",
    ),
    bug_of_one(
        "moved session stays in memory", "the next autosave brings the old session back", MOVER,
        "            self._memory.drop(entry)\n", "            entry.leaving = False\n",
        "session/live/test_mover.py",
    ),
    bug_of_one(
        "move does not save first", "a message that was accepted is lost", MOVER,
        "if entry.dirty and not", "if False and not",
        "session/live/test_mover.py",
    ),
    bug_of_one(
        "history not synced", "a power cut takes the record of what was removed", HISTORY,
        "                    write_all(fs, fd, line)\n                    sync_file(fs, fd)\n",
        "                    write_all(fs, fd, line)\n",
        "session/records/test_history.py",
    ),
    bug_of_one(
        "history appends to a torn line", "a crash costs the next event as well", HISTORY,
        '                line = b"\\n" + line  #', "                pass  #",
        "session/records/test_history.py",
    ),
    bug_of_one(
        "quarantine ages by mtime", "evidence is deleted the day it is found", QUARANTINE_FILES,
        "QuarantinedFile(file_id, split[0], split[1],",
        "QuarantinedFile(file_id, split[0], split[1].fromtimestamp(status.st_mtime, split[1].tzinfo),",
        "session/removal/test_leftovers.py",
    ),
    bug_of_one(
        "old files of others deleted", "what an earlier implementation kept is beyond rescue", LEFTOVERS,
        "        quarantine(directory, leftover.key)\n",
        "        directory.fs.unlink(leftover.key, dir_fd=directory.fd)\n",
        "session/removal/test_leftovers.py",
    ),
    bug_of_one(
        "temporary files swept by age alone", "a clock that jumps makes a save fail", LEFTOVERS,
        " and name not in directory.under_way", "",
        "session/removal/test_leftovers.py",
    ),
)  # fmt: skip
