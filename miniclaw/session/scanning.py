"""The listing of a sessions directory, header by header, in batches that are bounded in time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from time import perf_counter
from typing import Self

from miniclaw.session import names
from miniclaw.session.directory import SessionDirectory
from miniclaw.session.files import DIRECTORY_FLAGS, opened, store_errors, why_no_session_file
from miniclaw.session.rows import ProblemFile, ScanRow, Verify


class DirectoryScan:
    """A listing of a directory in progress, to be closed. One thread at a time.

    Args:
        directory: What is listed.
        verify: See `SessionDirectory.read_row`.
    """

    def __init__(self, directory: SessionDirectory, verify: Verify | None = None) -> None:
        self._directory = directory
        self._verify = verify
        self._resources = ExitStack()
        self._rows = self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the listing."""
        self._resources.close()

    def next_batch(self, *, seconds: float) -> list[ScanRow]:
        """Read on for about so long, at least one entry; return an empty list at the end only.

        What vanishes between listing and reading is left out.

        Raises:
            StoreIOError: The directory cannot be listed, or the listing broke off.
        """
        rows: list[ScanRow] = []
        end = perf_counter() + seconds
        with store_errors(self._directory.path, "list"):
            for row in self._rows:
                rows.append(row)
                if perf_counter() > end:
                    break
        return rows

    def _read(self) -> Iterator[ScanRow]:
        for entry in self._open():
            if row := self._examine(entry):
                yield row
        for name, folder in self._directory.stranded().items():
            if row := self._directory.read_stranded(name, folder, verify=self._verify):
                yield row

    def _open(self) -> Iterator[os.DirEntry[str]]:
        fs = self._directory.fs
        # A descriptor of its own: two listings over one descriptor would share their position.
        fd = self._resources.enter_context(opened(fs, ".", DIRECTORY_FLAGS, dir_fd=self._directory.fd))
        return self._resources.enter_context(fs.scandir(fd))

    def _examine(self, entry: os.DirEntry[str]) -> ScanRow | None:
        name = entry.name
        if not names.is_session_file(name):
            if name.startswith(".") and not name.endswith(names.SUFFIX):
                return None  # our own, or an editor's
            return ProblemFile(name, "foreign", f"its name is not that of a session, which ends in {names.SUFFIX}")
        # The listing knows the kind of most entries: what is no file is not even opened.
        if not entry.is_file(follow_symlinks=False):
            try:
                mode = self._directory.fs.stat(name, dir_fd=self._directory.fd).st_mode
            except FileNotFoundError:
                return None
            return ProblemFile(name, "foreign", why_no_session_file(mode) or "it changed while it was looked at")
        return self._directory.read_row(name, verify=self._verify)
