"""Planted bugs in the order of commits, saves and starts."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import JOURNAL, OVERLAY, REPLAY, SAVER, Bug, Change, bug_of_one

_ORDER: Final = "session/journal/test_order.py"
_LOSES: Final = "a crash takes messages that were confirmed"

ORDER_BUGS: Final = (
    bug_of_one(
        "a save holds what came during it", _LOSES, SAVER,
        "0 if is_followed else upto)", "0 if is_followed else self._store.journal.last_record)", _ORDER,
    ),
    bug_of_one(
        "a save before the first record holds all", _LOSES, JOURNAL,
        "        return max(1, self._next_record - 1)\n", "        return self._next_record - 1\n", _ORDER,
    ),
    bug_of_one(
        "an early autosave tells the journal nothing", "a session that a person deletes returns with a crash", SAVER,
        "        report = await self.save(self._memory.dirty())\n        await self.committer.tidy()\n",
        "        report = await self.save(self._memory.dirty())\n",
        "faults/test_stateful.py::test_confirmed_session_that_is_deleted_does_not_return_with_a_crash",
    ),
    bug_of_one(
        "a segment that is given up stays open", "each hang of the disk costs a descriptor", JOURNAL,
        "        if hung.lock.acquire(blocking=False):", "        if False:", _ORDER,
    ),
    bug_of_one(
        "a segment is prepared twice", "a busy gateway runs out of descriptors", JOURNAL,
        "        if self._spare is not None:  # the last", "        if False:  # the last", _ORDER,
    ),
    Bug(
        "a lack of descriptors counts as damage", "a start puts what was confirmed into quarantine",
        (
            Change(OVERLAY, "        if error.errno in PASSING:\n            raise\n", ""),
            Change(REPLAY, "error.errno in PASSING", "False"),
        ),
        (_ORDER,),
    ),
)  # fmt: skip
