"""The listing of a sessions directory, header by header, in batches that are bounded in time.

A file that the ledger knows is not opened. Files are examined, and read if necessary, in the order of their inodes,
which is about their order on the disk. A reader who does not own the directory sees them with the journal over them;
each session in the journal gets a row.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Final, Self

from miniclaw.errors import StoreError
from miniclaw.session import names
from miniclaw.session.disk.atomic import DIRECTORY_FLAGS, opened, store_errors
from miniclaw.session.disk.directories import RACY_SECONDS, why_no_session_file
from miniclaw.session.entries import ProblemFile, ScanRow, StoredSession, Tally, Verify, identity
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.header_reader import Found, HeaderReader
from miniclaw.session.files.ledger import Ledger, can_be_told_apart, decode_use, encode_use, fingerprint
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME
from miniclaw.session.files.stranded import WORK_NAME
from miniclaw.session.files.subdirectory import STATE_NAME, TRASH_NAME
from miniclaw.session.journal.records import JOURNAL_NAME
from miniclaw.session.ownership.holder import LOCK_NAME
from miniclaw.session.retention.noted import Noted
from miniclaw.session.retention.policy import Staying
from miniclaw.session.types import SessionHeader

if TYPE_CHECKING:
    from miniclaw.session.files.saved_files import SavedFile

CHUNK: Final = 4096
"""Number of files that are listed before they are examined in the order of their inodes; about 0.7 MB."""

OUR_OWN: Final = frozenset({JOURNAL_NAME, LOCK_NAME, QUARANTINE_NAME, STATE_NAME, TRASH_NAME, WORK_NAME})
"""The entries of miniclaw beside the sessions; any other hidden entry is foreign."""

_CLOCK_STEP: Final = 32  # entries between two looks at the clock


class DirectoryScan:
    """A listing of a directory in progress, to be closed. Used by one thread at a time.

    Args:
        directory: The directory.
        verify: As for `SessionDirectory.read_row`.
        ledger: The files known from earlier scans. It is updated with the files read, and settled at the end.
        staying: The sessions that are certain to be kept. They get no row and are not verified; `take_kept` counts
            them.

    Attributes:
        complete: True if all files were listed and read.
        opened: Number of files that had to be read.

    Raises:
        JournalFormatError, StoreIOError: As `SessionDirectory.overlay`.
    """

    def __init__(
        self,
        directory: SessionDirectory,
        verify: Verify | None = None,
        *,
        ledger: Ledger | None = None,
        staying: Staying | None = None,
    ) -> None:
        self._directory = directory
        self._overlay = directory.overlay  # read before any file
        self._without_file = set(self._overlay.ids)  # names of files that are not listed so far
        self._verify = self._overlay.verify(verify)
        self._ledger = ledger
        self._recent: dict[str, SavedFile] = {}
        if ledger is not None and directory.saved_files is not None:
            self._recent = directory.saved_files.all()
            ledger.recall(dict(self._recent.values()))
        self._staying = staying
        self._least, self._most = 0, -1  # encoded by `encode_use`; an empty range
        self._due: Noted | None = None
        self._least_due = 0
        if staying is not None:
            self._least, self._most = (encode_use(time, pinned=False) for time in (staying.since, staying.until))
            self._due, self._least_due = staying.due, encode_use(staying.due_since, pinned=False)
        self._kept = self._kept_bytes = 0
        self._resources = ExitStack()
        self._entries: Iterator[os.DirEntry[str]] | None = None
        self._listed = False  # to the end
        # Inodes and names, in the order of the inodes: of files that the ledger may know, and of files to be read.
        self._unknown: deque[tuple[int, str]] = deque()
        self._unread: deque[tuple[int, str]] = deque()
        self._reader = HeaderReader(directory, self._overlay.verify(self._doubts(verify)))
        self.complete: bool = False
        self.opened: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the listing."""
        self._resources.close()

    def next_batch(self, *, seconds: float) -> list[ScanRow]:
        """Read on for about this time, at least one entry; return an empty list only at the end.

        With `staying` the list may be empty earlier, if all entries read are only counted; `complete` marks the end.

        A file that is deleted between its listing and its reading is left out.

        Raises:
            StoreIOError: The directory cannot be listed, or the listing failed on the way.
        """
        rows: list[ScanRow] = []
        end = perf_counter() + seconds
        with store_errors(self._directory.path, "list"):
            while not self.complete:
                if self._unknown:
                    self._look_up(rows, end)
                elif self._unread:
                    self._take(self._reader.read(self._unread, end), rows)
                elif not self._listed:
                    self._list(rows, end)
                else:
                    self._read_unlisted(rows)
                if (rows or self._staying is not None) and perf_counter() > end:
                    break
        return rows

    def take_kept(self) -> Tally:
        """Return the kept sessions that got no row since the last call."""
        kept, self._kept, self._kept_bytes = Tally(self._kept, self._kept_bytes), 0, 0
        return kept

    def _list(self, rows: list[ScanRow], end: float) -> None:
        """List on, until the time is over or there are enough files to examine."""
        if self._entries is None:
            self._entries = self._open()
        found: list[tuple[int, str]] = []
        for number, entry in enumerate(self._entries, 1):
            name = entry.name
            if name[-5:] == names.SUFFIX and name[0] != "." and _is_file(entry):
                found.append((entry.inode(), name))
            else:
                rows += self._examine_odd(entry)
            if not number % _CLOCK_STEP and (len(found) >= CHUNK or perf_counter() > end):
                break
        else:
            self._listed = True
        if self._without_file:
            self._without_file.difference_update(name for _, name in found)
        found.sort()
        # An empty ledger is only filled: a lookup would find no file, since `find` does not see this scan's entries.
        (self._unknown if self._ledger else self._unread).extend(found)

    def _look_up(self, rows: list[ScanRow], end: float) -> None:
        """Judge files by the ledger; files that it does not know have to be read."""
        ledger, unknown, unread, least, most = self._ledger, self._unknown, self._unread, self._least, self._most
        assert ledger is not None  # noqa: S101 - for mypy: there is one where this is called
        stat, fd, in_journal = self._directory.fs.stat, self._directory.fd, self._overlay.ids
        for number in range(1, len(unknown) + 1):
            file = unknown.popleft()
            try:
                status = stat(file[1], dir_fd=fd)
            except OSError:  # it is gone, or the attempt to read it reports the problem
                unread.append(file)
                continue
            used = ledger.find(status.st_ino, fingerprint(status.st_mtime_ns, status.st_ctime_ns, status.st_size))
            if used is None:
                unread.append(file)
            elif (
                not used & 1
                and file[1] not in in_journal
                and (least <= used <= most or (used < least and self._is_announced(status, used)))
            ):
                self._kept += 1
                self._kept_bytes += status.st_size
            elif (row := self._known(file[1], status, used)) is not None:
                rows.append(row)
            else:
                unread.append(file)
            if not number % _CLOCK_STEP and perf_counter() > end:
                break

    def _is_announced(self, status: os.stat_result, used: int) -> bool:
        """Return whether a session is due, an earlier run has announced it, and it is not expired."""
        if self._due is None or used < self._least_due:
            return False
        directory = self._directory
        return self._due.keep(identity(directory.file_of(status), used), directory.mark_of(status))

    def _known(self, name: str, status: os.stat_result, used: int) -> StoredSession | None:
        """Return the session as the ledger knows it; None if its file has to be read.

        The ledger's entry was read under this name and belonged there, and a plain name is the session's id.
        """
        session_id = name.removesuffix(names.SUFFIX)
        if not names.is_plain(name, session_id):
            return None
        header = SessionHeader(session_id, *names.parts_of(session_id), *decode_use(used))
        if self._verify is not None and self._verify(header):
            return None
        header = self._overlay.header(header)
        return StoredSession(
            name, status.st_size, header, self._directory.file_of(status), self._directory.mark_of(status)
        )

    def _take(self, found: list[Found], rows: list[ScanRow]) -> None:
        """Enter files into the ledger unless they are too new, and count each one or give it a row."""
        ledger, least, most = self._ledger, self._least, self._most
        newest = time_ns() - RACY_SECONDS * 1_000_000_000
        self.opened += len(found)
        for row, inode, mtime, ctime in found:
            # The ledger knows files alone.
            if inode and type(row) is StoredSession and row.header.session_id not in self._overlay:
                header = row.header
                used = encode_use(header.last_accessed, pinned=header.pinned)
                if ledger is not None and mtime < newest and ctime < newest and can_be_told_apart(mtime, ctime):
                    ledger.add(inode, fingerprint(mtime, ctime, row.size), used)
                if least <= used <= most and not used & 1:
                    self._kept += 1
                    self._kept_bytes += row.size
                    continue
            if row is not None:
                rows.append(_by_content(row) if isinstance(row, ProblemFile) else row)

    def _doubts(self, verify: Verify | None) -> Verify | None:
        """Return a `verify` that skips sessions that are certain to be kept, which are nearly all."""
        staying = self._staying
        if verify is None or staying is None:
            return verify
        least, most = staying.since, staying.until
        return lambda header: not least <= header.last_accessed <= most and verify(header)

    def _read_unlisted(self, rows: list[ScanRow]) -> None:
        """Read the sessions without a file in its place: the stranded ones, and those that only the journal has."""
        stranded = self._directory.stranded()
        for name, folder in stranded.items():
            if row := self._directory.read_stranded(name, folder, verify=self._verify):
                rows.append(row)
        for name in sorted(self._without_file - stranded.keys()):
            with suppress(StoreError):  # there is none, or something else has its place, and was listed
                if (found := self._directory.find(self._overlay.ids[name])).key == name:
                    rows.append(found)
        self.complete = True
        if self._ledger is not None:
            self._ledger.settle()
        if self._directory.saved_files is not None:
            self._directory.saved_files.forget(self._recent)

    def _open(self) -> Iterator[os.DirEntry[str]]:
        fs = self._directory.fs
        # A descriptor of its own: two listings over one descriptor would share their position.
        fd = self._resources.enter_context(opened(fs, ".", DIRECTORY_FLAGS, dir_fd=self._directory.fd))
        return self._resources.enter_context(fs.scandir(fd))

    def _examine_odd(self, entry: os.DirEntry[str]) -> list[ScanRow]:
        """Return the rows for an entry that is no session file."""
        name = entry.name
        if not names.is_session_file(name):
            if name in OUR_OWN:
                return []
            from miniclaw.session.conflict_names import by_name  # noqa: PLC0415 - start-up time: few have such files

            return [by_name(name, is_file=_is_file(entry))]
        # The listing knows the kind of most entries: an entry that is no file is not even opened.
        try:
            mode = self._directory.fs.stat(name, dir_fd=self._directory.fd).st_mode
        except FileNotFoundError:
            return []
        return [ProblemFile(name, "foreign", why_no_session_file(mode) or "it changed while it was looked at")]


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a file, or may be one because neither the listing nor stat() names its kind."""
    try:
        return entry.is_file(follow_symlinks=False)
    except OSError:
        return True  # the attempt to read it reports the problem


def _by_content(problem: ProblemFile) -> ProblemFile:
    from miniclaw.session.conflict_names import by_content  # noqa: PLC0415 - start-up time: few have such files

    return by_content(problem)
