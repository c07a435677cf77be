"""Planted bugs in reading the journal: each path of a reader, the records, and the start of an owner."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import (
    CHANNELS,
    COMMITTER,
    DIRECTORY,
    EXPORT,
    HEADER_READER,
    OVERLAY,
    OWNABLE,
    RECORDS,
    REPLAY,
    SCAN,
    bug_of_one,
)

_READERS: Final = "session/files/test_journal_readers.py"
_CLEANUP: Final = "session/files/test_journal_cleanup.py"
_RECORDS: Final = "session/journal/test_records.py"
_CONTINUED: Final = "session/journal/test_continued.py"
_REPLAY: Final = "session/journal/test_replay.py"
_EDITING: Final = (
    "faults/test_editing_crashes.py::test_start_after_a_crash_finds_a_state_and_undoes_none_that_was_confirmed"
)
_FAILING_DISK: Final = "session/journal/test_replay_failing_disk.py"
_CUT_OFF: Final = "session/journal/test_replay_cut_off.py"

_READING: Final = (
    bug_of_one(
        "session loaded without the journal", "`show` lacks what was confirmed before a crash", DIRECTORY,
        "        continuation = overlay.session(session_id, session)\n",
        "        continuation = NOTHING.session(session_id, session)\n",
        f"{_READERS}::test_load_has_the_messages_of_the_journal",
    ),
    bug_of_one(
        "file exported without the journal", "a person's export lacks what was confirmed", DIRECTORY,
        "            data = bytes(codec.encode_session(continuation.session))\n", "            pass\n",
        f"{_READERS}::test_source_is_the_encoded_session_where_the_journal_has_more",
    ),
    bug_of_one(
        "header read without the journal", "`delete` and the API show an old use and an old pin", DIRECTORY,
        "        row = self._read_row(name, self.fd, verify, self.overlay)\n",
        "        row = self._read_row(name, self.fd, verify, NOTHING)\n",
        f"{_READERS}::test_header_has_the_use_and_the_pin_of_the_journal",
    ),
    bug_of_one(
        "stranded session without the journal", "a dry run after two crashes lists what no run deletes", DIRECTORY,
        "                return self._read_row(name, fd, verify, self.overlay)\n",
        "                return self._read_row(name, fd, verify, NOTHING)\n",
        f"{_READERS}::test_stranded_session_has_the_journal",
    ),
    bug_of_one(
        "session without a file not found", "a chat that began since the last save does not exist", DIRECTORY,
        "        if (unsaved := overlay.unsaved(session_id)) is not None:\n            return unsaved\n", "",
        f"{_READERS}::test_session_without_a_file_is_found_and_listed",
    ),
    bug_of_one(
        "row of a session without a file not found", "a budget's plan drops it before the end", DIRECTORY,
        "            return overlay.unsaved(session_id)\n", "            return None\n",
        f"{_READERS}::test_session_without_a_file_is_found_and_listed",
    ),
    bug_of_one(
        "session without a file not listed", "`list` and the dry run lack it", SCAN,
        "                if (found := self._directory.find(self._overlay.ids[name])).key == name:\n"
        "                    rows.append(found)\n",
        "                self._directory.find(self._overlay.ids[name])\n",
        f"{_READERS}::test_session_without_a_file_is_found_and_listed",
    ),
    bug_of_one(
        "session listed by its file and by the journal", "a session counts twice", SCAN,
        "            self._without_file.difference_update(name for _, name in found)\n", "            pass\n",
        f"{_READERS}::test_file_in_the_place_is_listed_once",
    ),
    bug_of_one(
        "files scanned without the journal", "the dry run lists sessions that are in use", HEADER_READER,
        "buffer=self._buffer, overlay=self._overlay\n", "buffer=self._buffer\n",
        f"{_CLEANUP}::test_session_that_is_fresh_by_the_journal_is_not_listed_for_deletion",
    ),
    bug_of_one(
        "ledger's row without the journal", "`list` shows an old use of each file that it need not open", SCAN,
        "        header = self._overlay.header(header)\n", "",
        f"{_READERS}::test_scan_by_the_ledger_has_the_journal",
    ),
    bug_of_one(
        "journal's use in the ledger", "a file that was restored later counts as used", SCAN,
        " and row.header.session_id not in self._overlay:\n", ":\n",
        f"{_READERS}::test_ledger_knows_the_use_that_the_file_has",
    ),
    bug_of_one(
        "only counted though it is in the journal", "the plan does not know of a pin", SCAN,
        "                and file[1] not in in_journal\n", "",
        f"{_READERS}::test_session_in_the_journal_is_never_only_counted",
    ),
    bug_of_one(
        "records taken to fit", "the dry run keeps a session that the run deletes", OVERLAY,
        "        return lambda header: header.session_id in self._records or verify(header)\n",
        "        return verify\n",
        f"{_CLEANUP}::test_records_that_do_not_fit_the_file_keep_no_session",
    ),
    bug_of_one(
        "records of a session that stays taken to fit", "`status` counts a pin that the start puts into quarantine", SCAN,
        "HeaderReader(directory, self._overlay.verify(self._doubts(verify)))", "HeaderReader(directory, self._doubts(verify))",
        "session/test_dry_run_journal.py",
    ),
    bug_of_one(
        "owner reads its own journal", "the start applies the journal twice", OWNABLE,
        "        if self.is_owned:\n            return NOTHING\n", "",
        f"{_READERS}::test_reader_of_an_owned_directory_sees_the_journal_and_the_owner_does_not",
    ),
    bug_of_one(
        "journal read after the file", "a save between the two hides a message from a reader", DIRECTORY,
        '        """Return a session, the content of its file, and the file\'s name."""\n        overlay = self.overlay\n',
        '        """Return a session, the content of its file, and the file\'s name."""\n'
        "        self._load_stored(session_id)\n        overlay = self.overlay\n",
        f"{_READERS}::test_journal_is_read_once_and_before_any_file",
    ),
    bug_of_one(
        "seeming damage believed at once", "`list` warns of damage beside a gateway that writes", OVERLAY,
        "            segments = read_segments(fs, dir_fd, path, known)\n", "            pass\n",
        f"{_READERS}::test_segment_that_seems_damaged_while_it_is_written_is_read_again",
    ),
    bug_of_one(
        "journal is foreign", "an administrator is told to move the journal away", SCAN,
        "frozenset({JOURNAL_NAME, LOCK_NAME,", "frozenset({LOCK_NAME,",
        f"{_READERS}::test_journal_is_no_foreign_file",
    ),
    bug_of_one(
        "channel of the journal unknown", "the TTL of a channel that is in use is told as a misspelling", CHANNELS,
        "    found = {names.parts_of(session_id)[0] for session_id in directory.overlay.ids.values()}\n",
        "    found: set[str] = set()\n",
        f"{_CLEANUP}::test_channel_of_a_session_without_a_file_is_known",
    ),
    bug_of_one(
        "newer journal told once for each session", "an export ends with a page of the same error", EXPORT,
        "            raise  # it concerns all of them\n",
        "            problems.append(f\"{session_id}: start the version that wrote it\")\n",
        "cli/test_journal_commands.py::test_journal_of_a_newer_version_is_one_clear_line",
    ),
)  # fmt: skip

