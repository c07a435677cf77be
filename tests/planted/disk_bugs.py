"""Planted bugs in what another program does to the files: changes by hand, and forms that miniclaw does not write."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import CODEC, LOADER, ON_DISK, SAVER, SIZES, UNUSUAL_FORMS, Bug, bug_of_one

DISK_BUGS: Final[tuple[Bug, ...]] = (
    bug_of_one(
        "a clean copy is not compared",
        "a session that was deleted by hand returns with its whole history",
        LOADER,
        "        if entry is None or self._is_sure(entry):\n            return entry\n",
        "        if entry is not None:\n            return entry\n",
        "session/live/test_disk_wins.py",
    ),
    bug_of_one(
        "a damaged file is left in the place of the copy in memory",
        "a session that leaves memory is lost to a damaged file",
        LOADER,
        "        if entry is not None and not entry.dirty:\n            entry.revision += 1\n",
        "        if entry is not None and not entry.dirty:\n",
        "session/live/test_disk_wins.py",
    ),
    bug_of_one(
        "a save does not look",
        "a file that was restored by hand is overwritten",
        ON_DISK,
        "    difference = _difference(directory, name, on_disk_of(session), status)\n",
        '    difference: Difference = "same"\n',
        "session/live/test_disk_wins_saves.py",
    ),
    bug_of_one(
        "a save looks only before it writes",
        "an edit of the seconds in which a large session is written is overwritten",
        ON_DISK,
        "        if _state(directory, _look(directory, name)) != _state(directory, status):\n",
        "        if False:\n",
        "session/live/test_disk_wins_during_saves.py",
    ),
    bug_of_one(
        "a save that fails after it has cleared the place takes that for a deletion",
        "a full disk and another program's edit together take a whole history",
        ON_DISK,
        "            remember(session, None)  # from now on a missing file is no deletion by another program\n",
        "",
        "session/live/test_disk_wins_during_saves.py",
    ),
    bug_of_one(
        "a use beats an edit",
        "an edit of the seconds after a use goes to quarantine",
        ON_DISK,
        "    if _has_unsaved(session, known):\n",
        "    if True:\n",
        "session/live/test_disk_wins_saves.py",
    ),
    bug_of_one(
        "a session that is evicted during a look is used",
        "a message to it is never saved",
        LOADER,
        "        entry = self._memory.find(session_id)  # once more: it may be evicted meanwhile\n",
        "",
        "session/live/test_disk_wins.py",
    ),
    bug_of_one(
        "only messages are compared",
        "a pin and a title that were set by hand are overwritten",
        ON_DISK,
        "    return is_same_content(part, found)\n",
        "    return part.messages == found.messages\n",
        "session/live/test_disk_wins_saves.py",
    ),
    bug_of_one(
        "a file that is gone takes nothing with it",
        "the history that somebody deleted is saved again with the next message",
        SIZES,
        "    del session.messages[:count]\n",
        "    del session.messages[:0]\n",
        "session/live/test_disk_wins_saves.py",
    ),
    bug_of_one(
        "memory does not follow a file that is gone",
        "memory has the deleted history, and the next save writes it",
        SAVER,
        "        self._memory.follow(entry, before, written.session, kept)\n",
        "",
        "session/live/test_disk_wins_saves.py",
    ),
    bug_of_one(
        "an error counts as a deletion",
        "a moment of EIO makes memory forget a conversation",
        ON_DISK,
        "        except FileNotFoundError:\n            return None\n",
        "        except OSError:\n            return None\n",
        "session/live/test_disk_wins.py",
    ),
    bug_of_one(
        "an unsynced save is forgotten",
        "our own newer file is taken for another program's",
        SAVER,
        "        session, written = outcome.session, outcome.written\n",
        "        session, written = outcome.session, outcome.written if outcome.error is None else None\n",
        "session/live/test_disk_wins_saves.py",
    ),
    bug_of_one(
        "an unusual message loses its source",
        "what was not understood of a message is gone with the next save",
        CODEC,
        "        vars(message)[SOURCE] = raw.copy()\n        return message\n",
        "        return message\n",
        "session/format/test_unusual_forms.py",
    ),
    bug_of_one(
        "0 is a time",
        "a session whose program wrote 0 counts as last used in 1970",
        UNUSUAL_FORMS,
        "        if _EARLIEST_NUMBER <= number / unit <= _LATEST_NUMBER:\n",
        "        if number / unit <= _LATEST_NUMBER:\n",
        "session/format/test_unusual_forms.py",
    ),
)
