"""Planted bugs in owning the directory, in what is made again, and in what root makes."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import FILES, OWNABLE, OWNERSHIP, PATIENCE, Bug, Change, bug_of_one

OWNER_BUGS: Final = (
    bug_of_one(
        "no lock on the directory", "a second gateway starts when a script deletes .lock", OWNERSHIP,
        "                self._directory_lock = self._lock_directory()\n", "",
        "session/ownership/test_ownership.py::test_own_after_the_lock_file_was_deleted_is_refused",
    ),
    bug_of_one(
        "lock file not looked after", "two programs of different versions write the same sessions", OWNABLE,
        "None if self._ownership is None else self._ownership.check()", "None",
        "session/ownership/test_ownership.py",
    ),
    bug_of_one(
        "replaced lock not taken", "an earlier version starts beside the gateway", OWNERSHIP,
        "            is_ours = os.path.samestat(there, self._fs.fstat(self._file_lock))\n", "            is_ours = True\n",
        "session/ownership/test_ownership.py",
    ),
    bug_of_one(
        "lost owner writes on", "two programs overwrite each other's sessions", OWNERSHIP,
        "        if self._lost_to is not None:\n            raise", "        if False:\n            raise",
        "session/ownership/test_ownership_lost.py::test_lost_owner_changes_nothing",
    ),
    bug_of_one(
        "locks left to the last descriptor", "a child keeps the directory locked when its parent has ended", OWNERSHIP,
        "                self._fs.flock(fd, fcntl.LOCK_UN)\n", "                pass\n",
        "session/ownership/test_ownership.py::test_close_unlocks_also_where_somebody_has_the_descriptors",
    ),
    bug_of_one(
        "unlocked by a child", "the end of a worker lets a second gateway in", OWNERSHIP,
        "        if self._process.is_this_one:\n", "        if True:\n",
        "session/ownership/test_ownership.py::test_close_in_a_forked_child_leaves_the_locks_to_its_parent",
    ),
    bug_of_one(
        "child keeps the locks", "workers of a killed program keep it from starting", OWNERSHIP,
        "os.register_at_fork(after_in_child=_drop_all_in_child)\n", "",
        "session/ownership/test_ownership.py::test_child_that_was_forked_holds_nothing_when_its_parent_is_killed",
    ),
    bug_of_one(
        "stopping owner not waited for", "each restart that overlaps the old one's end fails", PATIENCE,
        "            if not error.stopping or ", "            if True or ",
        "session/ownership/test_owner_stopping.py",
    ),
    bug_of_one(
        "root keeps what it makes", "one command as root, and the person can never write again", FILES,
        "            fs.fchown(fd, folder.st_uid, folder.st_gid)\n", "            pass\n",
        "session/disk/test_files_of_root.py",
    ),
    bug_of_one(
        "root gives away what was there", "a link in the workspace makes a person the owner of root's files", FILES,
        "    with suppress(FileNotFoundError):\n        return fs.open(name, flags, PRIVATE_FILE, dir_fd=dir_fd)\n",
        "    with suppress(FileNotFoundError):\n        fd = fs.open(name, flags, PRIVATE_FILE, dir_fd=dir_fd)\n"
        "        give_to_owner(fs, fd, dir_fd=dir_fd)\n        return fd\n",
        "session/disk/test_files_of_root.py::test_what_was_there_is_never_given_away",
    ),
    Bug(
        "work folder not made again", "nothing can be saved until a restart",
        (
            Change(OWNABLE, "        with self.work(), store_errors(", "        with self._work.made(), store_errors("),
            Change(OWNABLE, "        return self._work.made(durable=False)\n", "        return self._work.opened()\n"),
        ),
        ("session/disk/test_durability_order.py::test_save_and_removal_go_on_when_the_work_folder_was_deleted",),
    ),
)  # fmt: skip
