"""Planted bugs in the hooks of a program: not asked, asked too early, an answer that counts for more than it says."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import ANNOUNCEMENTS, CARRYING_OUT, CLEANUP, HOOKS, REMOVING, Bug, bug_of_one

BEFORE: Final = "session/hooks/test_before_remove.py"
ASKING: Final = "session/hooks/test_asking.py"
AFTER: Final = "session/hooks/test_after_remove.py"
DUE: Final = "session/hooks/test_on_due.py"

HOOK_BUGS: Final[tuple[Bug, ...]] = (
    bug_of_one(
        "run does not ask", "what the archive has not seen is deleted every night", CARRYING_OUT,
        "        if not remover.hooks.asks:\n", "        if True:\n",
        BEFORE,
    ),
    bug_of_one(
        "deletion does not ask", "what the archive has not seen is deleted on request", REMOVING,
        "        if not self.hooks.asks:\n", "        if True:\n",
        BEFORE,
    ),
    bug_of_one(
        "removal of a single session does not ask", "a program that sweeps by itself passes by its own archive", CLEANUP,
        "            if await manager.remover.ask([session], reasons, lambda _: order is not None):\n"
        "                return 0\n",
        "",
        BEFORE,
    ),
    bug_of_one(
        "failure counts as consent", "while the archive is down, all that expires is lost", HOOKS,
        "        if isinstance(answer, Remove):\n", "        if not isinstance(answer, Keep):\n",
        BEFORE,
    ),
    bug_of_one(
        "any answer counts as consent", "a hook that forgets its return deletes all", HOOKS,
        "            if not isinstance(answer, Keep | Remove):\n",
        "            if not isinstance(answer, Keep | Remove):\n                return Remove()\n"
        "            if False:\n",
        BEFORE,
    ),
    bug_of_one(
        "deadline of a hook ignored", "one hanging archive stops the cleanup for ever", HOOKS,
        "trio.move_on_after(self._seconds) as deadline", "trio.move_on_after(inf) as deadline",
        BEFORE,
    ),
    bug_of_one(
        "answer behind the deadline counts", "a session goes that the log says is kept", HOOKS,
        "        if deadline.cancel_called and not failed:\n", "        if False:\n",
        BEFORE,
    ),
    bug_of_one(
        "deletion verified before the hook only", "a message that came while the archive was asked is lost", REMOVING,
        "            if seen is not None and used is not None and _state(used.session) != _state(seen):\n",
        "            if False:\n",
        BEFORE,
    ),
    bug_of_one(
        "file verified before the hook only", "what another program wrote meanwhile is lost", REMOVING,
        "            if last_accessed is not None and not used <= {last_accessed}:\n", "            if False:\n",
        BEFORE,
    ),
    bug_of_one(
        "hook asked about its own deletion", "a hook that deletes is asked for ever", HOOKS,
        "        if session_id in (_asking.get() or ()):\n", "        if len(_asking.get() or ()) > 50:\n",
        BEFORE,
    ),
    bug_of_one(
        "hooks are asked one after the other", "a slow archive takes days", HOOKS,
        "trio.CapacityLimiter(ASKED_AT_ONCE)", "trio.CapacityLimiter(1)",
        ASKING,
    ),
    bug_of_one(
        "late removal is not told", "the program's index keeps a session that is gone", REMOVING,
        "            tell(removals)\n            return late(removals)\n", "            return late(removals)\n",
        AFTER,
    ),
    bug_of_one(
        "due sessions told in each run", "the digest of a week names a session seven times", ANNOUNCEMENTS,
        "        if due.noted is None and due.session.key not in going\n",
        "        if due.session.key not in going\n",
        DUE,
    ),
    bug_of_one(
        "what goes is told as due", "the digest promises a session that is gone", ANNOUNCEMENTS,
        "        if due.noted is None and due.session.key not in going\n", "        if due.noted is None\n",
        DUE,
    ),
)  # fmt: skip
