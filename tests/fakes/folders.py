"""State and trash of a sessions directory that no store has open."""

from __future__ import annotations

import weakref
from pathlib import Path

from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.ledger import LedgerFile
from miniclaw.session.files.subdirectory import STATE_NAME, TRASH_NAME, Folder
from miniclaw.session.records.state import StateDirectory
from miniclaw.session.trash.trash import Trash


def hidden_folder(sessions_dir: Path, name: str, fs: OsCalls | None = None) -> Folder:
    """Return a hidden folder of a sessions directory, which is made where it is missing.

    The directory is open for as long as the folder is used, and none of the calls for that goes through `fs`.
    """
    directory = SessionDirectory.open(sessions_dir, create=True)
    folder = Folder(directory.path / name, dir_fd=lambda: directory.fd, fs=fs)
    weakref.finalize(folder, directory.close)
    return folder


def state_in(sessions_dir: Path, fs: OsCalls | None = None) -> StateDirectory:
    """Return what the services of a sessions directory remember."""
    return StateDirectory(hidden_folder(sessions_dir, STATE_NAME, fs))


def trash_in(sessions_dir: Path, fs: OsCalls | None = None) -> Trash:
    """Return the trash of a sessions directory."""
    return Trash(hidden_folder(sessions_dir, TRASH_NAME, fs))


def ledger_in(sessions_dir: Path, fs: OsCalls | None = None) -> LedgerFile:
    """Return the ledger's file of a sessions directory."""
    return LedgerFile(hidden_folder(sessions_dir, STATE_NAME, fs))
