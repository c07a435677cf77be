"""Planted bugs where a session file leaves its place, or another one gets there: the journal has records of it."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import (
    ADOPTION,
    COMMITTER,
    ERASING,
    FREE_PLACE,
    JOURNAL,
    JOURNAL_ERASURE,
    ON_DISK,
    OPERATIONS,
    PLACES,
    PUTTING_BACK,
    QUARANTINE,
    QUARANTINE_ADMISSION,
    REMOVAL,
    REMOVING,
    SAVER,
    STORE,
    Bug,
    Change,
    bug_of_one,
)

_VOIDS: Final = "session/removal/test_voids.py"
_BESIDE: Final = "session/live/test_commit_beside.py"
_DELETED_BEFORE: Final = "test_changed_session_whose_records_are_deleted_before_its_commit_is_saved_and_deleted"
_RETURNS: Final = "a session that was removed returns after a crash"
_ERASURE: Final = "session/operations/test_erase_journal.py"
_KEEPS: Final = "an erasure that is told as complete leaves messages of the person"
_LOSES: Final = "a crash takes messages that were confirmed"

VOID_BUGS: Final = (
    Bug(
        "removal leaves the records", _RETURNS,
        (
            Change(REMOVAL, "voided = Voided(self._directory, [*going, *missing])", "Voided(self._directory, missing)"),
            Change(REMOVAL, "voided.discard(key, dir_fd=self._fd)", "self._fs.unlink(key, dir_fd=self._fd)"),
        ),
        (_VOIDS,),
    ),
    bug_of_one(
        "deletion leaves the records of a session without a file", _RETURNS, REMOVAL,
        "missing if without_file() else []", "[]",
        f"{_VOIDS}::test_deleted_session_that_only_the_journal_has_does_not_return",
    ),
    Bug(
        "restored or moved beside the records of an earlier life", "a restored session is mixed with an earlier one",
        (
            Change(FREE_PLACE, "            voided = Voided(directory, [name])\n", ""),
            Change(
                FREE_PLACE, "voided.put(temporary, name, src_dir_fd=work)",
                "name_exclusively(directory.fs, temporary, name, src_dir_fd=work, dst_dir_fd=directory.fd)",
            ),
        ),
        (f"{_VOIDS}::test_file_in_a_vacant_place_is_joined_by_no_record_of_an_earlier_life",),
    ),
    bug_of_one(
        "adopted beside the records of an earlier life", "a session is mixed with an earlier one", ADOPTION,
        "        if may_be_live:\n", "        if True:\n",
        f"{_VOIDS}::test_file_in_a_vacant_place_is_joined_by_no_record_of_an_earlier_life",
    ),
    bug_of_one(
        "a damaged file leaves its records", _RETURNS, QUARANTINE,
        "        if session_remains:\n", "        if True:\n",
        f"{_VOIDS}::test_session_begun_anew_in_the_place_of_a_damaged_file_stays_new",
    ),
    bug_of_one(
        "a damaged file takes the records that the start could put nowhere", _LOSES, STORE,
        "session_remains=is_kept", "session_remains=False",
        f"{_VOIDS}::test_records_that_the_start_could_put_nowhere_survive_the_damaged_file",
    ),
    bug_of_one(
        "a file moved aside by command leaves its records", _RETURNS, QUARANTINE_ADMISSION,
        "session_remains=is_live", "session_remains=True",
        f"{_VOIDS}::test_damaged_file_moved_aside_by_command_does_not_return",
    ),
    bug_of_one(
        "a file moved aside takes the records of a session in memory", _LOSES, QUARANTINE_ADMISSION,
        "session_remains=is_live", "session_remains=False",
        f"{_VOIDS}::test_session_in_memory_whose_file_is_moved_aside_is_not_lost",
    ),
    bug_of_one(
        "records of a file moved aside stay before those of the next one", _LOSES, COMMITTER,
        "if recorded.begins and state.revision", "if False and state.revision",
        f"{_VOIDS}::test_session_in_memory_whose_file_is_moved_aside_is_not_lost",
    ),
    bug_of_one(
        "put back takes the records", _LOSES, PUTTING_BACK,
        "quarantine(directory, name, dir_fd=dir_fd, session_remains=True)", "quarantine(directory, name, dir_fd=dir_fd)",
        f"{_VOIDS}::test_file_put_back_beside_another_one_leaves_the_records",
    ),
    bug_of_one(
        "conflict takes the records before the new file is there", _LOSES, ON_DISK,
        "quarantine(directory, name, session_remains=True)", "quarantine(directory, name)",
        f"{_VOIDS}::test_conflict_loses_nothing_that_only_the_journal_has",
    ),
    bug_of_one(
        "erasure does not save", "an erasure that breaks off brings back half a session", REMOVING,
        "        if not entry.dirty or (order is None and not self._store.journal.holds(names.file_name(entry.session_id))):\n",
        "        if not entry.dirty or order is None:\n",
        f"{_VOIDS}::test_erase_that_a_crash_breaks_off_brings_the_file_back_whole",
    ),
    bug_of_one(
        "a commit comes behind the removal", _RETURNS, JOURNAL,
        "        if not voided or not batch.needs:", "        if True:", _VOIDS,
    ),
    bug_of_one(
        "a commit has what is being deleted", _RETURNS, COMMITTER,
        "        if entry.leaving and not is_behind:", "        if False:",
        f"{_BESIDE}::test_commit_during_a_deletion_for_good_writes_nothing_of_the_session",
    ),
    bug_of_one(
        "a commit under way is not known", _LOSES, COMMITTER,
        "        return session_id in self._under_way or ", "        return ",
        f"{_BESIDE}::test_pin_that_is_saved_during_the_first_commit_is_not_undone_by_it",
    ),
    bug_of_one(
        "a save waits for a record that needs none", "a session is not deleted on a healthy disk", SAVER,
        " for each in unchanged if is_over or self.committer.is_behind(entries[each])}", " for each in unchanged}",
        f"{_BESIDE}::{_DELETED_BEFORE}",
    ),
    bug_of_one(
        "a note under way is not known", "a session is not deleted on a healthy disk", COMMITTER,
        "                self._under_way.add(session_id)\n", "", f"{_BESIDE}::{_DELETED_BEFORE}",
    ),
    bug_of_one(
        "a pin with too much news is not committed", "a session can never be saved again", COMMITTER,
        "            found = _state_for_save(entry, self._store.journal.last_record)\n", "            pass\n",
        f"{_BESIDE}::test_changed_pin_and_more_news_than_the_journal_takes_are_saved",
    ),
    bug_of_one(
        "a pin alone counts as no news", _LOSES, COMMITTER,
        "        return sum(map(len, bodies))\n", "        return 0\n",
        f"{_BESIDE}::test_pin_confirmed_after_another_programs_file_survives_the_record_of_that_file",
    ),
    bug_of_one(
        "a failed void is ignored", _RETURNS, PLACES,
        "        directory.void(self._names)\n",
        "        try:\n            directory.void(self._names)\n        except Exception:\n            pass\n",
        "session/removal/test_voids_refused.py",
    ),
    bug_of_one(
        "a failed void counts as none", _LOSES, REMOVING,
        "                entry.begin_anew()\n", "                pass\n",
        "session/removal/test_voids_refused.py::test_journal_only_session_stays",
    ),
    bug_of_one(
        "erasure leaves the journal", _KEEPS, OPERATIONS,
        "                files += await erase_records(self._store, self._manager.saver, session_id)\n",
        "                pass\n", _ERASURE,
    ),
    bug_of_one(
        "erasure leaves the segment in use", _KEEPS, JOURNAL_ERASURE,
        "        await store.run(journal.begin_segment, limiter)\n", "", _ERASURE,
    ),
    bug_of_one(
        "erasure does not save the other sessions", _KEEPS, JOURNAL_ERASURE,
        "        await saver.save(journal.index.needed_until(journal.index.last_closed()))\n", "", _ERASURE,
    ),
    bug_of_one(
        "erasure takes the records of the other sessions", _LOSES, JOURNAL_ERASURE,
        "partial(journal.delete, journal.index.spent())", "partial(journal.delete, found)", _ERASURE,
    ),
    bug_of_one(
        "erasure hides the segments that remain", _KEEPS, JOURNAL_ERASURE,
        "    if left or patience.cancelled_caught:\n", "    if patience.cancelled_caught:\n", _ERASURE,
    ),
    bug_of_one(
        "records of the removed stay in the segment in use", "what a person had deleted for good stays on the disk",
        COMMITTER, "whole=whole or journal.has_removed", "whole=whole", "session/journal/test_removed_records.py",
    ),
    bug_of_one(
        "erasure leaves segments in quarantine", _KEEPS, ERASING,
        "        if number_of(file.file) is None:\n", "        if True:\n", _ERASURE,
    ),
    bug_of_one(
        "erasure leaves segments in the trash", _KEEPS, ERASING,
        "        if number_of(entry.key) is None:\n", "        if True:\n", _ERASURE,
    ),
    bug_of_one(
        "erasure hides segments in doubt", _KEEPS, ERASING,
        "        if not is_theirs and not is_sound:\n", "        if False:\n", _ERASURE,
    ),
)  # fmt: skip
