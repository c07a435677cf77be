"""Small steps over `OsCalls` that the store and the state directory share: open, read, write, replace.

Each step is relative to a directory descriptor and follows no link in the last component.

A file that root creates gets the owner and group of its directory, where possible before it gets its name: a single
command run as root must not lock the workspace's user out.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

from miniclaw.errors import StoreIOError
from miniclaw.session.disk.sync import log_shortcoming, sync_file
from miniclaw.session.disk.syscalls import Bytes, OsCalls

PRIVATE_DIR: Final = 0o700
PRIVATE_FILE: Final = 0o600
TEMPORARY_PREFIX: Final = "tmp-"

# O_NONBLOCK: opening a FIFO must not wait for a writer. The flag has no effect on a regular file.
READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
)
"""Error numbers of link(): on file systems without hard links (FAT, exFAT, some network ones), where a policy forbids
them (Android), at the limit of links, or across the disks of a pool (mergerfs)."""

Content: TypeAlias = Bytes | Iterator[Bytes]
"""The content of a file to write: all of it, or its pieces, each made only after those before it are written."""

_READ_BYTES: Final = 1024 * 1024
_END_BYTES: Final = 4096  # read where a file is expected to end

ROOT: Final = 0
"""The user id of root."""

NOT_GIVEN: Final = (
    "Files that root makes here cannot be given to the directory's owner, who may not be able to use them"
)


@contextmanager
def store_errors(path: Path, operation: str, name: str = "") -> Iterator[None]:
    """Map `OSError` to `StoreIOError` for this path and operation, and `MemoryError` as ENOMEM.

    Args:
        path: The file of the operation, or its folder.
        operation: An infinitive.
        name: The file in that folder. Only an error joins the two, because a save seldom needs the path.
    """
    try:
        yield
    except (OSError, MemoryError) as error:
        # No variable holds the error: it would hold itself by its traceback, and with it all that its frames hold.
        raise StoreIOError(
            path / name,
            operation,
            error if isinstance(error, OSError) else OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        ) from error


def opened(fs: OsCalls, name: str, flags: int, *, dir_fd: int | None = None) -> AbstractContextManager[int]:
    """Open a file, and close it on leaving."""
    return _closed(fs, fs.open(name, flags, PRIVATE_FILE, dir_fd=dir_fd))


def opened_to_write(fs: OsCalls, name: str, flags: int, *, dir_fd: int) -> AbstractContextManager[int]:
    """Open a file with `open_or_create`, and close it on leaving."""
    return _closed(fs, open_or_create(fs, name, flags, dir_fd=dir_fd))


@contextmanager
def _closed(fs: OsCalls, fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        close_quietly(fs, fd)


def read_whole(fs: OsCalls, fd: int, *, size: int = 0, at: int = 0) -> bytes:
    """Read an open file to its end, regardless of its read position.

    Args:
        fs: The system calls.
        fd: The file.
        size: Its size in bytes, if known; it may have changed since. That many bytes are read at once, which avoids a
            second copy of a large file.
        at: The position of the first byte.
    """
    parts: list[bytes] = []
    while part := fs.pread(fd, size - at if size > at else _END_BYTES if size == at else _READ_BYTES, at):
        parts.append(part)
        at += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def fill(fs: OsCalls, fd: int, buffer: memoryview) -> None:
    """Read on in an open file until the buffer is full.

    Raises:
        ValueError: The file ends too early.
    """
    while buffer:
        size = fs.readv(fd, [buffer])
        if not size:
            raise ValueError("it ends too early")
        buffer = buffer[size:]


def write_all(fs: OsCalls, fd: int, data: Bytes) -> None:
    """Write all of `data`. After a short write (a full disk, a limit) the next one raises the cause."""
    view = memoryview(data)
    while view:
        view = view[fs.write(fd, view) :]


def replace_file(
    fs: OsCalls,
    name: str,
    data: Content,
    *,
    dir_fd: int,
    work_fd: int | None = None,
    under_way: set[str] | None = None,
    make_room: Callable[[], object] = lambda: None,
) -> os.stat_result:
    """Replace the content of `name` atomically: at any moment the name shows the old content or the new one.

    A temporary file with a unique name in the work directory (`work_fd`, else `dir_fd`) is written, synced and renamed.
    Meanwhile its name is in `under_way`, if given, by which a cleanup recognises that the file is in use.

    Durability: the content is on the disk when this returns; the name is once the caller has synced `dir_fd`.

    `make_room` is called just before the rename, to move away the file in the place.

    Returns:
        The status of the new file, without the changes that the rename makes.

    Raises:
        OSError: Nothing has changed, except by `make_room`. The temporary file is deleted unless unlinking fails as
            well. The same holds for any exception from `make_room`, or from the pieces of `data`.
    """
    work_fd = dir_fd if work_fd is None else work_fd
    with temporary_name(under_way) as temporary:
        status = create_exclusively(fs, temporary, data, dir_fd=work_fd)
        try:
            make_room()
            fs.rename(temporary, name, src_dir_fd=work_fd, dst_dir_fd=dir_fd)
        except BaseException:
            unlink_quietly(fs, temporary, dir_fd=work_fd)
            raise
    return status


@contextmanager
def temporary_name(under_way: set[str] | None) -> Iterator[str]:
    """Yield a unique name for a temporary file; it is in `under_way` until the block ends."""
    temporary = TEMPORARY_PREFIX + os.urandom(8).hex()  # like `secrets`, which is slow to import
    under_way = set() if under_way is None else under_way
    under_way.add(temporary)
    try:
        yield temporary
    finally:
        under_way.discard(temporary)


def close_quietly(fs: OsCalls, fd: int) -> None:
    """Close a descriptor and ignore an error: it is gone even then, and after a sync or read the error says nothing."""
    try:  # noqa: SIM105 - called for each file of a scan; suppress() takes half as long as the close
        fs.close(fd)
    except OSError:
        pass


def unlink_quietly(fs: OsCalls, name: str, *, dir_fd: int) -> None:
    """Unlink one of our own files that is no longer needed; after a failure the next start sweeps it."""
    with suppress(OSError):
        fs.unlink(name, dir_fd=dir_fd)


def name_exclusively(fs: OsCalls, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    """Give a file a new name, which must be free.

    A hard link does this and overwrites nothing; the caller unlinks the earlier name. Without hard links, the file is
    renamed after a check: it is whole at any moment and takes no extra space, but a file that another program creates
    between check and rename is lost.

    Raises:
        FileExistsError: The name is taken.
        OSError: The file has its earlier name only.
    """
    try:
        fs.link(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        rename_exclusively(fs, source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


def rename_exclusively(fs: OsCalls, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    """Rename a file after a check that the new name is free.

    Raises:
        FileExistsError: The name is taken.
        OSError: The file was not renamed.
    """
    try:
        fs.stat(target, dir_fd=dst_dir_fd)
    except FileNotFoundError:
        fs.rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
    else:
        raise FileExistsError(errno.EEXIST, "something else stands there", target)


def create_exclusively(fs: OsCalls, name: str, data: Content, *, dir_fd: int) -> os.stat_result:
    """Create a file with this content, synced, and return its status.

    Raises:
        FileExistsError: The name is taken.
        OSError: The file could not be written. The partial file is unlinked, as after any exception from a piece of
            `data`.
    """
    fd = create_file(fs, name, dir_fd=dir_fd)
    try:
        try:
            for piece in (data,) if isinstance(data, (bytes, bytearray, memoryview)) else data:
                write_all(fs, fd, piece)
            # After a failed fsync the kernel drops the unwritten pages: the next try needs a new file, not a retry.
            sync_file(fs, fd)
            return fs.fstat(fd)
        finally:
            close_quietly(fs, fd)
    except BaseException:
        unlink_quietly(fs, name, dir_fd=dir_fd)
        raise


def create_file(fs: OsCalls, name: str, *, dir_fd: int) -> int:
    """Create a file with mode 0600, and return it open for writing.

    Raises:
        FileExistsError: The name is taken.
        OSError: The file was not created.
    """
    fd = fs.open(name, _CREATE_FLAGS, PRIVATE_FILE, dir_fd=dir_fd)
    give_to_owner(fs, fd, dir_fd=dir_fd)
    return fd


def open_or_create(fs: OsCalls, name: str, flags: int, *, dir_fd: int) -> int:
    """Open one of our own files to write in place, with the flags of open(); create a missing one with mode 0600."""
    with suppress(FileNotFoundError):
        return fs.open(name, flags, PRIVATE_FILE, dir_fd=dir_fd)
    try:
        fd = fs.open(name, flags | os.O_CREAT | os.O_EXCL, PRIVATE_FILE, dir_fd=dir_fd)
    except FileExistsError:  # created between the two calls
        return fs.open(name, flags, PRIVATE_FILE, dir_fd=dir_fd)
    give_to_owner(fs, fd, dir_fd=dir_fd)
    return fd


def give_to_owner(fs: OsCalls, fd: int, *, dir_fd: int) -> None:
    """Give a file that root has just created to the owner and group of its directory, if that is not root's.

    Never call this for an existing file: its name may be a link that the directory's owner made to a file of root's.
    A failure (of root in a container, or on a file system without owners) is one WARNING for each file system.
    """
    if not fs.is_root:
        return
    try:
        folder = fs.fstat(dir_fd)
        if folder.st_uid != ROOT:
            fs.fchown(fd, folder.st_uid, folder.st_gid)
    except OSError as error:
        with suppress(OSError):
            log_shortcoming(fs, dir_fd, NOT_GIVEN, error)
