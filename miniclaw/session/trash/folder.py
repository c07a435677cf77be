"""The folder of the trash: listing it, and the names of its entries."""

from __future__ import annotations

import re
import stat
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from miniclaw.formats import printable
from miniclaw.session import names
from miniclaw.session.disk.atomic import TEMPORARY_PREFIX, store_errors
from miniclaw.session.files.subdirectory import Folder
from miniclaw.session.names import STAMP_CHARS, split_stamped

SUFFIX: Final = ".gz"

PATTERN: Final = f"SESSION.TIME-RANDOM{SUFFIX}"
"""The names of entries, for messages."""

Sizes: TypeAlias = Generator[int, None, None]
"""A listing in progress that yields file sizes in bytes; the consumer closes it."""

_TEMPORARY: Final = re.compile(re.escape(TEMPORARY_PREFIX) + "[0-9a-f]{16}")


def stem_of(session_id: str) -> str:
    """Return the stem with which the names of a session's entries begin.

    Raises:
        InvalidSessionIdError: The text is not the id of a session.
    """
    return names.file_name(session_id).removesuffix(names.SUFFIX)


def stem_of_quarantined(file_id: str) -> str:
    """Return the stem of the entries of a file from quarantine: its name there, stamp included.

    No session's entry has such a stem, because the name of a session whose id has capitals ends with a digest. The stem
    is always valid text. A name that leaves no room for the entry's stamp is cut before its own stamp.
    """
    file, stamp = printable(file_id[:-STAMP_CHARS]), file_id[-STAMP_CHARS:]
    return file.encode()[: names.MAX_NAME_BYTES].decode(errors="ignore") + stamp


def is_from_quarantine(entry_id: str) -> bool:
    """Return whether an entry of this id is a file from quarantine."""
    stem = split_entry_id(entry_id)
    return stem is not None and split_stamped(stem) is not None


def split_entry_id(entry_id: str) -> str | None:
    """Return the stem of an entry's id; None if the text is not the id of an entry."""
    split = split_stamped(entry_id)
    return split[0] if split is not None and "/" not in entry_id else None


def entry_id_of(name: str) -> str | None:
    """Return the id of the entry in a file of this name; None if the name is not that of an entry."""
    entry_id = name.removesuffix(SUFFIX)
    return entry_id if entry_id != name and split_entry_id(entry_id) else None


def is_temporary(name: str) -> bool:
    """Return whether a file of this name is a copy that was not committed."""
    return _TEMPORARY.fullmatch(name) is not None


def names_in(folder: Folder) -> list[tuple[str, bool]]:
    """Return the names in the trash, each with a flag for regular files; none if there is no folder yet."""
    with trash_errors(folder.path, "list the trash"):
        try:
            with folder.opened() as fd, folder.fs.scandir(fd) as entries:
                return [(entry.name, entry.is_file(follow_symlinks=False)) for entry in entries]
        except FileNotFoundError:
            return []


def sizes_in(folder: Folder) -> Sizes:
    """Yield the sizes of the entries in bytes, as `Trash.sizes`; none if the folder does not exist yet."""
    with trash_errors(folder.path, "list the trash"), ExitStack() as resources:
        try:
            fd = resources.enter_context(folder.opened())
        except FileNotFoundError:
            return
        for entry in resources.enter_context(folder.fs.scandir(fd)):
            if entry_id_of(entry.name) is None:
                continue
            try:
                status = folder.fs.stat(entry.name, dir_fd=fd)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield status.st_size


@contextmanager
def trash_errors(path: Path, operation: str) -> Iterator[None]:
    """Map every error of files and values to `StoreIOError`."""
    with store_errors(path, operation):
        try:
            yield
        except ValueError as error:
            raise OSError(str(error)) from error
