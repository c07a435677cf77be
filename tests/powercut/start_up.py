"""A start-up over what a crash has left, and the check of what it finds."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import structlog

from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.removal.staging import StagingArea
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

    def run(self, directory: SessionDirectory) -> None:
        """Do what a gateway does first.

        Raises:
            OSError: It failed.
            StoreError: It failed.
        """
        self._errors.clear()
        directory.own()
        StagingArea(directory).recover()

    def check(self, path: Path, ledger: Ledger) -> Findings:
        """Compare what is there after `run` with what was acknowledged."""
        with SessionDirectory.open(path) as reader:
            found = ledger.check(reader)
        found.left += self._errors
        return found
