"""The planted bugs. Each changes texts that occur exactly once in a file of the package.

A bug is made as somebody would make it, so that all goes well as long as nothing goes wrong: what finds it shall be the
test of the invariant, and not the first test that runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

REMOVAL: Final = "session/removal.py"
DIRECTORY: Final = "session/directory.py"
FILES: Final = "session/files.py"
MANAGER: Final = "session/manager.py"
MEMORY: Final = "session/memory.py"
STORE: Final = "session/store.py"
NAMES: Final = "session/names.py"
RETENTION: Final = "session/retention.py"
CLOCK_GUARD: Final = "session/clock_guard.py"
SCHEDULE: Final = "session/schedule.py"
CODEC: Final = "session/codec.py"
RUNTIME: Final = "session/runtime.py"


@dataclass(frozen=True)
class Change:
    """One replacement.

    Attributes:
        file: Relative to the package.
        old: What stands there, exactly once.
        new: What is put in its place.
    """

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Bug:
    """One breakage.

    Attributes:
        name: For the table, and for `--only`.
        harm: What it costs somebody.
        changes: Made together.
        tests: What has to catch it, relative to `tests`: a file, or one test of it where the others would take long to
            shrink what they found.
    """

    name: str
    harm: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...] = field(default=())


def _bug(name: str, harm: str, file: str, old: str, new: str, *tests: str) -> Bug:
    return Bug(name, harm, (Change(file, old, new),), tests)


_DURABILITY: Final = (
    _bug(
        "no file sync", "a power cut leaves an empty session", FILES,
        "is a new file, not a retry.\n            fs.fsync(fd)\n", "is a new file, not a retry.\n",
        "session/test_durability_order.py",
    ),
    _bug(
        "no file sync of a copy", "a power cut leaves an empty session, without hard links", FILES,
        "            write_all(fs, fd, data)\n            fs.fsync(fd)\n", "            write_all(fs, fd, data)\n",
        "session/test_durability_order.py",
    ),
    Bug(
        "named before synced", "a power cut leaves an empty session",
        (
            Change(
                FILES, "is a new file, not a retry.\n            fs.fsync(fd)\n",
                "is a new file, not a retry.\n            "
                "fs.rename(temporary, name, src_dir_fd=work_fd, dst_dir_fd=dir_fd)\n            fs.fsync(fd)\n",
            ),
            Change(
                FILES, "            close_quietly(fs, fd)\n        fs.rename(temporary, name, src_dir_fd=work_fd,"
                " dst_dir_fd=dir_fd)\n", "            close_quietly(fs, fd)\n",
            ),
        ),
        ("session/test_durability_order.py",),
    ),
    _bug(
        "no directory sync", "a power cut takes what counts as saved", DIRECTORY,
        '        with store_errors(self.path, "sync"):\n            self.fs.fsync(self.fd)',
        '        with store_errors(self.path, "sync"):\n            pass',
        "session/test_durability_order.py",
    ),
    Bug(
        "synced before collected", "a power cut takes what another thread named during the sync",
        (
            Change(
                STORE,
                "        renamed = []\n        while (session := _pop(self._renamed))",
                "        renamed = []\n        error = None\n        try:\n            self._directory.sync()\n"
                "        except StoreError as caught:\n            error = caught\n"
                "        while (session := _pop(self._renamed))",
            ),
            Change(
                STORE,
                "            return  # another thread took them along\n        error = None\n        try:\n"
                "            self._directory.sync()\n        except StoreError as caught:\n            error = caught\n",
                "            return  # another thread took them along\n",
            ),
        ),
        ("session/test_durability_order.py",),
    ),
    _bug(
        "unlinked before synced", "a power cut takes a session that was kept", REMOVAL,
        "        try:\n            self._fs.fsync(self._directory.fd)\n        except OSError as error:\n            # Without",
        "        try:\n            pass\n        except OSError as error:\n            # Without",
        "session/test_durability_order.py",
    ),
    _bug(
        "removal not synced", "a power cut brings back what was reported as removed", REMOVAL,
        "        try:\n            self._fs.fsync(self._fd)", "        try:\n            pass",
        "session/test_durability_order.py",
    ),
    _bug(
        "short write believed", "a full disk tears a session", FILES,
        "    while view:\n        view = view[fs.write(fd, view) :]", "    fs.write(fd, view)",
        "session/test_directory.py",
    ),
    _bug(
        "written in place", "a crash tears a session", DIRECTORY,
        "            replace_file(self.fs, name, data, dir_fd=self.fd, work_fd=self.work_fd)",
        "            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW\n"
        "            with opened(self.fs, name, flags, dir_fd=self.fd) as fd:\n"
        "                write_all(self.fs, fd, data)\n                self.fs.fsync(fd)",
        "session/test_directory.py",
    ),
    _bug(
        "one temporary name", "two saves at once fail or mix", FILES,
        "temporary = TEMPORARY_PREFIX + secrets.token_hex(8)", 'temporary = TEMPORARY_PREFIX + "session"',
        "session/test_store.py",
    ),
    _bug(
        "temporary file left on failure", "a full disk stays full", FILES,
        "        unlink_quietly(fs, temporary, dir_fd=work_fd)\n", "        pass\n",
        "session/test_directory.py",
    ),
    _bug(
        "temporary files not swept", "each crash costs disk space for ever", REMOVAL,
        "            unlink_quietly(fs, name, dir_fd=directory.work_fd)\n", "",
        "session/test_removal.py",
    ),
    _bug(
        "ENOSPC swallowed", "a full disk loses what counts as saved", STORE,
        "            except StoreError as error:\n                self._settle(session, error)\n",
        "            except StoreError as error:\n"
        '                self._settle(session, None if getattr(error, "errno", 0) == 28 else error)\n',
        "session/test_store.py",
    ),
    _bug(
        "failed save counts as saved", "an error of the disk loses a message", MANAGER,
        "                _log_failed_save(session_id, outcome.error)\n",
        "                _log_failed_save(session_id, outcome.error)\n"
        "                saving[session_id][0].saved_revision = saving[session_id][1]\n",
        "session/test_manager.py",
    ),
    _bug(
        "newest revision counts as saved", "what is said during a save is lost", MANAGER,
        "                entry.saved_revision = revision\n", "                entry.saved_revision = entry.revision\n",
        "session/test_manager.py",
    ),
    _bug(
        "no flush at the end", "shutdown loses half a minute", RUNTIME,
        "                await manager.save_all_sessions()\n", "",
        "session/test_runtime.py",
    ),
)  # fmt: skip

_REMOVAL: Final = (
    Bug(
        "verify then unlink", "a session saved between the look and the deed is deleted",
        (
            Change(
                REMOVAL,
                "            self._fs.rename(key, key, src_dir_fd=self._directory.fd, dst_dir_fd=self._fd)\n",
                "            self._fs.stat(key, dir_fd=self._directory.fd)\n",
            ),
            Change(
                REMOVAL,
                "        row = self._directory.read_row(key, dir_fd=self._fd, verify=_always)\n",
                "        row = self._directory.read_row(key, verify=_always)\n",
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
                "                self._fs.unlink(key, dir_fd=self._fd)\n",
                "                links = self._fs.stat(key, dir_fd=self._directory.fd).st_nlink\n"
                "                self._fs.unlink(key, dir_fd=self._directory.fd)\n",
            ),
        ),
        ("session/test_removal.py",),
    ),
    _bug(
        "judged by the listing only", "a session used since the scan is deleted", MANAGER,
        "                may_go = is_expired(header) and self._is_removable(header.session_id, is_expired)\n",
        "                may_go = self._is_removable(header.session_id, is_expired)\n",
        "session/test_manager_removing.py",
    ),
    _bug(
        "disk trusted over memory", "a session used but not saved is deleted", MANAGER,
        "                may_go = is_expired(header) and self._is_removable(header.session_id, is_expired)\n",
        "                may_go = is_expired(header)\n",
        "session/test_manager_removing.py",
    ),
    _bug(
        "memory not evicted", "a removed session comes back with the next message", MANAGER,
        "                if may_go:\n                    self._memory.forget(header.session_id)\n", "",
        "session/test_manager_removing.py",
    ),
    _bug(
        "held object remembered", "a removed session comes back from whoever holds it", MEMORY,
        "        self._held.pop(session_id, None)\n", "",
        "session/test_manager_removing.py",
    ),
    Bug(
        "users not counted", "a session in the middle of a long turn is deleted",
        (
            Change(MANAGER, "        entry.users += 1\n        try:\n", "        try:\n"),
            Change(MANAGER, "            entry.users -= 1\n", "            pass\n"),
        ),
        ("session/test_manager_removing.py",),
    ),
    _bug(
        "put back overwrites", "a newer session is replaced by the older one", REMOVAL,
        "        fs.link(name, name, src_dir_fd=dir_fd, dst_dir_fd=directory.fd)\n",
        "        fs.rename(name, name, src_dir_fd=dir_fd, dst_dir_fd=directory.fd)\n",
        "session/test_removal.py",
    ),
    _bug(
        "recovery completes removals", "a crash deletes sessions that nobody judged", REMOVAL,
        "        for name in names:\n            put_back(directory, name, dir_fd=fd)\n", "",
        "session/test_removal.py",
    ),
    _bug(
        "batch cancelled midway", "a shutdown tells a batch that ran as not begun", MANAGER,
        "        with trio.move_on_after(REMOVAL_DEADLINE_SECONDS, shield=True):\n            outcomes |=",
        "        with trio.move_on_after(REMOVAL_DEADLINE_SECONDS):\n            outcomes |=",
        "session/test_manager_removing.py",
    ),
    _bug(
        "corrupt file deleted by the cleanup", "a damaged conversation is beyond rescue", REMOVAL,
        "        if isinstance(row, Removal):\n            return row\n        try:\n",
        "        if isinstance(row, Removal):\n            return row\n"
        '        if isinstance(row, ProblemFile) and row.kind == "corrupt":\n'
        "            self._fs.unlink(key, dir_fd=self._fd)\n"
        "            return Removal(key, row.kind, reason=row.reason)\n        try:\n",
        "session/test_removal.py",
    ),
    _bug(
        "corrupt file deleted by the chat", "a damaged conversation is beyond rescue", DIRECTORY,
        "                self.fs.rename(name, kept, src_dir_fd=source_fd, dst_dir_fd=folder)\n",
        "                self.fs.unlink(name, dir_fd=source_fd)\n",
        "session/test_manager.py",
    ),
    _bug(
        "any load error begins anew", "a disk error replaces a conversation by an empty one", MANAGER,
        "        except SessionNotFoundError:\n            if not create:\n",
        "        except StoreError:\n            if not create:\n",
        "session/test_manager.py",
    ),
    _bug(
        "unsaved sessions leave memory", "a full memory loses messages", MEMORY,
        "if not entry.dirty and not entry.users]", "if not entry.users]",
        "session/test_memory.py",
    ),
)  # fmt: skip

_JUDGEMENT: Final = (
    _bug(
        ">= for >", "a session is deleted at its TTL, not after it", RETENTION,
        'return "ttl" if age > ttl else', 'return "ttl" if age >= ttl else',
        "session/test_retention.py",
    ),
    _bug(
        "TTL of zero accepted", "a configuration deletes everything", RETENTION,
        "ttl <= timedelta(0)", "ttl < timedelta(0)",
        "session/test_retention.py",
    ),
    _bug(
        "access does not touch", "a session that is only read is deleted", MANAGER,
        "            return None\n        return self._touch(entry)\n", "            return None\n        return entry.session\n",
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
                MANAGER, "        entry.session.messages.append(message)\n",
                "        entry.session.messages.append(message)\n        entry.revision += 1\n",
            ),
        ),
        ("session/test_manager.py",),
    ),
    _bug(
        "clock set back ages sessions", "a board that boots in 1970 makes live sessions old", MANAGER,
        "max(session.last_accessed, self._clock())", "self._clock()",
        "session/test_manager.py",
    ),
    _bug(
        "clock jump not guarded", "a bad time server deletes everything", SCHEDULE,
        "        return self._clock() - self._wall_base - elapsed > CLOCK_SLACK",
        "        return self._clock() - self._wall_base - elapsed > CLOCK_SLACK * 365_000",
        "session/test_cleanup_service.py",
    ),
    _bug(
        "clock jump forgotten by a restart", "a bad time server and a crash delete everything", CLOCK_GUARD,
        "        if self._frozen or self.suspicion() is not None:\n", "        if self._frozen:\n",
        "session/test_clock_guard.py::test_clock_that_jumps_and_a_restart_loses_nothing_in_silence",
    ),
    _bug(
        "first sweep not announced", "an upgrade deletes old sessions in silence", SCHEDULE,
        'return "first_sweep" if state == CleanupState() else "remove"', 'return "remove"',
        "session/test_cleanup_service.py",
    ),
)  # fmt: skip

_BORDERS: Final = (
    _bug(
        "follows links", "a link makes another program's file a session", FILES,
        "READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW |", "READ_FLAGS: Final = os.O_RDONLY |",
        "session/test_directory.py",
    ),
    _bug(
        "follows a linked directory", "sessions of another directory are removed", FILES,
        "os.O_DIRECTORY | os.O_NOFOLLOW |", "os.O_DIRECTORY |",
        "session/test_directory.py",
    ),
    _bug(
        "follows a linked lock", "a link makes the gateway overwrite another program's file", DIRECTORY,
        "os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW |", "os.O_RDWR | os.O_CREAT |",
        "session/test_directory.py",
    ),
    _bug(
        "unescaped name", "a chat id with ../ writes outside of the directory", NAMES,
        "text = f\"{channel}_{quote(chat_id, safe='@+').replace('~', '%7E')}\"", 'text = f"{channel}_{chat_id}"',
        "session/test_names.py::test_file_name_of_strange_id_stays_in_the_directory",
    ),
    _bug(
        "case told apart by the name only", "two people share a conversation where case is ignored", NAMES,
        "    if not _CAPITAL.search(chat_id) and len(text)", "    if len(text)",
        "session/test_names.py::test_file_name_of_lookalike_ids_differs_under_casefold",
    ),
    _bug(
        "id inside the file trusted by a load", "a copied file gives one person another's conversation", DIRECTORY,
        "            if session.session_id != session_id or not names.belongs(\n"
        "                name, session.session_id, session.channel, session.chat_id\n            ):\n",
        "            if False:\n",
        "session/test_directory.py",
    ),
    _bug(
        "id inside the file trusted by the cleanup", "a copied file removes another session from memory", DIRECTORY,
        "        if not names.belongs(name, header.session_id, header.channel, header.chat_id):\n", "        if False:\n",
        "session/test_removal.py",
    ),
    _bug(
        "second gateway allowed", "two gateways overwrite each other's sessions", DIRECTORY,
        "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB",
        "session/test_directory.py",
    ),
    _bug(
        "readable by all", "other users of the machine read conversations", FILES,
        "PRIVATE_FILE: Final = 0o600", "PRIVATE_FILE: Final = 0o644",
        "session/test_directory.py",
    ),
    _bug(
        "unknown fields dropped", "what another version wrote is lost by a save", CODEC,
        "    if source is not None and source.extra:\n", "    if source is not None and not source.extra:\n",
        "session/test_codec.py",
    ),
)  # fmt: skip

BUGS: Final = (*_DURABILITY, *_REMOVAL, *_JUDGEMENT, *_BORDERS)
