"""Giving a session that was moved aside its place again, without overwriting what may stand there by now."""

from __future__ import annotations

import errno
import stat
from contextlib import ExitStack, suppress

from miniclaw.errors import SessionFileError
from miniclaw.session.directory import SessionDirectory, log
from miniclaw.session.durability import sync_directory
from miniclaw.session.files import DIRECTORY_FLAGS, NO_LINKS, READ_FLAGS, create_exclusively, opened, read_whole
from miniclaw.session.fs import OsCalls
from miniclaw.session.quarantine import quarantine
from miniclaw.session.rows import ProblemFile, StoredSession, always
from miniclaw.session.work_folders import WorkFolders


def put_back(directory: SessionDirectory, name: str, *, dir_fd: int) -> None:
    """Give a captured file its place again, without overwriting what may stand there by now.

    Afterwards the captured name, if it is still there, is for the caller to unlink, once the sessions directory is
    synced.

    Where another file stands in the place, the one that can be read as a session keeps it (the one in place, if both
    can), and the other goes into quarantine: nothing is lost.

    Raises:
        OSError: It is still captured.
        StoreError: It is still captured.
    """
    if _same_file(directory, name, dir_fd=dir_fd):
        return
    try:
        _link_back(directory, name, dir_fd=dir_fd)
    except FileExistsError:
        in_place = directory.read_row(name, verify=always)
        if isinstance(in_place, ProblemFile) and in_place.kind == "unreadable":
            raise SessionFileError(directory.path / name, in_place.reason) from None
        if isinstance(in_place, StoredSession):
            kept = quarantine(directory, name, dir_fd=dir_fd)
        else:
            kept = quarantine(directory, name)
            _link_back(directory, name, dir_fd=dir_fd)
        log.error("Two files for one session; one is in quarantine", path=str(directory.path / name), kept=str(kept))


def settle_captured(directory: SessionDirectory, name: str) -> None:
    """Put back what an earlier removal has left captured of a session, and unlink its second name."""
    folder = directory.captured.get(name)
    if folder is None:
        return
    fs = directory.fs
    with ExitStack() as resources:
        work = resources.enter_context(directory.work())
        try:
            fd = resources.enter_context(opened(fs, folder, DIRECTORY_FLAGS, dir_fd=work))
            fs.stat(name, dir_fd=fd)
        except FileNotFoundError:
            pass  # its folder is gone as well, or the whole work folder
        else:
            put_back(directory, name, dir_fd=fd)
            sync_directory(fs, directory.fd)
            with suppress(FileNotFoundError):  # it went to quarantine
                fs.unlink(name, dir_fd=fd)
            sync_directory(fs, fd)
    del directory.captured[name]
    WorkFolders(directory).give_back(folder)


def _same_file(directory: SessionDirectory, name: str, *, dir_fd: int) -> bool:
    try:
        there = directory.fs.stat(name, dir_fd=directory.fd)
        here = directory.fs.stat(name, dir_fd=dir_fd)  # none where it went to quarantine
    except FileNotFoundError:
        return False
    return (there.st_ino, there.st_dev) == (here.st_ino, here.st_dev)


def _link_back(directory: SessionDirectory, name: str, *, dir_fd: int) -> None:
    fs = directory.fs
    if not stat.S_ISREG(fs.stat(name, dir_fd=dir_fd).st_mode):
        rename_into_place(fs, name, name, src_dir_fd=dir_fd, dst_dir_fd=directory.fd)
        return
    try:
        fs.link(name, name, src_dir_fd=dir_fd, dst_dir_fd=directory.fd)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with opened(fs, name, READ_FLAGS, dir_fd=dir_fd) as fd:
            data = read_whole(fs, fd)
        create_exclusively(fs, name, data, dir_fd=directory.fd)
        sync_directory(fs, directory.fd)
        fs.unlink(name, dir_fd=dir_fd)


def rename_into_place(fs: OsCalls, source: str, name: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    """Give what cannot be linked, such as a directory, a place of its own; rename would replace, so look first.

    Raises:
        FileExistsError: Something stands there.
        OSError: It has no place.
    """
    try:
        fs.stat(name, dir_fd=dst_dir_fd)
    except FileNotFoundError:
        fs.rename(source, name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
    else:
        raise FileExistsError(errno.EEXIST, "something else stands there", name)
