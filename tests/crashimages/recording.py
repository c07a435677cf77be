"""A writer at work on a logged disk: what the disk was told, and what the store said meanwhile."""

from __future__ import annotations

import os
import random
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from miniclaw.session.files.directory import SessionDirectory
from tests.crashimages.disk import logged_disk
from tests.crashimages.disk_log import DiskLog, Flush, Write
from tests.crashimages.history import History, SaidHistory
from tests.fakes.chatter import CHATTING_IDS, Chatter, small_segments
from tests.powercut.cutting_os import KINDS
from tests.powercut.image import CannotRunError, Image, make_file_system
from tests.powercut.start_up import StartUp
from tests.powercut.writer import SESSION_IDS, make_writers, run_writers

SESSIONS_NAME: Final = "sessions"

_EVENTS: Final = 600


@dataclass
class Recording:
    """What the disk was told, from the mount to the end of the work, and the ledgers of that time.

    Attributes:
        end: The last position at which a crash may be looked at.
    """

    log: DiskLog
    history: History
    said: SaidHistory
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
    """Let people chat, and writers save files over the store's own code, one or all, until the ledgers have enough."""
    with ExitStack() as stack:
        disk = stack.enter_context(logged_disk(base, directory))
        image = Image(kind, disk.path, directory / "mounted", direct=True)
        stack.callback(image.close)
        image.mount()
        history, said = History(SESSION_IDS, disk.log_size), SaidHistory(CHATTING_IDS, disk.log_size)
        fs = KINDS[broken](image.commit)
        fs.arm(_nothing, before=None, chance=chance)
        stack.enter_context(small_segments())

        def is_enough() -> bool:
            return len(history.events) + len(said.events) >= _EVENTS

        async def work() -> tuple[int, int]:
            async with StartUp().opened(image.mountpoint / SESSIONS_NAME, fs) as store:
                chatter = Chatter(store, said, chance, is_enough)
                writers = make_writers(store.directory, history, chance, is_enough)
                is_chatting = True
                if chance.random() < 0.5:
                    is_chatting = chance.random() < 0.6
                    writers = [] if is_chatting else [chance.choice(writers)]
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.to_thread.run_sync, partial(run_writers, writers, is_enough))
                    if is_chatting:
                        nursery.start_soon(chatter.run)
                assert not chatter.wrong
                acknowledgements = said.acknowledgements + sum(writer.acknowledgements for writer in writers)
                return disk.log_size(), acknowledgements

        end, acknowledgements = trio.run(work)
        log = disk.log()
    return Recording(log, history, said, log.position(end), acknowledgements)


def record_start_up(kind: str, base: Path, directory: Path) -> DiskLog:
    """Start up on what a crash has left; return what the disk was told, from the mount to the umount."""
    with ExitStack() as stack:
        disk = stack.enter_context(logged_disk(base, directory))
        with ExitStack() as mounts:
            image = Image(kind, disk.path, directory / "mounted", direct=True)
            mounts.callback(image.close)
            image.mount()
            trio.run(_start_only, image.mountpoint / SESSIONS_NAME)
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


async def _start_only(path: Path) -> None:
    async with StartUp().opened(path):
        pass


def _nothing() -> None:
    """Nobody cuts the power: the crashes are made from the log."""
