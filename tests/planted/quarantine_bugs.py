"""Planted bugs in what lies in quarantine: judged, removed, restored, and moved there by hand."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import (
    BUDGETS,
    LEFTOVER_RULES,
    QUARANTINE_ADMISSION,
    QUARANTINE_FILES,
    QUARANTINE_OPERATIONS,
    QUARANTINE_REMOVAL,
    RESTORE,
    TRASH_FOLDER,
    Bug,
    bug_of_one,
)

QUARANTINE_BUGS: Final[tuple[Bug, ...]] = (
    bug_of_one(
        "pins end in quarantine", "a pinned conversation is deleted for the bug that moved it aside", LEFTOVER_RULES,
        "(header is not None and header.pinned)", "False",
        "session/retention/test_plan_quarantine.py",
    ),
    bug_of_one(
        "what cannot be read expires", "an error of the disk deletes a session for good", LEFTOVER_RULES,
        "if not leftover.readable or", "if",
        "session/retention/test_plan_quarantine.py",
    ),
    bug_of_one(
        "quarantine by last use alone", "a session that was moved aside today goes today", LEFTOVER_RULES,
        "else min(age, used)", "else used",
        "session/retention/test_plan_quarantine.py",
    ),
    bug_of_one(
        "repaired file counts as announced", "who repairs a file loses it the next day", LEFTOVER_RULES,
        "    return identity(which, 2 * to_microseconds(leftover.header.last_accessed))\n", "    return which\n",
        "session/retention/test_plan_quarantine.py",
    ),
    bug_of_one(
        "quarantine goes unannounced", "evidence is deleted before anybody hears of it", LEFTOVER_RULES,
        "            if waits(leftover, policy, notice):\n                reason = None\n", "",
        "session/retention/test_plan_quarantine.py",
    ),
    bug_of_one(
        "sessions pay for a damaged file", "a large damaged file in the trash removes conversations", BUDGETS,
        ' if entry.kind == "trash" and not entry.from_quarantine)', ' if entry.kind == "trash")',
        "session/retention/test_plan_quarantine.py",
    ),
    bug_of_one(
        "damaged files last of the trash", "what can be undone goes before what is of no use", BUDGETS,
        "        need = self._take_damaged(least - free)\n", "        need = least - free\n",
        "session/retention/test_plan_quarantine.py",
    ),
    bug_of_one(
        "edited file removed", "what a person has just repaired is deleted", QUARANTINE_REMOVAL,
        "        if file is None or leftover_of(file) != leftover:\n", "        if file is None:\n",
        "session/removal/test_quarantine_removal.py",
    ),
    bug_of_one(
        "file unlinked that was changed just now", "an edit between copy and removal is lost", QUARANTINE_REMOVAL,
        "        if not is_same_file(status, self._judged[key]):\n", "        if False:\n",
        "session/removal/test_quarantine_removal.py",
    ),
    bug_of_one(
        "copies of files that stay kept", "a file is in quarantine and in the trash", QUARANTINE_REMOVAL,
        "for key in self._copies.prepared if key not in self._unlinked]", "for key in self._copies.prepared if False]",
        "session/removal/test_quarantine_removal.py",
    ),
    bug_of_one(
        "name of an entry too long", "a damaged file with a long name can never leave quarantine", TRASH_FOLDER,
        "file.encode()[: names.MAX_NAME_BYTES]", "file.encode()",
        "session/removal/test_quarantine_removal.py",
    ),
    bug_of_one(
        "quarantined file unlinked before the session is synced", "a power cut takes the session", RESTORE,
        '    _put_in_place(directory, session, now, still_in="quarantine")\n    try:\n'
        "        _remove_quarantined(directory, file_id, status)\n",
        '    try:\n        _remove_quarantined(directory, file_id, status)\n'
        '        _put_in_place(directory, session, now, still_in="quarantine")\n',
        "session/removal/test_restore_quarantined.py",
    ),
    bug_of_one(
        "newer content unlinked after a restore", "what was written there meanwhile is lost", RESTORE,
        "        if not is_same_file(fs.stat(file_id, dir_fd=folder), status):\n", "        if False:\n",
        "session/removal/test_restore_quarantined.py",
    ),
    bug_of_one(
        "captured file not judged again", "a session that was saved just now lies in quarantine", QUARANTINE_ADMISSION,
        "            _check(directory, name, dir_fd=fd)\n", "",
        "session/removal/test_quarantine_admission.py",
    ),
    bug_of_one(
        "unreadable file moved as damaged", "a sound session is moved aside for an error of the disk",
        QUARANTINE_ADMISSION,
        '    if row.kind == "unreadable" and', '    if row.kind == "" and',
        "session/removal/test_quarantine_admission.py",
    ),
    bug_of_one(
        "ids inside a file trusted", "a session is restored that cannot be loaded", QUARANTINE_FILES,
        "    if header is None or not names.agree(header.session_id, header.channel, header.chat_id):\n",
        "    if header is None:\n",
        "session/removal/test_quarantine_files.py",
    ),
    bug_of_one(
        "first of several files meant", "another file is deleted than was thought", QUARANTINE_FILES,
        "    if len(meant) > 1:\n", "    if False:\n",
        "session/removal/test_quarantine_files.py",
    ),
    bug_of_one(
        "beginning of a name meant", "another person's file is deleted than was named", QUARANTINE_FILES,
        "    if text in {file.file, printable(file.file)}:\n", "    if file.file.startswith(text):\n",
        "session/removal/test_quarantine_files.py",
    ),
    bug_of_one(
        "deletion from quarantine without a receipt", "nobody knows who deleted the evidence", QUARANTINE_OPERATIONS,
        '                    await self._tell_files("deleted",', '                    await self._tell_files("deleted", [] and',
        "session/operations/test_quarantine_operations.py",
    ),
)  # fmt: skip
