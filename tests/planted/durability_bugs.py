"""Planted bugs in saving: what is told to be saved is not, or not for long."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import (
    DIRECTORY,
    FILES,
    QUARANTINE,
    REMOVAL,
    REMOVING,
    RUNTIME,
    SAVER,
    SAVING,
    STAGING,
    Bug,
    Change,
    bug_of_one,
)

DURABILITY: Final = (
    bug_of_one(
        "no file sync", "a power cut leaves an empty session", FILES,
        "needs a new file, not a retry.\n            sync_file(fs, fd)\n", "needs a new file, not a retry.\n",
        "session/disk/test_durability_order.py",
    ),
    Bug(
        "named before synced", "a power cut leaves an empty session",
        (
            Change(
                FILES, "needs a new file, not a retry.\n            sync_file(fs, fd)\n", "needs a new file, not a retry.\n",
            ),
            Change(
                FILES, "            fs.rename(temporary, name, src_dir_fd=work_fd, dst_dir_fd=dir_fd)\n",
                "            fs.rename(temporary, name, src_dir_fd=work_fd, dst_dir_fd=dir_fd)\n"
                "            with opened(fs, name, READ_FLAGS, dir_fd=dir_fd) as fd:\n                fs.fsync(fd)\n",
            ),
        ),
        ("session/disk/test_durability_order.py",),
    ),
    bug_of_one(
        "no directory sync", "a power cut takes what counts as saved", DIRECTORY,
        '        with store_errors(self.path, "sync"):\n            sync_directory(self.fs, self.fd)',
        '        with store_errors(self.path, "sync"):\n            pass',
        "session/disk/test_durability_order.py",
    ),
    Bug(
        "synced before collected", "a power cut takes what another thread named during the sync",
        (
            Change(
                SAVING,
                "        renamed = []\n        while (file := _pop(self._renamed))",
                "        renamed = []\n        error = None\n        try:\n            self._directory.sync()\n"
                "        except StoreError as caught:\n            error = caught\n"
                "        while (file := _pop(self._renamed))",
            ),
            Change(
                SAVING,
                "            return  # another thread syncs them\n        error = None\n        try:\n"
                "            self._directory.sync()\n        except StoreError as caught:\n            error = caught\n",
                "            return  # another thread syncs them\n",
            ),
        ),
        ("session/disk/test_durability_order.py",),
    ),
    bug_of_one(
        "unlinked before synced", "a power cut takes a session that was kept", REMOVAL,
        "            sync_directory(self._fs, self._directory.fd)\n        except OSError as error:\n"
        "            return", "            pass\n        except OSError as error:\n            return",
        "session/disk/test_durability_order.py",
    ),
    bug_of_one(
        "captured into a folder that is not synced", "a power cut takes a session in the middle of a removal",
        STAGING,
        "                self._sync_names(work)\n            except", "                pass\n            except",
        "session/disk/test_durability_order.py",
    ),
    bug_of_one(
        "quarantine not synced", "a power cut takes the name of a damaged file out of both folders", QUARANTINE,
        "for fd in (folder, source_fd):", "for fd in (folder,):",
        "session/disk/test_durability_order.py",
    ),
    bug_of_one(
        "deletion that may be undone is put back into memory", "what was deleted is saved again", REMOVING,
        '        if bad is None or bad.outcome == "unsynced":\n', "        if bad is None:\n",
        "session/test_manager_removing.py",
    ),
    bug_of_one(
        "refused deletion counts as saved", "a session whose file is astray is lost when it leaves memory", REMOVING,
        "            entry.revision += 1\n", "",
        "session/test_manager_removing.py",
    ),
    bug_of_one(
        "removal not synced", "a power cut brings back what was reported as removed", REMOVAL,
        "        try:\n            sync_directory(self._fs, self._fd)", "        try:\n            pass",
        "session/disk/test_durability_order.py",
    ),
    bug_of_one(
        "short write believed", "a full disk tears a session", FILES,
        "    while view:\n        view = view[fs.write(fd, view) :]", "    fs.write(fd, view)",
        "session/files/test_directory.py",
    ),
    bug_of_one(
        "written in place", "a crash tears a session", DIRECTORY,
        "            status = replace_file(\n                self.fs, name, data, dir_fd=self.fd, work_fd=work,"
        " under_way=self.under_way, make_room=make_room\n            )  # fmt: skip\n",
        "            make_room()\n            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW\n"
        "            with opened(self.fs, name, flags, dir_fd=self.fd) as fd:\n"
        "                write_all(self.fs, fd, data)\n                self.fs.fsync(fd)\n"
        "                status = self.fs.fstat(fd)\n",
        "session/files/test_directory.py",
    ),
    bug_of_one(
        "one temporary name", "two saves at once fail or mix", FILES,
        "temporary = TEMPORARY_PREFIX + os.urandom(8).hex()", 'temporary = TEMPORARY_PREFIX + "session"',
        "session/live/test_store.py",
    ),
    bug_of_one(
        "temporary file left on failure", "a full disk stays full", FILES,
        "        unlink_quietly(fs, name, dir_fd=dir_fd)\n", "        pass\n",
        "session/files/test_directory.py",
    ),
    bug_of_one(
        "temporary files not swept", "each crash costs disk space for ever", STAGING,
        "                    unlink_quietly(fs, name, dir_fd=work)\n", "",
        "session/removal/test_removal.py",
    ),
    bug_of_one(
        "ENOSPC swallowed", "a full disk loses what counts as saved", SAVING,
        "            except StoreError as error:\n                self._settle([SaveOutcome(session, error)])\n",
        "            except StoreError as error:\n"
        '                self._settle([SaveOutcome(session, None if getattr(error, "errno", 0) == 28 else error)])\n',
        "session/live/test_store.py",
    ),
    bug_of_one(
        "failed save counts as saved", "an error of the disk loses a message", SAVER,
        "                log_failed_save(session_id, error)\n",
        "                log_failed_save(session_id, error)\n"
        "                saving[session_id][0].saved_revision = saving[session_id][1]\n",
        "session/test_manager_memory.py",
    ),
    bug_of_one(
        "newest revision counts as saved", "what is said during a save is lost", SAVER,
        "                entry.saved(revision, 0 if", "                entry.saved(entry.revision, 0 if",
        "session/test_manager.py",
    ),
    bug_of_one(
        "no flush at the end", "shutdown loses half a minute", RUNTIME,
        "            await manager.saver.flush()\n            await runtime.time", "            await runtime.time",
        "session/test_runtime.py",
    ),
)  # fmt: skip
