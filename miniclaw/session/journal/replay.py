"""The start of an owner: the records of an earlier process are applied to the session files, and its segments deleted.

A file is written only where it ends as the journal says that it did (`miniclaw.session.journal.overlay`). All else is
left alone: records that do not fit go to quarantine, as a session of their own, and a file that was deleted by hand is
not made again. Every step can be cut off and repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Raw, Struct, field

from miniclaw.errors import SessionFileError, SessionNotFoundError, StoreError, StoreIOError
from miniclaw.loggers import get_logger
from miniclaw.session.disk.atomic import read_whole, replace_file, store_errors
from miniclaw.session.disk.directories import opened_to_read
from miniclaw.session.disk.sync import sync_directory
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import quarantine_folder, quarantined_stem
from miniclaw.session.files.subdirectory import Folder
from miniclaw.session.format import codec
from miniclaw.session.journal.journal import Journal
from miniclaw.session.journal.overlay import PASSING, Continuation, Segment, continued, read_segments, unfit_of
from miniclaw.session.journal.records import JOURNAL_NAME, Record, has_news, live_records
from miniclaw.session.names import file_name, parts_of, split_stamped, stamped
from miniclaw.session.types import NO_TIME, Session

SAVE_THREADS: Final = 4

log: Final = get_logger("miniclaw.session.store")


class Replay(Struct):
    """The outcome of a replay.

    Attributes:
        journal: The journal, for the commits of this process.
        unsaved: The sessions that could not be saved, because the disk may be full; their segments remain.
        unread: The records of the sessions whose files could not be read, by session id; the journal keeps them.
    """

    journal: Journal
    unsaved: list[Session] = field(default_factory=list)
    unread: dict[str, Sequence[Record]] = field(default_factory=dict)


def replay(directory: SessionDirectory) -> Replay:
    """Apply the journal to the session files, and delete its segments.

    Args:
        directory: Owned by this process; captured files are back in their places.

    Raises:
        JournalFormatError: A newer version has written the journal.
        StoreError: The journal cannot be listed; or it, or a session file, cannot be read for a reason that passes
            (`overlay.PASSING`); or a segment that cannot be read cannot be put into quarantine, and a later start could
            take its records for saved.
    """
    segments = read_segments(directory.fs, directory.fd, directory.path)
    for segment in segments:
        if segment.problem and not segment.records:
            _quarantine(directory, segment)
    records = [record for segment in segments for record in segment.records]
    changed, stuck, unread = _apply(directory, live_records(records))
    unsaved = _save(directory, changed)
    if changed:
        log.info("Journal applied to the session files", sessions=len(changed) - len(unsaved), failed=len(unsaved))
    old = {segment.number: {record.s for record in segment.records if record.s} for segment in segments}
    journal = Journal(directory, old, next_record=max((record.i for record in records), default=0) + 1)
    for session_id in (*stuck, *unread):
        journal.index.keep_records(session_id)
    is_needed = bool(unsaved or stuck or unread)
    for segment in segments:
        if segment.problem and segment.records and (is_needed or not _put_away(directory, journal, segment)):
            journal.index.keep(segment.number)
    if not unsaved:
        _delete_spent(journal)
    return Replay(journal, unsaved, unread)


def check_read(path: Path, unread: Iterable[str], names: Collection[str]) -> None:
    """Refuse to remove, move or replace files that could not be read at the start.

    Args:
        path: The sessions directory.
        unread: The ids of the sessions with such files, as in `Replay.unread`.
        names: The names of the files.

    Raises:
        SessionFileError: The journal has messages that one of them lacks.
    """
    for name in map(file_name, list(unread)):
        if name in names:
            reason = "the journal has messages that it lacks, because it could not be read at the start"
            raise SessionFileError(path / name, f"{reason}; use the session, or restart, and try again")


def _apply(
    directory: SessionDirectory, live: Mapping[str, Sequence[Record]]
) -> tuple[list[Session], list[str], dict[str, Sequence[Record]]]:
    """Apply live records to the session files in memory.

    Returns:
        The sessions to save; the ids of those with records that fit nowhere and are not in quarantine; and the records
        of those whose files could not be read, by session id.
    """
    changed: list[Session] = []
    stuck: list[str] = []
    unread: dict[str, Sequence[Record]] = {}
    for session_id, its_records in live.items():
        if not has_news(its_records):
            continue
        found = _continued(directory, session_id, its_records)
        if found is None:
            unread[session_id] = its_records
            continue
        if found.changed and found.session is not None:
            changed.append(found.session)
        if found.unfit and not _keep(directory, session_id, found.unfit):
            stuck.append(session_id)
    return changed, stuck, unread


def _continued(directory: SessionDirectory, session_id: str, records: Sequence[Record]) -> Continuation | None:
    """Return a session with its records; None: the system does not let its file be read."""
    try:
        session: Session | None = directory.load(session_id, adopt=True)
    except SessionNotFoundError:
        session = None
    except StoreError as error:
        if isinstance(error, StoreIOError):
            if error.errno in PASSING:
                raise
            log.error("Session file cannot be read; the journal keeps the messages that the file lacks until it can",
                      session_id=session_id, path=str(error.path), error=str(error))  # fmt: skip
            return None
        log.error("Session file cannot be read, so the journal cannot be applied to it",
                  session_id=session_id, error=str(error))  # fmt: skip
        return Continuation(None, False, unfit_of(records))
    return continued(session, records)


def _keep(directory: SessionDirectory, session_id: str, records: Sequence[Record]) -> bool:
    """Put records that do not fit into quarantine, as a session; return whether they are there."""
    first = records[0]
    created_at, used = first.life or NO_TIME, max(record.la or NO_TIME for record in records)
    session = Session(session_id, *parts_of(session_id), created_at, used)
    # A commit that failed is repeated by the next one, and both may be there.
    added = dict.fromkeys((record.n, bytes(record.m)) for record in records if record.op == "add")
    session.messages += [codec.read_message(Raw(message), used) for _, message in added]
    data, stem = codec.encode_session(session), quarantined_stem(file_name(session_id))
    name = stamped(stem, directory.now())
    folder = quarantine_folder(directory)
    try:
        with folder.made() as fd, directory.work() as work, store_errors(folder.path, "write", name):
            if (kept := _find(directory, fd, stem, data)) is None:  # else a start that was cut off has put it there
                replace_file(directory.fs, name, data, dir_fd=fd, work_fd=work)
            sync_directory(directory.fs, fd)
    except StoreError as error:
        log.error("Messages in the journal do not fit their session file, and cannot be put into quarantine",
                  session_id=session_id, messages=len(session.messages), error=str(error))  # fmt: skip
        return False
    log.error("Messages in the journal do not fit their session file, which was changed or deleted; they are in "
              "quarantine, as a session", session_id=session_id, messages=len(session.messages),
              kept=str(folder.path / (kept or name)))  # fmt: skip
    return True


def _find(directory: SessionDirectory, folder: int, stem: str, data: bytes | bytearray) -> str | None:
    """Return the name of a file in quarantine with this stem and this content; None: there is none."""
    fs = directory.fs
    with fs.scandir(folder) as entries:
        found = [entry.name for entry in entries if (split := split_stamped(entry.name)) and split[0] == stem]
    for name in found:
        with suppress(OSError), opened_to_read(fs, name, dir_fd=folder) as (fd, status):
            if status.st_size == len(data) and read_whole(fs, fd, size=status.st_size) == data:
                return name
    return None


def _save(directory: SessionDirectory, sessions: Sequence[Session]) -> list[Session]:
    """Save sessions in several threads; return those that could not be saved."""
    if not sessions:
        return []
    with ThreadPoolExecutor(SAVE_THREADS) as pool:
        errors = list(pool.map(lambda session: _attempt(partial(directory.write, session)), sessions))
    failed = [session for session, error in zip(sessions, errors, strict=True) if error is not None]
    errors.append(_attempt(directory.sync))
    for error in errors:
        if error is not None:
            log.error("Session of the journal could not be saved; it stays in memory for the next try",
                      error=str(error))  # fmt: skip
    return list(sessions) if errors[-1] is not None else failed


def _attempt(work: Callable[[], object]) -> StoreError | None:
    try:
        work()
    except StoreError as error:
        return error
    return None


def _put_away(directory: SessionDirectory, journal: Journal, segment: Segment) -> bool:
    """Put a damaged segment into quarantine, after the deletion of the older ones; return whether it is there.

    Its `void` must not vanish before the records that it makes count no more.
    """
    older = [number for number in journal.spent() if number < segment.number]
    error = _attempt(lambda: journal.delete(older)) or _attempt(partial(_quarantine, directory, segment))
    if error is not None:
        log.error("Damaged journal segment stays; the next start tries again", error=str(error))
    return error is None


def _delete_spent(journal: Journal) -> None:
    if (error := _attempt(lambda: journal.delete(journal.spent()))) is not None:
        log.warning("Journal segments could not be deleted; it is tried again", error=str(error))


def _quarantine(directory: SessionDirectory, segment: Segment) -> None:
    folder, name = quarantine_folder(directory), stamped(segment.name, directory.now())
    with (
        store_errors(directory.path / JOURNAL_NAME, "move to quarantine", segment.name),
        folder.made() as target,
        Folder.within(directory, JOURNAL_NAME).opened(to_change=True) as source,
    ):
        directory.fs.rename(segment.name, name, src_dir_fd=source, dst_dir_fd=target)
        for fd in (target, source):
            sync_directory(directory.fs, fd)
    log.error("Journal is damaged; acknowledged messages may be missing, and the segment is in quarantine",
              segment=segment.name, reason=segment.problem, kept=str(folder.path / name))  # fmt: skip
