"""A workspace of an earlier version that is moved in, to be broken at each system call, and what has to be true.

The two works: by renaming; and across file systems, into a directory that holds a state and a trash already.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.subdirectory import EarlierFolders
from miniclaw.session.records.migration import move_in
from tests.faults.file_work import IDS, NOW, SESSIONS, Told, Work, owned
from tests.faults.trash_operations import entry_of

DROPPED: Final = {"cleanup.json": b'{"last_run_at":"2026-11-20T12:00:00Z"}', "last-seen": b"2026-11-20T12:00:00Z\n"}


def line(day: int, note: str) -> bytes:
    """Return a line of a history."""
    at = msgspec.json.encode(NOW + timedelta(days=day)).decode()
    return f'{{"version":1,"at":{at},"event":"cleanup","by":"service","because":"{note}"}}\n'.encode()


def entry(session_id: str, note: bytes = b"", number: int = 0) -> tuple[str, bytes]:
    """Return the name and the bytes of an entry of the trash."""
    path, data = entry_of(session_id, SESSIONS[session_id] + note, number)
    return Path(path).name, data


ENTRIES: Final = dict(entry(session_id) for session_id in IDS)
TAKEN: Final = entry(IDS[0], b" ")  # another session under the name of an entry
OLD_LINES: Final = (line(0, "a"), line(2, "c"), b"damaged\n", line(2, "c"), line(3, "d"))
NEW_LINES: Final = (line(1, "b"), line(2, "c"), line(4, "e"))
MERGED_LINES: Final = (line(0, "a"), line(1, "b"), line(2, "c"), b"damaged\n", line(2, "c"), line(3, "d"), line(4, "e"))
MERGED_LINES_OTHERWISE: Final = (
    line(0, "a"), b"damaged\n", line(1, "b"), line(2, "c"), line(2, "c"), line(3, "d"), line(4, "e"),
)  # fmt: skip
LEDGER: Final = b"a cache"


def earlier_of(root: Path) -> EarlierFolders:
    """Return the folders that an earlier version had in a workspace."""
    return EarlierFolders(root / "state", root / "trash")


def lay(root: Path, *, both: bool = False) -> None:
    """Lay a workspace of an earlier version; with both, its sessions directory has state and trash as well."""
    _write(
        root / "state",
        {
            "history.jsonl": b"".join(OLD_LINES),
            **DROPPED,
            "sessions.ledger": LEDGER,
            "tmp-0123456789abcdef": b"half a state",
        },
    )
    _write(root / "trash", {**ENTRIES, "tmp-0123456789abcdef": b"half an entry"})
    _write(root / "sessions", {"telegram_1.json": SESSIONS["telegram_1"]})
    if both:
        _write(
            root / "sessions" / ".state",
            {
                "history.jsonl": b"".join(NEW_LINES),
                "sessions.ledger": b"a newer cache",
            },
        )
        _write(root / "sessions" / ".trash", dict([TAKEN]))


def _write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(mode=0o700)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def run(root: Path, fs: OsCalls, told: Told, *, across: bool = False) -> None:
    """Move it in, as a start does."""
    if across:
        fs.rename = rename_across  # type: ignore[method-assign]
    with owned(root, fs) as directory:
        move_in(directory, earlier_of(root))
    left = [str(path) for folder in (root / "state", root / "trash") if folder.exists() for path in folder.iterdir()]
    told.done, told.failed = not left, f"{left} are left"


def rename_across(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    """Rename as on a machine on which each folder is a file system of its own."""
    if not os.path.samestat(os.fstat(src_dir_fd), os.fstat(dst_dir_fd)):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    os.rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


def check(root: Path, told: Told, started: bool, *, both: bool = False) -> Iterator[str]:
    """Yield what is lost, or, after a start that nothing disturbed, what is not in order."""
    contents = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    trash = [data for path, data in contents.items() if path.name.endswith(".gz")]
    wanted = [*ENTRIES.values(), *([TAKEN[1]] if both else [])]
    yield from (f"an entry is lost: {data[:40]!r}" for data in wanted if data not in trash)
    yield from (f"an entry is damaged: {data[:40]!r}" for data in trash if data not in wanted)
    lines = {each for path, data in contents.items() if path.name == "history.jsonl" for each in data.splitlines(True)}
    yield from (f"a line is lost: {each!r}" for each in (*OLD_LINES, *(NEW_LINES if both else ())) if each not in lines)
    if started or told.done:
        yield from _check_order(root, both=both, started=started)


def _check_order(root: Path, *, both: bool, started: bool) -> Iterator[str]:
    yield from (f"{folder} is left" for folder in (root / "state", root / "trash") if started and folder.exists())
    place = root / "sessions"
    history = tuple((place / ".state" / "history.jsonl").read_bytes().splitlines(True))
    if history not in ((MERGED_LINES, MERGED_LINES_OTHERWISE) if both else (OLD_LINES,)):
        yield f"the history is {history}"
    found = sorted(path.read_bytes() for path in (place / ".trash").iterdir())
    if found != sorted([*ENTRIES.values(), *([TAKEN[1]] if both else [])]):
        yield f"the trash holds {len(found)} files"
    yield from (f"what nobody needs is left: {path}" for path in root.rglob("*") if path.name in DROPPED)
    if (place / ".state" / "sessions.ledger").read_bytes() != (b"a newer cache" if both else LEDGER):
        yield "the ledger is another one"
    if started:
        yield from (f"left: {path}" for path in place.rglob("tmp-*"))


MIGRATIONS: Final = {
    "migration": Work(lay, run, check, 40),
    "migration across into both": Work(
        partial(lay, both=True), partial(run, across=True), partial(check, both=True), 90
    ),
}
