"""A start-up over what a crash has left, and the check of what it finds."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
import trio

from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.subdirectory import TRASH_NAME
from miniclaw.session.journal.records import JOURNAL_NAME
from miniclaw.session.live.store import FileSessionStore, open_store
from tests.fakes.descriptors import descriptors_below
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.said import Said
from tests.fakes.threads import until
from tests.powercut.ledger import Findings, Ledger


class StartUp:
    """Starts up and checks, as often as wanted. An ERROR in the log is a finding: nobody else was at the files."""

    def __init__(self) -> None:
        self._errors: list[str] = []
        structlog.configure(processors=[self._log], cache_logger_on_first_use=False)

    def _log(self, _logger: Any, level: str, event: MutableMapping[str, Any]) -> Any:
        if level == "error":
            self._errors.append(str(event))
        raise structlog.DropEvent

    @asynccontextmanager
    async def opened(self, path: Path, fs: OsCalls | None = None) -> AsyncIterator[FileSessionStore]:
        """Open the sessions directory as a gateway does: own it, recover, and apply the journal.

        Raises:
            OSError: It failed.
            StoreError: It failed.
        """
        self._errors.clear()
        try:
            async with open_store(path, create=False, fs=fs) as store:
                yield store
        finally:
            with trio.move_on_after(PATIENCE_SECONDS, shield=True):
                await until(lambda: not descriptors_below(path))  # a thread in the background holds the directory

    def check(self, path: Path, ledger: Ledger, said: Said) -> Findings:
        """Compare what is there after a start with what was acknowledged."""
        with SessionDirectory.open(path) as reader:
            found = ledger.check(reader)
            for kind, sentences in said.check(reader.load).items():
                getattr(found, kind).extend(sentences)
        found.left += [f"{segment} is left" for segment in path.glob(f"{JOURNAL_NAME}/*")]
        found.left += self._errors
        for entry in path.glob(f"{TRASH_NAME}/*"):
            entry.unlink()
        return found
