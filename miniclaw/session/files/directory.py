"""The sessions directory, synchronously: open, own, read, write.

Only this module, its package (`scan` lists, `quarantine_folder` moves aside) and `miniclaw.session.removal` touch
session files; the event loop reaches them through `miniclaw.session.live.store`. Every access is relative to one
directory descriptor and follows no link. Names come from `miniclaw.session.names`, never from a file's content.

Beside the session files the directory has a lock and hidden folders::

    .lock         locked by the one process that may write, as is the directory itself (`miniclaw.session.ownership`)
    .work         temporary files, and sessions in the middle of a removal; resolved at the next start
    .quarantine   files that had the place of a session and could not be read as one
    .trash        removed sessions, kept for a while (`miniclaw.session.trash`)
    .state        the state of the services, the history and the ledger
    .journal      what was said since the session files were written (`miniclaw.session.journal`)
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from miniclaw.errors import (
    CorruptSessionError,
    MismatchedSessionError,
    NoSessionFileError,
    SessionFileError,
    SessionNotFoundError,
    SessionTooLargeError,
)
from miniclaw.loggers import get_logger
from miniclaw.session import names
from miniclaw.session.disk.atomic import READ_FLAGS, close_quietly, opened, read_whole, replace_file, store_errors
from miniclaw.session.disk.directories import why_no_session_file
from miniclaw.session.disk.spelling import is_spelled
from miniclaw.session.disk.sync import sync_directory
from miniclaw.session.entries import ProblemFile, ScanRow, StoredSession, Verify, identity, mark_of, modified_at
from miniclaw.session.files import adoption
from miniclaw.session.files.on_disk import make_on_disk, remember
from miniclaw.session.files.ownable import OwnableDirectory
from miniclaw.session.files.stranded import find_stranded, folder_opened
from miniclaw.session.format import codec
from miniclaw.session.format.content import content_of, too_large
from miniclaw.session.format.footprint import session_bytes
from miniclaw.session.format.growth import set_file_bytes
from miniclaw.session.journal.overlay import NOTHING, Overlay
from miniclaw.session.types import Session, SessionHeader

log: Final = get_logger("miniclaw.session.store")


class SessionDirectory(OwnableDirectory):
    """One open sessions directory. Its methods block and may be called from any thread.

    Opened without `own`, it only reads and needs no lock: a reader sees each file whole, old or new, and over it the
    records of the journal that the file lacks.
    """

    # Reading --------------------------------------------------------------------------------------------------

    def read_row(self, name: str, *, dir_fd: int | None = None, verify: Verify | None = None) -> ScanRow | None:
        """Read the header of one file, from its beginning where that suffices.

        Args:
            name: The file.
            dir_fd: Its folder; None: the sessions directory itself, or that of the stranded session. Only then, a
                reader sees the file with the journal over it.
            verify: Returns True for a header, read from the beginning, that is to be checked against the whole file,
                as before a removal; None: never.

        Returns:
            The session, or the problem with the file; None if there is no such file.
        """
        if dir_fd is not None:
            return self._read_row(name, dir_fd, verify, NOTHING)
        overlay = self.overlay
        row = self._read_stored(name, verify)
        if row is None and (session_id := overlay.ids.get(name)) is not None:
            return overlay.unsaved(session_id)
        return row

    def _read_stored(self, name: str, verify: Verify | None = None) -> ScanRow | None:
        row = self._read_row(name, self.fd, verify, self.overlay)
        if row is None and (folder := self.stranded().get(name)):
            return self.read_stranded(name, folder, verify=verify)
        return row

    def _read_row(self, name: str, dir_fd: int, verify: Verify | None, overlay: Overlay) -> ScanRow | None:
        fd = self.open_entry(name, dir_fd=dir_fd)
        if not isinstance(fd, int):
            return fd
        return self.read_opened(fd, name, verify=overlay.verify(verify), overlay=overlay)[0]

    def open_entry(self, name: str, *, dir_fd: int | None = None) -> int | ProblemFile | None:
        """Return the descriptor of a file, for `read_opened`, or its problem; None if there is no such file."""
        try:
            return self.fs.open(name, READ_FLAGS, dir_fd=self.fd if dir_fd is None else dir_fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            if problem := self._why_no_file(name, dir_fd):
                return ProblemFile(name, "foreign", problem)
            return ProblemFile(name, "unreadable", f"could not open it: {error.strerror}")

    def read_opened(
        self,
        fd: int,
        name: str,
        *,
        verify: Verify | None = None,
        buffer: bytearray | None = None,
        overlay: Overlay = NOTHING,
    ) -> tuple[ScanRow | None, os.stat_result | None]:
        """Read the header of an open file as `read_row`, and close it.

        Args:
            fd: From `open_entry`.
            name: The file.
            verify: As for `read_row`.
            buffer: A buffer of `codec.HEADER_PREFIX_BYTES`, which many files may use one after another.
            overlay: The journal over the file.

        Returns:
            The row, and the status of the file just before it was read; None after an error.
        """
        try:
            status = self.fs.fstat(fd)
            return self._read_row_from(fd, name, status, verify=verify, buffer=buffer, overlay=overlay), status
        except OSError as error:
            return ProblemFile(name, "unreadable", f"could not read it: {error.strerror}"), None
        except ValueError as error:
            return ProblemFile(name, "corrupt", str(error)), None
        except MemoryError:
            return ProblemFile(name, "unreadable", "there is not enough memory to read it"), None
        finally:
            close_quietly(self.fs, fd)

    def _read_row_from(
        self,
        fd: int,
        name: str,
        status: os.stat_result,
        *,
        verify: Verify | None,
        buffer: bytearray | None,
        overlay: Overlay,
    ) -> ScanRow:
        fs = self.fs
        if not stat.S_ISREG(status.st_mode):
            return ProblemFile(name, "foreign", why_no_session_file(status.st_mode) or "")
        prefix: bytes | bytearray
        if buffer is None:
            prefix = fs.read(fd, codec.HEADER_PREFIX_BYTES)
        elif (size := fs.readv(fd, [buffer])) == len(buffer):
            prefix = buffer
        else:
            prefix = buffer[:size]
        header = None
        load = None
        if len(prefix) < status.st_size:
            header = codec.decode_header_prefix(prefix)
        if header is None or (verify is not None and verify(header)):
            if status.st_size > codec.MAX_SESSION_BYTES:
                return ProblemFile(name, "unreadable", too_large(status.st_size))
            if not codec.can_begin(prefix):
                # Not worth reading on: the file begins neither with an object nor with bytes that may precede one.
                return ProblemFile(name, "corrupt", "it is not a JSON object")
            # A small file is complete without another read; FUSE may report a size of 0.
            is_whole = len(prefix) == status.st_size > 0
            data = bytes(prefix) if is_whole else read_whole(fs, fd, size=status.st_size)
            header = codec.decode_header(data, modified_at(status))
            load = partial(codec.decode_session, data, modified_at(status))
        if not names.belongs(name, header.session_id, header.channel, header.chat_id):
            return ProblemFile(name, "mismatched", names.mismatch(header.session_id), header)
        header = overlay.header(header, load)
        return StoredSession(name, status.st_size, header, self.file_of(status), self.mark_of(status))

    def file_of(self, status: os.stat_result) -> int:
        """Return a number, not 0, that distinguishes a file from another one in its place: the inode or a stand-in."""
        if self.inodes_last:
            return status.st_ino
        return identity(status.st_mtime_ns, status.st_size) or 1

    def mark_of(self, status: os.stat_result) -> int:
        """Return a mark that changes with any change to a file; 0 where a change cannot be recognised."""
        return mark_of(status.st_ctime_ns) if self.inodes_last else 0

    def stranded(self) -> dict[str, str]:
        """Return the stranded sessions with their folders, as `find_stranded`; none if this process is the owner."""
        return {} if self.is_owned else find_stranded(self.fs, self.fd, self.path)

    def read_stranded(self, name: str, folder: str, *, verify: Verify | None = None) -> ScanRow | None:
        """Read the header of a stranded session, as `read_row`; None also if its folder cannot be opened."""
        try:
            with folder_opened(self.fs, folder, self.fd) as fd:
                return self._read_row(name, fd, verify, self.overlay)
        except OSError:
            return None

    def header(self, session_id: str) -> SessionHeader:
        """Read the header of one session; raises as `load`."""
        return self.find(session_id).header

    def find(self, session_id: str) -> StoredSession:
        """Read the header of one session, and return it as it is stored; raises as `load`."""
        overlay = self.overlay
        for name in names.file_names(session_id):
            row = self._read_stored(name)
            if isinstance(row, StoredSession):
                if row.header.session_id == session_id and self._counts(name, session_id):
                    return row
            elif row is not None and self._stands_for(name, session_id, is_mismatched=row.kind == "mismatched"):
                kinds = {"corrupt": CorruptSessionError, "mismatched": MismatchedSessionError}
                raise kinds.get(row.kind, SessionFileError)(self.path / name, row.reason)
        if (unsaved := overlay.unsaved(session_id)) is not None:
            return unsaved
        raise SessionNotFoundError(session_id)

    def _counts(self, name: str, session_id: str) -> bool:
        """Return whether a file that holds this session counts; under an earlier name, only if it is spelled so."""
        return name == names.file_name(session_id) or self.is_spelled(name) is not False

    def _stands_for(self, name: str, session_id: str, *, is_mismatched: bool) -> bool:
        """Return whether a file that is unusable as this session has its place, and is not another session's."""
        if name == names.file_name(session_id):
            return self.is_spelled(name) is not False
        return not is_mismatched and self.is_spelled(name) is True

    def is_spelled(self, name: str) -> bool | None:
        """Return whether the directory spells a name so, and None if it finds no file; True if the lookup fails."""
        try:
            return is_spelled(self.fs, self.fd, name)
        except OSError:
            return True

    def load(self, session_id: str, *, adopt: bool = False) -> Session:
        """Load a session; a reader gets it with the journal over its file.

        Args:
            session_id: The session.
            adopt: Rename a file that an earlier implementation named differently to our own name for it, and also one
                that this session's new file would overwrite on a file system that ignores case. Only for the owner of
                the directory, with the session's lock held.

        Raises:
            SessionNotFoundError: There is no file. Only this error means that there is no session.
            CorruptSessionError: The content of the file is no session.
            MismatchedSessionError: The content of the file names another session.
            SessionTooLargeError: The file is larger than `codec.MAX_SESSION_BYTES`.
            NoSessionFileError: It is no regular file.
            StoreIOError: The file cannot be read, or the memory does not suffice.
            InvalidSessionIdError: The id names no session.
        """
        ours = names.file_name(session_id)
        try:
            session, _, name = self._load(session_id)
        except SessionNotFoundError:
            if adopt:
                adoption.make_way(self, ours)
            raise
        session_bytes(session)  # counted here, in a worker thread, so that the memory bound need not
        if adopt and name != ours:
            adoption.adopt(self, name, ours)
        return session

    def load_source(self, session_id: str) -> tuple[Session, bytes]:
        """Load a session, and return it with the unchanged content of its file; raises as `load`.

        If the journal changes it, the content is the encoded session.
        """
        return self._load(session_id)[:2]

    def _load(self, session_id: str) -> tuple[Session, bytes, str]:
        """Return a session, the content of its file, and the file's name."""
        overlay = self.overlay
        found: tuple[Session | None, bytes, str] = None, b"", names.file_name(session_id)
        try:
            found = self._load_stored(session_id)
        except SessionNotFoundError:
            if session_id not in overlay:
                raise
        session, data, name = found
        continuation = overlay.session(session_id, session)
        if continuation.session is None:
            raise SessionNotFoundError(session_id)
        if continuation.changed:
            data = bytes(codec.encode_session(continuation.session))
        return continuation.session, data, name

    def _load_stored(self, session_id: str) -> tuple[Session, bytes, str]:
        for name in names.file_names(session_id):
            try:
                session, data = self._load_from(name)
            except SessionFileError as error:
                if getattr(error, "errno", None) != errno.ENOENT and self._stands_for(
                    name, session_id, is_mismatched=False
                ):
                    raise
                continue
            fits = session.session_id == session_id and names.belongs(
                name, session.session_id, session.channel, session.chat_id
            )
            if fits and self._counts(name, session_id):
                return session, data, name
            if not fits and self._stands_for(name, session_id, is_mismatched=True):
                raise MismatchedSessionError(self.path / name, names.mismatch(session.session_id))
        raise SessionNotFoundError(session_id)

    def _load_from(self, name: str) -> tuple[Session, bytes]:
        path = self.path / name
        try:
            with store_errors(path, "read"):
                data, status = self._read_session_file(name)
                session = codec.decode_session(data, modified_at(status))
        except ValueError as error:
            raise CorruptSessionError(path, str(error)) from error
        remember(session, make_on_disk(status, session, inodes_last=self.inodes_last))
        set_file_bytes(session, len(data))
        return session, data

    def _read_session_file(self, name: str) -> tuple[bytes, os.stat_result]:
        try:
            try:
                return self._read_session_file_in(name, self.fd)
            except FileNotFoundError:
                folder = self.stranded().get(name)
                if folder is None:
                    raise
                with folder_opened(self.fs, folder, self.fd) as folder_fd:
                    return self._read_session_file_in(name, folder_fd)
        except OSError as error:
            if problem := self._why_no_file(name):
                raise NoSessionFileError(self.path / name, problem) from error
            raise

    def _why_no_file(self, name: str, dir_fd: int | None = None) -> str | None:
        """Return the reason why an entry that cannot be opened, such as a link or a socket, can hold no session."""
        with suppress(OSError, ValueError):
            return why_no_session_file(self.fs.stat(name, dir_fd=self.fd if dir_fd is None else dir_fd).st_mode)
        return None

    def _read_session_file_in(self, name: str, dir_fd: int) -> tuple[bytes, os.stat_result]:
        with opened(self.fs, name, READ_FLAGS, dir_fd=dir_fd) as fd:
            status = self.fs.fstat(fd)
            if problem := why_no_session_file(status.st_mode):
                raise NoSessionFileError(self.path / name, problem)
            if status.st_size > codec.MAX_SESSION_BYTES:
                raise SessionTooLargeError(self.path / name, too_large(status.st_size))
            return read_whole(self.fs, fd, size=status.st_size), status

    # Writing --------------------------------------------------------------------------------------------------

    def write(self, session: Session, *, make_room: Callable[[], object] = lambda: None) -> os.stat_result:
        """Replace the session's file atomically, and return its status; `sync` makes the new name durable.

        Args:
            session: The new content.
            make_room: Called just before the replacement, to move away the file in its place. An exception from it is
                passed on.

        Raises:
            SessionTooLargeError: The new file could not be loaded again; the old file is still there, whole.
            StoreIOError: The old file is still there, whole, unless `make_room` has moved it.
            OwnershipLostError, ForkedRuntimeError: As `check_owned`; the old file is still there, whole.
        """
        name = names.file_name_of_live(session.session_id)
        with store_errors(self.path, "save", name):
            data = content_of(session, self.path, name)
        with self.work() as work, store_errors(self.path, "save", name):
            status = replace_file(
                self.fs, name, data, dir_fd=self.fd, work_fd=work, under_way=self.under_way, make_room=make_room
            )  # fmt: skip
        if self.saved_files is not None:
            with suppress(OSError, TypeError, ValueError, OverflowError):  # an invalid time: a scan reads the file
                self.saved_files.note(name, session, self.fs.stat(name, dir_fd=self.fd))
        return status

    def sync(self) -> None:
        """Make the names of all files written so far durable.

        Raises:
            StoreIOError: The names may be lost at a power cut.
        """
        with store_errors(self.path, "sync"):
            sync_directory(self.fs, self.fd)