_APPLYING: Final = (
    bug_of_one(
        "newer journal read", "what a newer version recorded is deleted", OVERLAY,
        "    if records and records[0].v > FORMAT:\n", "    if False:\n",
        f"{_REPLAY}::test_journal_of_a_newer_version_refuses_and_nothing_is_changed",
    ),
    bug_of_one(
        "checksum not compared", "a damaged message is taken for what was said", RECORDS,
        ' or b"%08x" % crc32(memoryview(line)[_CHECKED_FROM:]) != line[8:16]', "",
        f"{_RECORDS}::test_flipped_bit_is_seen_wherever_it_is",
    ),
    bug_of_one(
        "hole taken for a torn end", "a confirmed message vanishes, and no log says so", RECORDS,
        "            if expected >= last_batch:\n                break\n            is_damaged = True\n",
        "            break\n",
        f"{_RECORDS}::test_missing_batch_is_damage_wherever_it_is",
    ),
    bug_of_one(
        "first batch not missed", "the beginning of a chat vanishes, and no log says so", RECORDS,
        '    is_damaged = bool(found) and found[0].op != "open" and found[0].i == found[0].b\n',
        "    is_damaged = False\n",
        f"{_RECORDS}::test_missing_batch_is_damage_wherever_it_is",
    ),
    bug_of_one(
        "message with unknown fields recorded by its fields", "a crash drops what another program wrote", RECORDS,
        "    if getattr(message, SOURCE, None) is not None:\n", "    if False:\n",
        f"{_RECORDS}::test_message_with_more_than_its_fields_is_not_written",
    ),
    bug_of_one(
        "save covers later records", "what was said during a save is lost at the next crash", RECORDS,
        "            upto = record.upto or record.i\n", "            upto = record.i\n",
        f"{_RECORDS}::test_records_that_a_file_holds_count_no_more_and_the_file_is_known",
    ),
    bug_of_one(
        "void ignored", "a removed session comes back", RECORDS,
        "            last = record.upto or record.i\n", "            last = 0\n",
        f"{_REPLAY}::test_removed_session_does_not_return_and_a_new_one_of_its_id_is_made",
    ),
    bug_of_one(
        "void covers a later life", "a chat that begins anew while its id is removed loses its first messages", RECORDS,
        "            last = record.upto or record.i\n", "            last = record.i\n",
        f"{_RECORDS}::test_records_up_to_that_of_a_void_count_no_more",
    ),
    bug_of_one(
        "any end continued", "messages are put behind a conversation that was edited", OVERLAY,
        "== _digest_of(record)\n    return record.n == count and record.prev == _last_digest(session)\n",
        "== _digest_of(record)\n    return record.n == count\n",
        f"{_REPLAY}::test_start_after_a_crash_keeps_all_that_was_confirmed",
    ),
    bug_of_one(
        "another session continued", "one conversation ends with the messages of another", OVERLAY,
        "session is None or session.created_at != record.life or not _fits", "session is None or not _fits",
        f"{_REPLAY}::test_start_after_a_crash_keeps_all_that_was_confirmed",
    ),
    bug_of_one(
        "deleted file made again", "a conversation that a person has deleted is back", OVERLAY,
        "is_first and not had_file and record.life", "is_first and record.life",
        f"{_CONTINUED}::test_random_life_of_a_session_loses_nothing",
    ),
    bug_of_one(
        "what does not fit is dropped", "a confirmed message is neither in the file nor in quarantine", OVERLAY,
        "            unfit = unfit_of(rest[at:])\n", "",
        f"{_CONTINUED}::test_random_life_of_a_session_loses_nothing",
    ),
    bug_of_one(
        "old pin wins", "a session that was unpinned is kept for ever", OVERLAY,
        "        session.pinned = record.pinned\n", "        session.pinned = session.pinned or record.pinned\n",
        f"{_CONTINUED}::test_random_life_of_a_session_loses_nothing",
    ),
    bug_of_one(
        "repeated message added twice", "after a disk error, a conversation stammers", OVERLAY,
        '        if record.op == "add" and record.n == len(session.messages):\n', '        if record.op == "add":\n',
        f"{_CONTINUED}::test_random_life_of_a_session_loses_nothing",
    ),
    bug_of_one(
        "foreign file taken for a segment", "somebody's copy of a segment is applied again and again", OVERLAY,
        "    return number if name == segment_name(number) else None\n", "    return number\n",
        f"{_REPLAY}::test_foreign_file_in_the_journal_is_left_alone",
    ),
    bug_of_one(
        "segments deleted with unsaved sessions", "a crash on a full disk takes what was confirmed", REPLAY,
        "    if not unsaved:\n        _delete_spent(journal)\n", "    _delete_spent(journal)\n",
        f"{_FAILING_DISK}::test_start_on_a_full_disk_keeps_the_sessions_and_the_segments",
    ),
    bug_of_one(
        "unreadable segment deleted", "what a repaired disk could still read is gone", REPLAY,
        "        if segment.problem and not segment.records:\n", "        if False:\n",
        f"{_FAILING_DISK}::test_segment_that_cannot_be_read_goes_to_quarantine_and_the_start_goes_on",
    ),
    bug_of_one(
        "stuck records not kept", "messages that a full quarantine could not take are gone after a save", REPLAY,
        "        journal.index.keep_records(session_id)\n", "        journal.index.need(session_id, lambda: False)\n",
        f"{_FAILING_DISK}::test_messages_that_fit_nowhere_on_a_full_disk_stay_in_the_journal",
    ),
    bug_of_one(
        "damaged segment put away first", "a removed session comes back after a crash in a start", REPLAY,
        "    error = _attempt(lambda: journal.delete(older)) or _attempt(partial(_quarantine, directory, segment))\n",
        "    error = _attempt(partial(_quarantine, directory, segment)) or _attempt(lambda: journal.delete(older))\n",
        _CUT_OFF,
    ),
    bug_of_one(
        "quarantined again by each start", "a start that is cut off leaves the same messages twice", REPLAY,
        "            if (kept := _find(directory, fd, stem, data)) is None:", "            if (kept := None) is None:",
        _CUT_OFF,
    ),
    bug_of_one(
        "removed messages come back", "a message that was taken back is in the conversation after a crash", OVERLAY,
        "            return [each for each in records if each.i > record.upto]\n", "            return records\n",
        _EDITING,
    ),
    bug_of_one(
        "journal confirms what only a file can hold", "confirmed metadata is lost in a crash", COMMITTER,
        "    if recorded.edited_at or recorded.messages > count:", "    if recorded.messages > count:",
        _EDITING,
    ),
    bug_of_one(
        "half of a call is kept", "after a crash a question is there without its answer", RECORDS,
        "    while kept and kept[-1].more:\n", "    while False:\n",
        _EDITING,
    ),
)  # fmt: skip

JOURNAL_BUGS: Final = (*_READING, *_APPLYING)
