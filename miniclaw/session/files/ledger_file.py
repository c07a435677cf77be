"""The ledger's file, in the state directory. A file that is lost, damaged or not writable costs only time."""

from __future__ import annotations

from functools import partial
from typing import Final

from miniclaw.errors import StoreError
from miniclaw.loggers import get_logger
from miniclaw.session.disk.atomic import READ_FLAGS, fill, opened, replace_file
from miniclaw.session.files.ledger import MAX_FILE_BYTES, Ledger
from miniclaw.session.files.subdirectory import Folder

LEDGER_NAME: Final = "sessions.ledger"

log = get_logger("miniclaw.session.ledger")


class LedgerFile:
    """The file of the ledger. Its methods block; one thread at a time.

    Args:
        folder: The folder of the file.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def load(self) -> Ledger:
        """Return the ledger; an empty one if its file is missing or cannot be read."""
        fs = self._folder.fs
        try:
            with self._folder.opened() as folder, opened(fs, LEDGER_NAME, READ_FLAGS, dir_fd=folder) as fd:
                size = fs.fstat(fd).st_size
                return Ledger.read(size if size <= MAX_FILE_BYTES else 0, partial(fill, fs, fd))
        except FileNotFoundError:
            return Ledger()
        except (OSError, StoreError, ValueError, MemoryError) as error:
            log.info("Ledger is begun anew; this scan reads every file", problem=str(error) or "not enough memory")
            return Ledger()

    def save(self, ledger: Ledger) -> None:
        """Write the ledger, if it has changed since it was loaded; one that is too large is kept in memory only."""
        if not (ledger.changed and ledger.can_be_loaded):
            return
        try:
            with self._folder.made(durable=False) as folder:
                replace_file(self._folder.fs, LEDGER_NAME, iter(ledger.encoded()), dir_fd=folder)
        except (OSError, StoreError) as error:
            log.warning("Ledger could not be written; the next scan reads more files", problem=str(error))
        else:
            ledger.changed = False
