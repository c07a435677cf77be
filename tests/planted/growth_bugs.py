"""Planted bugs in the bound on a session's growth, and in what a person reads of a full session."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import DIRECTORY, EDITOR, GROWTH, LOOP, MEMORY, OVERLAY, RUNTIME, SIZES, TURN, Bug, bug_of_one

GROWTH_BUGS: Final[tuple[Bug, ...]] = (
    bug_of_one(
        "no bound",
        "a session grows until no file can hold it",
        EDITOR,
        "            growth.check_room(entry.session, message, size, bound, earlier=total)\n",
        "",
        "session/test_growth.py",
    ),
    bug_of_one(
        "bound on answers",
        "the answer to a message that was accepted is lost",
        GROWTH,
        '    if message.role == "user":\n        most = min(most, bound)\n',
        "    most = min(most, bound)\n",
        "agent/test_loop_full.py",
    ),
    bug_of_one(
        "no room for a mark",
        "a turn whose answer has no room has no end",
        GROWTH,
        '(0 if message.role == "system" else _MARKS_BYTES)',
        "_MARKS_BYTES",
        "agent/test_loop_full.py",
    ),
    bug_of_one(
        "size of a loaded session is not kept",
        "the first message encodes all of a large session on the trio thread",
        DIRECTORY,
        "        set_file_bytes(session, len(data))\n",
        "",
        "session/test_growth.py",
    ),
    bug_of_one(
        "size does not follow a changed file",
        "a conversation that was cut by hand stays full",
        MEMORY,
        "        set_file_bytes(after, file_bytes(after) + file_bytes(session) - file_bytes(before))\n",
        "        set_file_bytes(after, file_bytes(session))\n",
        "session/test_growth.py",
    ),
    bug_of_one(
        "size of the rest is that of the whole",
        "a conversation whose file was deleted stays full",
        SIZES,
        "    for key in (_BYTES, FILE_BYTES):\n",
        "    for key in (_BYTES,):\n",
        "session/test_growth.py",
    ),
    bug_of_one(
        "messages of the journal do not count",
        "after each crash a session may grow by what the journal had",
        OVERLAY,
        "session.last_accessed), size)\n",
        "session.last_accessed), 0)\n",
        "session/test_growth.py",
    ),
    bug_of_one(
        "reload does not change the bound",
        "a raised bound takes effect only at the next start",
        RUNTIME,
        "        self.manager.max_session_bytes = rules.max_session_bytes\n",
        "",
        "session/test_growth.py",
    ),
    bug_of_one(
        "full session is no refusal",
        "Telegram delivers the message again and again",
        LOOP,
        "InvalidMessageError | InvalidSessionIdError | SessionFullError):\n        return _SORRY_REFUSED",
        "InvalidMessageError | InvalidSessionIdError):\n        return _SORRY_REFUSED",
        "agent/test_loop_full.py",
    ),
    bug_of_one(
        "answer without room is recorded once more",
        "it has no room for its text either, and the turn has no end",
        TURN,
        'kept = "" if isinstance(error, SessionFullError) else reply.text',
        "kept = reply.text",
        "agent/test_loop_full.py",
    ),
)
