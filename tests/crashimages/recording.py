"""A writer at work on a logged disk: what the disk was told, and what the store said meanwhile."""

from __future__ import annotations

import os
import random
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.removal.staging import StagingArea
from tests.crashimages.disk import logged_disk
from tests.crashimages.disk_log import DiskLog, Flush, Write
from tests.crashimages.history import History
from tests.powercut.cutting_os import KINDS
from tests.powercut.image import CannotRunError, Image, make_file_system
from tests.powercut.writer import SESSION_IDS, make_writers, run_writers

SESSIONS_NAME: Final = "sessions"

_EVENTS: Final = 400


@dataclass
class Recording:
    """What the disk was told, from the mount to the end of the work, and the ledger of that time.

    Attributes:
        end: The last position at which a crash may be looked at.
    """

    log: DiskLog
    history: History
    end: int
    acknowledgements: int


def make_base(kind: str, path: Path) -> None:
    """Make the image with which a recording begins: an empty sessions directory."""
    make_file_system(kind, path)
    with ExitStack() as stack:
        image = Image(kind, path, path.with_suffix(".base"))
        stack.callback(image.close)
        image.mount()
        SessionDirectory.open(image.mountpoint / SESSIONS_NAME, create=True).close()


def record(kind: str, base: Path, directory: Path, chance: random.Random, broken: str) -> Recording:
    """Let one writer or several work over the store's own code, until the ledger has enough."""
    with ExitStack() as stack:
        disk = stack.enter_context(logged_disk(base, directory))
        image = Image(kind, disk.path, directory / "mounted", direct=True)
        stack.callback(image.close)
        image.mount()
        history = History(SESSION_IDS, disk.log_size)
        fs = KINDS[broken](image.commit)
        fs.arm(_nothing, before=None, chance=chance)
        with SessionDirectory.open(image.mountpoint / SESSIONS_NAME, fs=fs) as sessions:
            sessions.own()
            StagingArea(sessions).recover()

            def is_enough() -> bool:
                return len(history.events) >= _EVENTS

            writers = make_writers(sessions, history, chance, is_enough)
            if chance.random() < 0.5:
                writers = [chance.choice(writers)]
            run_writers(writers, is_enough)
            end = disk.log_size()
        log = disk.log()
    return Recording(log, history, log.position(end), sum(writer.acknowledgements for writer in writers))


def record_start_up(kind: str, base: Path, directory: Path) -> DiskLog:
    """Start up on what a crash has left; return what the disk was told, from the mount to the umount."""
    with ExitStack() as stack:
        disk = stack.enter_context(logged_disk(base, directory))
        with ExitStack() as mounts:
            image = Image(kind, disk.path, directory / "mounted", direct=True)
            mounts.callback(image.close)
            image.mount()
            with SessionDirectory.open(image.mountpoint / SESSIONS_NAME) as sessions:
                sessions.own()
                StagingArea(sessions).recover()
        return disk.log()


def try_disk(kind: str, directory: Path | None) -> None:
    """Try whether a logged disk can be mounted here, and whether it is told of an fsync.

    Raises:
        CannotRunError: It cannot be, or is not; the text says why.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=directory)))
        base = folder / "base.img"
        make_base(kind, base)
        disk = stack.enter_context(logged_disk(base, folder))
        image = Image(kind, disk.path, folder / "mounted", direct=True)
        stack.callback(image.close)
        image.mount()
        before = len(disk.log().entries)
        with (image.mountpoint / "file").open("wb") as file:
            file.write(b"content")
            file.flush()
            os.fsync(file.fileno())
        told = disk.log().entries[before:]
    if not any(isinstance(entry, Write) for entry in told) or not any(isinstance(entry, Flush) for entry in told):
        raise CannotRunError(f"{kind}: the loop device does not pass an fsync on")


def _nothing() -> None:
    """Nobody cuts the power: the crashes are made from the log."""
