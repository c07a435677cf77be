"""Planted bugs in what the rules have a run do: trash, pins, budgets, guard, history, modes, and what commands do."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import (
    ACTS,
    CARRYING_OUT,
    CLEANUP,
    CLEANUP_PLAN,
    CLEANUP_SERVICE,
    EDITOR,
    ERASING,
    MANAGER,
    OPERATIONS,
    PLAN,
    REMOVAL,
    TIMEKEEPER,
    Bug,
    Change,
    bug_of_one,
)

RULE_BUGS: Final = (
    Bug(
        "trash committed after the unlink", "a crash in between leaves a session neither here nor there",
        (
            Change(REMOVAL, "            self._copies.commit()\n", "            pass\n"),
            Change(
                REMOVAL, "            self._remember(captured)\n",
                "            self._remember(captured)\n            self._copies.commit()\n",
            ),
        ),
        ("session/disk/test_durability_order.py",),
    ),
    bug_of_one(
        "trash not committed", "what was to go to the trash is gone for good", REMOVAL,
        "            self._copies.commit()\n", "            pass\n",
        "session/removal/test_removal_trash.py",
    ),
    bug_of_one(
        "trash entry kept of a refused session", "a live session lies in the trash as well", REMOVAL,
        "        self._copies.abandon([key for key in self._copies.prepared if key not in going])\n", "",
        "session/removal/test_removal_trash.py",
    ),
    bug_of_one(
        "trash entry kept of a session that stays", "a session that could not be removed lies in the trash as well",
        REMOVAL, 'if results[key].outcome == "failed" and key not in self._astray])', "if False])",
        "session/removal/test_removal_trash.py",
    ),
    bug_of_one(
        "only copy withdrawn from the trash", "an unlink that says it failed costs the session", REMOVAL,
        ' and key not in self._astray])', "])",
        "session/removal/test_removal_trash.py",
    ),
    bug_of_one(
        "full trash ignored", "without room for the trash sessions are gone for good", REMOVAL,
        "        return row.key not in self._refused\n", "        return True\n",
        "session/removal/test_removal_trash.py",
    ),
    bug_of_one(
        "guard ignored", "a wrong clock or a wrong rule removes nearly everything", CLEANUP,
        "if plan.held and not confirmed and not ends():\n", "if False:\n",
        "session/test_cleanup_rules.py",
    ),
    bug_of_one(
        "guard counts damaged files", "the dry run says that it would run, and it is held", CLEANUP,
        "policy.has_budget or policy.max_removed_fraction is not None", "policy.has_budget",
        "session/test_cleanup_rules.py",
    ),
    bug_of_one(
        "pin ignored at the removal", "a session pinned since the scan is removed", CLEANUP_PLAN,
        "            not header.pinned and row.removes and", "            row.removes and",
        "session/test_manager_trash.py",
    ),
    bug_of_one(
        "budget ignores memory", "a budget is not met, because it chose a session in use", CLEANUP,
        "live=manager.live)", "live=None)",
        "session/test_cleanup_rules.py",
    ),
    bug_of_one(
        "budget takes what was used since", "a session used since the scan is removed for a budget", CLEANUP_PLAN,
        "row.removes and header.last_accessed in {row.session.header.last_accessed, row.used}", "row.removes",
        "session/test_cleanup_rules.py",
    ),
    bug_of_one(
        "history skipped", "nobody can tell what was removed", CLEANUP,
        "            await self.in_thread(lambda: history.append(event()))\n",
        "            await trio.lowlevel.checkpoint()\n",
        "session/test_cleanup_rules.py",
    ),
    bug_of_one(
        "history stops a run", "where it cannot be written nothing is cleaned up", CLEANUP,
        '        except StoreError as error:\n            log.error("Cleanup could not be written into the history"',
        '        except ZeroDivisionError as error:\n            log.error("Cleanup could not be written into the history"',
        "session/test_cleanup_rules.py",
    ),
    bug_of_one(
        "half a scan carried out", "a stop makes a run of half a plan", CARRYING_OUT,
        "        plan = self._plan\n        if not await", "        plan, ends = self._plan, lambda: False\n        if not await",
        "session/test_cleanup_rules.py",
    ),
    bug_of_one(
        "mode announce removes", "who only wanted to know loses sessions", CLEANUP_SERVICE,
        "            if self.removes:\n", "            if True:\n",
        "session/records/test_stats.py",
    ),
    bug_of_one(
        "held run not remembered as held", "nobody learns from the state that a run was held", CLEANUP_SERVICE,
        "began if complete else None, held=held)", 'began if complete else None, held="")',
        "session/maintenance/test_notice_over_restarts.py",
    ),
    bug_of_one(
        "stopped run remembered", "the next start takes what was not yet seen for new", CLEANUP_SERVICE,
        "began if complete else None, held=held)", "began, held=held)",
        "session/maintenance/test_notice_over_restarts.py",
    ),
    bug_of_one(
        "changed rules let a run go on", "a rule that was taken back goes on deleting", CLEANUP,
        " or self._changes != changes", "",
        "session/test_rules.py",
    ),
    bug_of_one(
        "rules of a run that was broken off forgotten", "announced for next month, deleted tomorrow", TIMEKEEPER,
        "replace(self.state.last_run, rules=notice.rules)", "self.state.last_run",
        "session/test_rules.py",
    ),
    bug_of_one(
        "restore over memory", "a restored session meets a live one that was never saved", MANAGER,
        "            if vacant and await self._loader.current(session_id, lease):\n",
        "            if False:\n",
        "session/test_manager_trash.py", "session/operations/test_quarantine_operations.py",
    ),
    bug_of_one(
        "pin counts as a use", "pinning makes an old session look fresh", EDITOR,
        "        entry.session.pinned = pinned\n        entry.revision += 1\n",
        "        entry.session.pinned = pinned\n        self._touch(entry)\n",
        "session/test_manager_trash.py",
    ),
    bug_of_one(
        "pins of memory not planned with", "a dry run lists what is pinned", PLAN,
        '        if header.pinned or (live is not None and live.pinned):\n', "        if header.pinned:\n",
        "session/test_manager_trash.py",
    ),
    bug_of_one(
        "half an erasure told as erased", "a receipt that is not true", OPERATIONS,
        "            if problems and (found or files):\n", "            if False:\n",
        "session/removal/test_erasing.py",
    ),
    bug_of_one(
        "copies in quarantine not erased", "what a person asked to be erased is kept", ERASING,
        "filter(verdicts.on_quarantined, list_quarantined(directory))", "()",
        "session/removal/test_erasing.py",
    ),
    Bug(
        "receipt lost to a cancellation", "a session that was deleted is in no record",
        (
            Change(
                OPERATIONS, "            with trio.move_on_after(2 * RECORD_SECONDS, shield=True):\n",
                "            with trio.move_on_after(2 * RECORD_SECONDS):\n",
            ),
            Change(
                ACTS, "        with trio.move_on_after(RECORD_SECONDS, shield=True):\n            try:\n",
                "        with trio.move_on_after(RECORD_SECONDS):\n            try:\n",
            ),
        ),
        ("session/operations/test_operations.py",),
    ),
)  # fmt: skip
