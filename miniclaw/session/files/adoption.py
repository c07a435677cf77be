"""Adoption: a file of an earlier implementation gets our own name when its session is used or it blocks another one."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from miniclaw.loggers import get_logger
from miniclaw.session import names
from miniclaw.session.disk.atomic import store_errors
from miniclaw.session.disk.spelling import is_spelled, spellings
from miniclaw.session.files.ownable import OwnableDirectory
from miniclaw.session.files.places import Voided, return_to_place
from miniclaw.session.files.quarantine_folder import quarantine

log: Final = get_logger("miniclaw.session.store")


def adopt(directory: OwnableDirectory, name: str, ours: str, *, may_be_live: bool = False) -> None:
    """Rename a session's file to our own name for it.

    Args:
        directory: Owned by this process.
        name: The bare name of an earlier implementation. No error if it is missing: the file has just been adopted.
        ours: Our own name.
        may_be_live: If false, the caller holds the session's lock, and memory has no changes of the session: records in
            the journal are of a file that is gone, and count no more. If true, they stay, for memory may have the
            session, unsaved; its next save compares the file.

    Raises:
        StoreIOError: The file still has its earlier name; another program may have made a file of our own name.
    """
    directory.check_owned()
    with store_errors(directory.path / name, f"rename to {ours}"), suppress(FileNotFoundError):
        if may_be_live:
            return_to_place(directory, name, ours, dir_fd=directory.fd, is_file=False)
        else:
            Voided(directory, [ours]).adopt(name, ours)


def make_way(directory: OwnableDirectory, ours: str) -> None:
    """Clear the place of a session that has no file, so that its first save overwrites no other file.

    On a file system that ignores case, ``web_Bob.json`` of an earlier implementation stands in the place of bob's
    ``web_bob.json``. It is adopted for Bob. If it is the name of no session, or Bob has another file, it is moved to
    quarantine.

    Args:
        directory: Owned by this process.
        ours: Our own name for the session that has no file.

    Raises:
        StoreIOError: The place is not free.
    """
    if not directory.ignores_case:
        return
    fs, fd = directory.fs, directory.fd
    with store_errors(directory.path, "make way for", ours):
        found = spellings(fs, fd, ours) if is_spelled(fs, fd, ours) is False else []
    for name in found:
        its_own = names.own_name_of_bare(name)
        with store_errors(directory.path, "make way for", ours):
            is_free = its_own is not None and is_spelled(fs, fd, its_own) is None
        if its_own is not None and is_free:
            adopt(directory, name, its_own, may_be_live=True)
        else:
            kept = quarantine(directory, name)
            log.warning(
                "File in the place of another session moved to quarantine; its name differs in case only",
                path=str(directory.path / name), kept=str(kept),
            )  # fmt: skip
