"""Planted bugs in moving in what earlier versions kept outside of the sessions directory."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import FOLDER_MOVE, LOOKING, MIGRATION, bug_of_one

_SYNC: Final = """        try:
            sync_directory(fs, self._target)
        except OSError as error:"""

MIGRATION_BUGS: Final = (
    bug_of_one(
        "original removed before the copy is synced", "a power cut takes an entry of the trash on its way", FOLDER_MOVE,
        _SYNC, _SYNC.replace("sync_directory(fs, self._target)", "pass"),
        "session/records/test_migration.py",
    ),
    bug_of_one(
        "copy not compared", "what a bad disk has written replaces the original", FOLDER_MOVE,
        "        if not self._are_equal(old, new):\n            raise", "        if False:\n            raise",
        "session/records/test_migration.py",
    ),
    bug_of_one(
        "migration overwrites an entry", "an entry of the trash of the same name is lost", FOLDER_MOVE,
        "            return False\n        return True\n", "            return False\n        return False\n",
        "session/records/test_migration.py",
    ),
    bug_of_one(
        "copy kept where the original cannot be removed", "a restored session comes back into the trash", FOLDER_MOVE,
        "                    if copy:\n", "                    if False:\n",
        "session/records/test_migration.py",
    ),
    bug_of_one(
        "shared trash taken by the first", "conversations of one program are handed to another's users", MIGRATION,
        "            if self.may_be_shared and self.files.get(TRASH_NAME):\n", "            if False:\n",
        "session/records/test_earlier_folders.py",
    ),
    bug_of_one(
        "looking does not see the old places", "after an update trash and history look empty", LOOKING,
        "        if not folder.is_there():\n            return before\n", "",
        "cli/test_earlier_workspace.py",
    ),
)  # fmt: skip
