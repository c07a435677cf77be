"""Recovery at the start: resolving the files that a dead process left in the work folder."""

from __future__ import annotations

from msgspec import Struct

from miniclaw.errors import StoreError
from miniclaw.session import names
from miniclaw.session.disk.atomic import DIRECTORY_FLAGS, TEMPORARY_PREFIX, opened, store_errors, unlink_quietly
from miniclaw.session.disk.sync import sync_directory
from miniclaw.session.files.directory import SessionDirectory, log
from miniclaw.session.files.stranded import BATCH_PREFIX, WORK_NAME
from miniclaw.session.removal.put_back import put_back
from miniclaw.session.removal.staging import WorkFolders


class Recovery(Struct, frozen=True):
    """Counts of one recovery: sessions that were put back, and temporary files that were deleted."""

    put_back: int = 0
    temporary: int = 0


def recover(directory: SessionDirectory) -> Recovery:
    """Resolve the files that a dead process left in the work folder. None of them has a live owner.

    Temporary files were never sessions, and are deleted. Captured sessions are put back: an unfinished removal was not
    reported, and the next run decides anew.

    Raises:
        StoreIOError: The work folder cannot be read. A session that cannot be put back is logged and remains there.
    """
    fs = directory.fs
    work = directory.path / WORK_NAME
    empty: list[str] = []
    temporary = put = 0
    with directory.work() as work_fd:
        with store_errors(work, "list"), fs.scandir(work_fd) as entries:
            found = [entry.name for entry in entries]
        for name in found:
            if name.startswith(TEMPORARY_PREFIX):
                unlink_quietly(fs, name, dir_fd=work_fd)
                temporary += 1
            elif name.startswith(BATCH_PREFIX):
                try:
                    put += _recover_batch(directory, name, work_fd)
                    empty.append(name)
                except (OSError, StoreError) as error:
                    log.error("Unfinished removal could not be resolved", path=str(work / name), error=str(error))
    WorkFolders(directory).keep_one_ready(empty)
    if temporary or put:
        log.warning("Resolved what an earlier process left", put_back=put, temporary=temporary, path=str(work))
    return Recovery(put, temporary)


def _recover_batch(directory: SessionDirectory, folder: str, work_fd: int) -> int:
    fs = directory.fs
    with opened(fs, folder, DIRECTORY_FLAGS, dir_fd=work_fd) as fd:
        with fs.scandir(fd) as entries:
            # NFS and FUSE keep a file that was unlinked while open, under a hidden name: it is not captured.
            captured = [entry.name for entry in entries if names.is_session_file(entry.name)]
        if not captured:
            return 0
        for name in captured:
            put_back(directory, name, dir_fd=fd)
        sync_directory(fs, directory.fd)
        for name in captured:
            unlink_quietly(fs, name, dir_fd=fd)
        sync_directory(fs, fd)
    return len(captured)
