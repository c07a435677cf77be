"""The planted bugs: those in removing, judging and keeping to the directory, and the list of all."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import (
    CODEC,
    DIRECTORY,
    EDITOR,
    ENTRY,
    FILES,
    FOLDER,
    IN_USE,
    JOB,
    LOADER,
    MANAGER,
    MEMORY,
    NAMES,
    OWNERSHIP,
    PLACES,
    QUARANTINE,
    REMOVAL,
    REMOVING,
    RETENTION,
    SAVER,
    STAGING,
    Bug,
    Change,
    bug_of_one,
)
from tests.planted.command_bugs import COMMAND_BUGS
from tests.planted.disk_bugs import DISK_BUGS
from tests.planted.durability_bugs import DURABILITY
from tests.planted.growth_bugs import GROWTH_BUGS
from tests.planted.hook_bugs import HOOK_BUGS
from tests.planted.journal_bugs import JOURNAL_BUGS
from tests.planted.leftover_bugs import LEFTOVER_BUGS
from tests.planted.migration_bugs import MIGRATION_BUGS
from tests.planted.order_bugs import ORDER_BUGS
from tests.planted.owner_bugs import OWNER_BUGS
from tests.planted.plugin_bugs import PLUGIN_BUGS
from tests.planted.quarantine_bugs import QUARANTINE_BUGS
from tests.planted.rule_bugs import RULE_BUGS
from tests.planted.time_bugs import TIME_BUGS
from tests.planted.told_bugs import TOLD_BUGS
from tests.planted.void_bugs import VOID_BUGS
from tests.planted.web_bugs import WEB_BUGS

_REMOVAL: Final = (
    Bug(
        "verify then unlink", "a session saved between the look and the deed is deleted",
        (
            Change(
                REMOVAL,
                "            capture(self._directory, key, dir_fd=self._fd)\n",
                "            self._fs.stat(key, dir_fd=self._directory.fd)\n",
            ),
            Change(
                REMOVAL,
                "        row = self._directory.read_row(key, dir_fd=self._fd, verify=always)\n",
                "        row = self._directory.read_row(key, verify=always)\n",
            ),
            Change(
                REMOVAL,
                "        try:\n            put_back(self._directory, key, dir_fd=self._fd)\n"
                "        except (OSError, StoreError) as error:\n",
                "        try:\n            pass\n        except (OSError, StoreError) as error:\n",
            ),
            Change(
                REMOVAL,
                "                links = self._fs.stat(key, dir_fd=self._fd).st_nlink\n"
                "                voided.discard(key, dir_fd=self._fd)\n",
                "                links = self._fs.stat(key, dir_fd=self._directory.fd).st_nlink\n"
                "                voided.discard(key, dir_fd=self._directory.fd)\n",
            ),
        ),
        ("session/removal/test_removal.py",),
    ),
    bug_of_one(
        "judged by the listing only", "a session used since the scan is deleted", REMOVING,
        "                may_go = in_time and is_expired(header) and self._is_removable(header.session_id, is_expired)\n",
        "                may_go = in_time and self._is_removable(header.session_id, is_expired)\n",
        "session/test_manager_removing.py",
    ),
    bug_of_one(
        "disk trusted over memory", "a session used but not saved is deleted", REMOVING,
        "                may_go = in_time and is_expired(header) and self._is_removable(header.session_id, is_expired)\n",
        "                may_go = in_time and is_expired(header)\n",
        "session/test_manager_removing.py",
    ),
    bug_of_one(
        "memory not evicted", "a removed session comes back with the next message", REMOVING,
        "                if may_go:\n                    self._memory.forget(header.session_id)\n", "",
        "session/test_manager_removing.py",
    ),
    bug_of_one(
        "held object remembered", "a removed session comes back from whoever holds it", MEMORY,
        "        self._held.pop(session_id, None)\n", "",
        "session/test_manager_removing.py",
    ),
    Bug(
        "users not counted", "a session in the middle of a long turn is deleted",
        (
            Change(ENTRY, "        self.users += 1\n        try:\n", "        try:\n"),
            Change(ENTRY, "            self.users -= 1\n", "            pass\n"),
        ),
        ("session/test_manager_removing.py",),
    ),
    bug_of_one(
        "users of a turn not counted", "the cleanup deletes a session that the agent is answering", IN_USE,
        "        entry.users += 1\n", "        pass\n",
        "session/live/test_in_use.py",
    ),
    bug_of_one(
        "a turn ignores the end of the runtime", "a message is accepted that no save writes any more", LOADER,
        "        self._gate.admit()\n        entry =", "        entry =",
        "session/live/test_in_use.py",
    ),
    bug_of_one(
        "put back overwrites", "a newer session is replaced by the older one", PLACES,
        "    give(directory.fs, name, place, src_dir_fd=dir_fd, dst_dir_fd=directory.fd)\n",
        "    directory.fs.rename(name, place, src_dir_fd=dir_fd, dst_dir_fd=directory.fd)\n",
        "session/removal/test_removal.py",
    ),
    bug_of_one(
        "recovery completes removals", "a crash deletes sessions that nobody judged", STAGING,
        "            for name in captured:\n                put_back(directory, name, dir_fd=fd)\n", "",
        "session/removal/test_removal.py",
    ),
    bug_of_one(
        "batch cancelled midway", "a shutdown tells a batch that ran as not begun", JOB,
        "min(self._working.deadline, began + GRACE_SECONDS)", "began",
        "session/test_manager_removing.py",
    ),
    bug_of_one(
        "corrupt file deleted by the cleanup", "a damaged conversation is beyond rescue", REMOVAL,
        "        if isinstance(row, Removal):\n            return row\n        try:\n",
        "        if isinstance(row, Removal):\n            return row\n"
        '        if isinstance(row, ProblemFile) and row.kind == "corrupt":\n'
        "            self._fs.unlink(key, dir_fd=self._fd)\n"
        "            return Removal(key, row.kind, reason=row.reason)\n        try:\n",
        "session/removal/test_removal.py",
    ),
    bug_of_one(
        "corrupt file deleted by the chat", "a damaged conversation is beyond rescue", QUARANTINE,
        "            Voided(directory, [name]).move(name, kept, src_dir_fd=source_fd, dst_dir_fd=folder)\n",
        "            Voided(directory, [name]).discard(name, dir_fd=source_fd)\n",
        "session/test_manager.py",
    ),
    bug_of_one(
        "any load error begins anew", "a disk error replaces a conversation by an empty one", LOADER,
        "        except SessionNotFoundError:\n            if not create:\n",
        "        except StoreError:\n            if not create:\n",
        "session/test_manager.py",
    ),
    bug_of_one(
        "unsaved sessions leave memory", "a full memory loses messages", MEMORY,
        "if not (entry.dirty or entry.users or entry.leaving):", "if not (entry.users or entry.leaving):",
        "session/live/test_memory.py",
    ),
    bug_of_one(
        "bytes in memory not bounded", "long conversations fill the memory", MEMORY,
        "return len(self._live) > self._bound or self.bytes > self._max_bytes", "return len(self._live) > self._bound",
        "session/live/test_memory.py",
    ),
    bug_of_one(
        "what leaves still counts", "after a while no session may stay in memory", MEMORY,
        "            self.bytes -= session_bytes(entry.session)\n", "            pass\n",
        "session/live/test_memory.py",
    ),
)  # fmt: skip

_JUDGEMENT: Final = (
    bug_of_one(
        ">= for >", "a session is deleted at its TTL, not after it", RETENTION,
        'return "ttl" if age > ttl else', 'return "ttl" if age >= ttl else',
        "session/retention/test_retention.py",
    ),
    bug_of_one(
        "TTL of zero accepted", "a configuration deletes everything", RETENTION,
        "value <= timedelta(0)", "value < timedelta(0)",
        "session/retention/test_retention.py",
    ),
    bug_of_one(
        "access does not touch", "a session that is only read is deleted", MANAGER,
        "            return self._touch(await self._loader.use(session_id))\n",
        "            return (await self._loader.use(session_id)).session\n",
        "session/test_manager.py",
    ),
    Bug(
        "access not saved", "after a restart a session that was only read looks old",
        (
            Change(
                MANAGER, "        entry.revision += 1\n        self._memory.used(entry)\n",
                "        self._memory.used(entry)\n",
            ),
            Change(
                EDITOR, "        crossed = [self._memory.append(",
                "        entry.revision += 1\n        crossed = [self._memory.append(",
            ),
        ),
        ("session/test_manager.py",),
    ),
)  # fmt: skip

_BORDERS: Final = (
    bug_of_one(
        "follows links", "a link makes another program's file a session", FILES,
        "READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW |", "READ_FLAGS: Final = os.O_RDONLY |",
        "session/files/test_directory_load.py",
    ),
    bug_of_one(
        "follows a linked directory", "sessions of another directory are removed", FILES,
        "os.O_DIRECTORY | os.O_NOFOLLOW |", "os.O_DIRECTORY |",
        "session/files/test_directory.py",
    ),
    bug_of_one(
        "waits for a FIFO", "a FIFO among the sessions stops the cleanup for ever", FILES,
        "os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC", "os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC",
        "faults/test_attacks.py::test_open_never_waits_follows_a_link_or_is_inherited",
    ),
    bug_of_one(
        "state found by the path", "a link in place of the sessions directory lets the state out", FOLDER,
        "self.fs.open(self._name(), DIRECTORY_FLAGS", "self.fs.open(str(self.path), DIRECTORY_FLAGS",
        "session/records/test_state.py",
    ),
    bug_of_one(
        "moved directory unnoticed", "conversations are saved where nobody looks", SAVER,
        "        problem = place.problem\n", "        problem = None\n",
        "faults/test_attacks.py::test_directory_moved_and_back_is_told_once_each",
    ),
    Bug(
        "follows a linked lock", "a link makes the gateway overwrite another program's file",
        (
            Change(OWNERSHIP, "os.O_RDWR | os.O_NOFOLLOW |", "os.O_RDWR |"),
            Change(OWNERSHIP, "                if self._is_in_place(fd):\n", "                if True:\n"),
        ),
        ("session/files/test_directory.py",),
    ),
    bug_of_one(
        "unescaped name", "a chat id with ../ writes outside of the directory", NAMES,
        "text = f\"{channel}_{quote(chat_id, safe='@+').replace('~', '%7E')}\"", 'text = f"{channel}_{chat_id}"',
        "session/test_names.py::test_file_name_of_strange_id_stays_in_the_directory",
    ),
    bug_of_one(
        "case told apart by the name only", "two people share a conversation where case is ignored", NAMES,
        "    if not _CAPITAL.search(chat_id) and len(text)", "    if len(text)",
        "session/test_names.py::test_file_name_of_lookalike_ids_differs_under_casefold",
    ),
    bug_of_one(
        "id inside the file trusted by a load", "a copied file gives one person another's conversation", DIRECTORY,
        "            fits = session.session_id == session_id and names.belongs(\n"
        "                name, session.session_id, session.channel, session.chat_id\n            )\n",
        "            fits = True\n",
        "session/files/test_directory_load.py",
    ),
    bug_of_one(
        "id inside the file trusted by the cleanup", "a copied file removes another session from memory", DIRECTORY,
        "        if not names.belongs(name, header.session_id, header.channel, header.chat_id):\n", "        if False:\n",
        "session/removal/test_removal.py",
    ),
    bug_of_one(
        "second gateway allowed", "two gateways overwrite each other's sessions", OWNERSHIP,
        "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB",
        "session/files/test_directory.py",
    ),
    bug_of_one(
        "readable by all", "other users of the machine read conversations", FILES,
        "PRIVATE_FILE: Final = 0o600", "PRIVATE_FILE: Final = 0o644",
        "session/files/test_directory.py",
    ),
    bug_of_one(
        "unknown fields dropped", "what another version wrote is lost by a save", CODEC,
        "    if source is not None and source.extra:\n", "    if source is not None and not source.extra:\n",
        "session/format/test_codec.py",
    ),
    bug_of_one(
        "verified by the first page", "a damaged session counts as an expired one, and is removed", DIRECTORY,
        "if header is None or (verify is not None and verify(header)):", "if header is None:",
        "session/format/test_verification.py",
    ),
    bug_of_one(
        "verified by times that the loader refuses", "a session is removed by a time that it has not once it is loaded", CODEC,
        "if not NO_TIME < header.last_accessed <= _LAST:", "if header.last_accessed <= NO_TIME:",
        "session/format/test_verification.py",
    ),
)  # fmt: skip

BUGS: Final = (
    *DURABILITY,
    *DISK_BUGS,
    *_REMOVAL,
    *_JUDGEMENT,
    *_BORDERS,
    *GROWTH_BUGS,
    *HOOK_BUGS,
    *JOURNAL_BUGS,
    *LEFTOVER_BUGS,
    *MIGRATION_BUGS,
    *ORDER_BUGS,
    *OWNER_BUGS,
    *PLUGIN_BUGS,
    *QUARANTINE_BUGS,
    *RULE_BUGS,
    *TIME_BUGS,
    *TOLD_BUGS,
    *VOID_BUGS,
    *COMMAND_BUGS,
    *WEB_BUGS,
)
