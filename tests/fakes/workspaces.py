"""Workspaces as they are found after years: drawn by Hypothesis, laid on a real disk, and told apart afterwards."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from hypothesis import strategies as st

from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.subdirectory import STATE_NAME
from miniclaw.session.names import stamped
from miniclaw.session.retention.budgets import on_disk
from miniclaw.session.trash.trash import Trash
from miniclaw.session.types import SessionHeader
from tests.fakes.plans import CHANNELS, DAY, NOW, ages, sizes
from tests.fakes.samples import session_dict
from tests.fakes.snapshots import SnapshotOs

ODD: Final = ["torn", "torn at its end", "empty", "another's", "a folder"]
_PREFIX: Final = 5000  # longer than what is read of a header


@dataclass(frozen=True)
class LaidSession:
    """A session file; `odd` says what is wrong with it, if anything."""

    session_id: str
    age: timedelta
    size: int
    pinned: bool
    odd: str

    def content(self) -> bytes:
        inside = "web_somebody" if self.odd == "another's" else self.session_id
        pad = self.size + (_PREFIX if self.odd == "torn at its end" else 0)
        fields = session_dict(inside, NOW - self.age, note="x" * pad)
        if self.pinned:
            fields["pinned"] = True
        if self.size % 2:  # as miniclaw writes it; else as another program may
            fields["messages"] = fields.pop("messages")
        data = json.dumps(fields).encode()
        return {"torn": data[:40], "torn at its end": data[:-1], "empty": b""}.get(self.odd, data)


@dataclass(frozen=True)
class LaidFile:
    """Something beside the sessions: its kind, its age and its size, and for the trash, for how long it is kept."""

    kind: str
    age: timedelta
    size: int
    keep_for: timedelta


@dataclass(frozen=True)
class Workspace:
    """What there is on the disk, and how much of it is free."""

    sessions: tuple[LaidSession, ...]
    files: tuple[LaidFile, ...]
    free: int

    def lay(self, directory: SessionDirectory, trash: Trash, *, young: bool = True) -> None:
        """Make it. The directory may have an owner already.

        Args:
            directory: Where.
            trash: Its trash.
            young: Whether a temporary file may be so young that some save may own it. A start sweeps those as well.
        """
        for session in self.sessions:
            path = directory.path / f"{session.session_id}.json"
            if session.odd == "a folder":
                path.mkdir()
            else:
                path.write_bytes(session.content())
        for number, file in enumerate(self.files):
            if not young and file.kind == "temporary":
                file = replace(file, age=file.age + DAY)  # noqa: PLW2901 - the same file, older
            _lay(file, number, directory, trash)


def _lay(file: LaidFile, number: int, directory: SessionDirectory, trash: Trash) -> None:
    path, when = directory.path, NOW - file.age
    for folder in (".quarantine", ".work"):
        (path / folder).mkdir(exist_ok=True, mode=0o700)
    match file.kind:
        case "trash" | "damaged trash":
            entry_id = _trash(file, number, directory, trash, when)
            if file.kind == "damaged trash":
                trash.path_of(entry_id).write_bytes(b"damaged")
        case "quarantined":
            (path / ".quarantine" / stamped(f"web_q{number}.json", when)).write_bytes(b"q" * file.size)
        case "sound in quarantine":
            channel = CHANNELS[file.size % len(CHANNELS)]
            fields = session_dict(f"{channel}_s{number}", when - file.keep_for)
            if not file.size % 7:
                fields["pinned"] = True
            name = stamped(f"web_q{number}.json", when)
            (path / ".quarantine" / name).write_text(json.dumps(fields), encoding="utf-8")
        case "temporary":
            _write(path / ".work" / f"tmp-{number:016x}", when, file.size)
        case "legacy":
            _write(path / f"web_l{number}.json.{'tmp' if number % 2 else 'corrupted'}", when, file.size)
        case "foreign":
            _write(path / f"notes {number}", when, file.size)
            _write(path / ".quarantine" / f"notes {number}", when, file.size)


def _trash(file: LaidFile, number: int, directory: SessionDirectory, trash: Trash, when: datetime) -> str:
    name = f"web_t{number}.json"
    data = json.dumps(session_dict(f"web_t{number}", when, note=os.urandom(file.size // 2).hex())).encode()
    (directory.path / name).write_bytes(data)
    header = SessionHeader(f"web_t{number}", "web", f"t{number}", when)
    copy = trash.prepare(
        name, header, dir_fd=directory.fd, reason="ttl", by="service", now=when, keep_for=file.keep_for
    )
    trash.commit([copy])
    (directory.path / name).unlink()
    return copy.entry_id


def _write(path: Path, when: datetime, size: int) -> None:
    path.write_bytes(b"x" * size)
    os.utime(path, (when.timestamp(), when.timestamp()))


@st.composite
def workspaces(draw: st.DrawFn) -> Workspace:
    """Draw a workspace; one in three has sessions enough for the guard."""
    count = draw(st.integers(0, 12) | st.integers(20, 26) | st.integers(0, 4))
    sessions = tuple(
        LaidSession(
            f"{draw(st.sampled_from(CHANNELS))}_{number}",
            draw(ages),
            draw(sizes),
            draw(st.integers(0, 7)) == 0,
            draw(st.sampled_from(ODD)) if draw(st.integers(0, 7)) == 0 else "",
        )
        for number in range(count)
    )
    kinds = st.sampled_from(
        ["trash", "trash", "damaged trash", "quarantined", "sound in quarantine", "temporary", "legacy", "foreign"]
    )
    days = st.integers(0, 40).map(lambda number: number * DAY + timedelta(seconds=1))
    keeps = st.integers(1, 40).map(lambda number: number * DAY)
    files = tuple(
        LaidFile(draw(kinds), draw(days), draw(st.integers(1, 3000)), draw(keeps))
        for _ in range(draw(st.integers(0, 6)))
    )
    return Workspace(sessions, files, draw(st.integers(0, 250_000)))


class DrawnDisk(SnapshotOs):
    """A disk that makes nobody wait, and has as much room as a test says, and what temporary files took before."""

    def __init__(self, free: int) -> None:
        super().__init__()
        self._free = free

    def fstatvfs(self, fd: int) -> Any:
        return SimpleNamespace(f_bavail=self._free, f_frsize=1, f_blocks=2**30)

    def unlink(self, name: str, *, dir_fd: int) -> None:
        if name.startswith("tmp-"):
            self._free += on_disk(os.stat(name, dir_fd=dir_fd).st_size)
        super().unlink(name, dir_fd=dir_fd)


def everything(path: Path) -> set[str]:
    """Return all files below, by their paths, but for the lock and the state."""
    found = {found.relative_to(path) for found in path.rglob("*") if not found.is_dir() and found.name != ".lock"}
    return {str(each) for each in found if each.parts[0] != STATE_NAME}
