"""Planted bugs in the time and in the notice: how old something is, and what was announced when."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import (
    LEFTOVER_RULES,
    MANAGER,
    NOTICE,
    PLAN,
    ROWS,
    SCHEDULE,
    STATE,
    TIMEKEEPER,
    TIMELINE,
    bug_of_one,
)

TIME_BUGS: Final = (
    bug_of_one(
        "announced and deleted in one run", "an upgrade deletes old sessions in silence", PLAN,
        "            if expired and notice.is_ready(", "            if expired or notice.is_ready(",
        "session/maintenance/test_notice_over_restarts.py",
    ),
    bug_of_one(
        "notice period not waited for", "a clock that jumps deletes what was announced a minute ago", NOTICE,
        "(announced is not None and self.stays(announced, period) <= timedelta(0))", "announced is not None",
        "session/maintenance/test_notice_over_restarts.py",
    ),
    bug_of_one(
        "new file recognised as announced", "what a person has restored is deleted by the next run", ROWS,
        "identity(self.file or name_identity(self.key), 2 * used)", "identity(name_identity(self.key), 2 * used)",
        "session/maintenance/test_notice_over_restarts.py",
    ),
    bug_of_one(
        "list of another state read", "with its state lost, a program deletes what nobody knows to be announced", STATE,
        "    if body[: len(state_id)] != state_id.encode():\n", "    if False:\n",
        "session/records/test_state_files.py",
    ),
    bug_of_one(
        "checksum of the list not compared", "a wrong bit makes the announcement of one session another's", STATE,
        " or zlib.crc32(body).to_bytes(4, \"big\") != data[head + 1 : head + 5]:", ":",
        "session/records/test_state_files.py",
    ),
    bug_of_one(
        "list not written", "after each restart all is announced anew, and nothing ever goes", TIMEKEEPER,
        "        await self._write(partial(self._directory.write_due, self.state.id, self.due, self.ahead))\n", "",
        "session/maintenance/test_notice_over_restarts.py",
    ),
    bug_of_one(
        "changing inodes not noticed", "on such a disk all is announced anew at each start, and nothing ever goes", STATE,
        "return state.inodes_last and not (is_another and is_the_same)", "return True",
        "session/maintenance/test_notice_over_restarts.py",
    ),
    bug_of_one(
        "copy taken for changing inodes", "a restored backup costs the recognition of files for ever", STATE,
        "not (is_another and is_the_same)", "not is_another",
        "session/records/test_state_files.py",
    ),
    bug_of_one(
        "tick of another state believed", "a restored state lives on at a time that is not its own", STATE,
        "tick.id != state.id or tick.serial <= state.serial", "tick.serial <= state.serial",
        "session/records/test_state_tick.py",
    ),
    bug_of_one(
        "damaged number believed", "one bit that flips on a disk deletes sessions in use", STATE,
        "    if _checksum(content) != sealed.checksum:\n", "    if False:\n",
        "session/records/test_state_files.py",
    ),
    bug_of_one(
        "state set back by an older tick", "a crash after a run makes sessions younger, and the notice longer", STATE,
        "tick.id != state.id or tick.serial <= state.serial", "tick.id != state.id",
        "session/records/test_state_tick.py",
    ),
    bug_of_one(
        "jump not written down at once", "after a crash, stamps of a wrong clock are read with the right one", TIMEKEEPER,
        "keeps=self._keeps):\n                self._is_saved = False\n", "keeps=self._keeps):\n                pass\n",
        "session/test_timekeeper.py",
    ),
    bug_of_one(
        "use keeps the maximum", "a stamp of a clock that was ahead keeps a session for years", MANAGER,
        "        entry.session.last_accessed = now or self.clock()  #",
        "        entry.session.last_accessed = max(entry.session.last_accessed, now or self.clock())  #",
        "session/test_manager.py",
    ),
    bug_of_one(
        "frames not searched from the youngest", "a clock that was set back makes live sessions old", TIMELINE,
        "            return max(possible, default=latest)\n", "            return min(possible, default=latest)\n",
        "session/test_timekeeper.py",
    ),
    bug_of_one(
        "frames forgotten", "a stamp of a wrong clock is read with the right one: live sessions are old", TIMELINE,
        "frame.merged) for frame in self.frames)", "frame.merged) for frame in self.frames[-1:])",
        "session/test_timekeeper.py",
    ),
    bug_of_one(
        "uptime of another machine lived", "a directory that is moved has its sessions deleted", TIMELINE,
        "    return max(0, min(reading.boottime, reading.wall - seen.now, MOST_UNSEEN))\n", "    return reading.boottime\n",
        "session/test_timekeeper.py",
    ),
    bug_of_one(
        "any gap counts", "a board that boots with a wrong clock deletes everything", TIMELINE,
        "jump if 0 <= jump <= SHORT_GAP else 0", "max(0, jump)",
        "session/test_timekeeper.py",
    ),
    bug_of_one(
        "clock behind believed at once", "a board that boots in 1970 stamps every session as old", TIMELINE,
        "        if floor is None and wall < EARLIEST:\n", "        floor = None\n        if False:\n",
        "session/test_timekeeper.py",
    ),
    bug_of_one(
        "trash by the wall clock", "a wrong clock empties the trash", LEFTOVER_RULES,
        "notice.age(leftover.since, which)", "notice.ages.now - leftover.since",
        "session/maintenance/test_notice_over_restarts.py",
    ),
    bug_of_one(
        "run before the clock is set", "a run comes before the time server, and by a wrong clock", SCHEDULE,
        "max(timedelta(0), delay, SETTLING - boottime * MICROSECOND)", "max(timedelta(0), delay)",
        "session/maintenance/test_notice_over_restarts.py",
    ),
    bug_of_one(
        "run in the future believed", "a clock that was corrected costs years without a cleanup", SCHEDULE,
        "        return self.interval - max(passed, ages.now - began)\n",
        "        return self.interval - (ages.now - from_microseconds(last.at))\n",
        "session/maintenance/test_notice_over_restarts.py",
    ),
)  # fmt: skip
