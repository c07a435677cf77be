"""Work on the trash, the history and the leftovers, to be broken at each of its system calls, and what has to be true.

Each `Work` lies in a directory of its own, does what a removal, a command or a run would do, and can judge what it finds
there afterwards. Nothing here knows of faults.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from miniclaw.errors import StoreIOError
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.subdirectory import EarlierFolders
from miniclaw.session.records.history import History, HistoryEvent
from miniclaw.session.records.migration import move_in
from miniclaw.session.removal.leftovers import list_leftovers, remove_leftovers
from miniclaw.session.removal.restore import restore
from miniclaw.session.removal.staging import StagingArea
from miniclaw.session.trash.entries import Prepared
from miniclaw.session.trash.trash import Trash
from miniclaw.session.types import SessionHeader
from tests.fakes.folders import state_in, trash_in
from tests.fakes.samples import session_dict
from tests.fakes.snapshots import SnapshotOs

NOW: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD: Final = datetime(2026, 1, 1, tzinfo=UTC)
IDS: Final = ("telegram_1", "slack_U2")
QUARANTINED: Final = "telegram_1.json.20261001T083015Z-0a1b2c3d"
SESSIONS: Final = {session_id: json.dumps(session_dict(session_id, OLD)).encode() for session_id in IDS}


@dataclass
class Told:
    """What the work said: that all of it is done, or what failed."""

    done: bool = False
    failed: str = ""


@dataclass(frozen=True)
class Work:
    """Something to be broken.

    Attributes:
        lay: Makes what there is before.
        run: Does it; says so in `Told`, or raises a `StoreError`.
        check: Yields what is wrong, right after it, or after the next start.
        least: How many system calls it makes, at least.
    """

    lay: Callable[[Path], None]
    run: Callable[[Path, OsCalls, Told], None]
    check: Callable[[Path, Told, bool], Iterator[str]]
    least: int


def trash_of(root: Path, fs: OsCalls | None = None) -> Trash:
    return trash_in(root / "sessions", fs)


def history_of(root: Path, fs: OsCalls) -> History:
    return state_in(root / "sessions", fs).history()


@contextmanager
def owned(root: Path, fs: OsCalls) -> Iterator[SessionDirectory]:
    with SessionDirectory.open(root / "sessions", create=True, fs=fs) as directory:
        directory.own()
        yield directory


def start(root: Path) -> None:
    """Do what the next start does, without the wait for the disk."""
    fs = SnapshotOs()
    with owned(root, fs) as directory:
        move_in(directory, EarlierFolders(root / "state", root / "trash"))
        StagingArea(directory).recover()
    trash_of(root, fs).sweep()
    state_in(root / "sessions", fs).sweep()


# Trashing -------------------------------------------------------------------------------------------------------


def _lay_sessions(root: Path) -> None:
    (root / "sessions").mkdir(parents=True, mode=0o700, exist_ok=True)
    for session_id, content in SESSIONS.items():
        (root / "sessions" / f"{session_id}.json").write_bytes(content)


def _trash(root: Path, fs: OsCalls, told: Told, *, stays: str = "") -> None:
    trash = trash_of(root, fs)
    prepared: list[Prepared] = []
    with SessionDirectory.open(root / "sessions") as directory:
        try:
            for session_id in IDS:
                channel, chat_id = session_id.split("_")
                header = SessionHeader(session_id, channel, chat_id, OLD)
                prepared.append(
                    trash.prepare(
                        f"{session_id}.json",
                        header,
                        dir_fd=directory.fd,
                        reason="ttl",
                        by="service",
                        now=NOW,
                        keep_for=timedelta(days=7),
                    )
                )
            trash.abandon([copy for copy in prepared if copy.session_id == stays])
            going = [copy for copy in prepared if copy.session_id != stays]
            trash.commit(going)
        except StoreIOError:
            trash.abandon(prepared)
            raise
    for copy in going:
        os.unlink(root / "sessions" / copy.key)
    told.done = True


def _check_trash(root: Path, told: Told, started: bool, *, stays: str = "") -> Iterator[str]:
    trash = trash_of(root)
    entries = trash.entries()
    yield from (f"damaged: {entry}" for entry in entries if entry.problem)
    yield from (f"foreign: {row}" for row in trash.foreign())
    for session_id, content in SESSIONS.items():
        path = root / "sessions" / f"{session_id}.json"
        in_trash = [trash.read(entry.id) for entry in entries if entry.session_id == session_id]
        if path.exists() and path.read_bytes() != content:
            yield f"{session_id} is not what it was"
        if not path.exists() and in_trash != [content]:
            yield f"{session_id} is lost: {in_trash}"
        if told.done and path.exists() != (session_id == stays):
            yield f"{session_id} is in its place, or not, against what was said"
        if told.failed and not path.exists():
            yield f"{session_id} went, although it failed"
    if started and trash.path.exists():
        yield from (f"left: {name}" for name in os.listdir(trash.path) if name.startswith("tmp-"))


# Restoring ------------------------------------------------------------------------------------------------------


def _lay_trash(root: Path) -> None:
    _lay_sessions(root)
    _trash(root, OsCalls(), Told())


def _no_link(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def _restore(root: Path, fs: OsCalls, told: Told, *, links: bool = True) -> None:
    if not links:
        fs.link = _no_link  # type: ignore[method-assign]
    with owned(root, fs) as directory:
        trash = trash_of(root, fs)
        restore(directory, trash, trash.find(IDS[0]).id, NOW)
    told.done = True


def _check_restore(root: Path, told: Told, started: bool, *, links: bool = True) -> Iterator[str]:
    trash = trash_of(root)
    path = root / "sessions" / f"{IDS[0]}.json"
    entries = [trash.read(entry.id) for entry in trash.entries() if entry.session_id == IDS[0]]
    whole = {**json.loads(SESSIONS[IDS[0]]), "last_accessed": "2026-11-23T12:00:00Z"}
    if entries not in ([], [SESSIONS[IDS[0]]]):
        yield f"in the trash: {entries}"
    if not path.exists():
        if not entries or told.done:
            yield "it is nowhere, or not where it is said to be"
    else:
        try:
            found = json.loads(path.read_bytes())
        except ValueError:
            found = None
        if found is None and links:
            yield "it is torn"
        if found not in (None, whole):
            yield f"it is something else: {found}"
        if found is None and not entries:
            yield "it is torn, and not in the trash"
    if [entry.session_id for entry in trash.entries() if entry.session_id != IDS[0]] != [IDS[1]]:
        yield "another entry is gone"
    if started:
        yield from (f"left: {name}" for name in os.listdir(root / "sessions" / ".work") if name.startswith("tmp-"))


# The history ----------------------------------------------------------------------------------------------------


def _event(day: int) -> HistoryEvent:
    return HistoryEvent(at=NOW + timedelta(days=day), event="cleanup", by="service", because="it was due")


def _lay_history(root: Path, *, days: Sequence[int]) -> None:
    for day in days:
        history_of(root, OsCalls()).append(_event(day))


def _append(root: Path, fs: OsCalls, told: Told, *, day: int) -> None:
    history_of(root, fs).append(_event(day))
    told.done = True


def _check_history(root: Path, told: Told, started: bool, *, days: Sequence[int], kept: Sequence[int]) -> Iterator[str]:
    history = history_of(root, OsCalls())
    events, damaged = history.read()
    found = [(event.at - NOW).days for event in events]
    if found not in ([*days], [*days, kept[-1]], [*kept]) or (told.done and found[-1] != kept[-1]):
        yield f"the history has {found}, {told}"
    if damaged > (0 if told.done or told.failed else 1):
        yield f"{damaged} lines are damaged, {told}"
    if not started:
        return
    history.append(_event(kept[-1] + 1))
    events, again = history.read()
    if (events[-1].at - NOW).days != kept[-1] + 1 or again > damaged:
        yield f"the next event is not appended: {events}, {again} lines are damaged"


# Leftovers ------------------------------------------------------------------------------------------------------


def _lay_leftovers(root: Path) -> None:
    _lay_trash(root)
    directory = root / "sessions"
    (directory / ".quarantine").mkdir()
    (directory / ".work").mkdir()
    (directory / ".quarantine" / QUARANTINED).write_bytes(b"damaged")
    (directory / ".quarantine" / "notes").write_bytes(b"somebody's")
    (directory / ".work" / "tmp-0123456789abcdef").write_bytes(b"half")
    (directory / "telegram_3.json.tmp").write_bytes(b"legacy")
    (directory / "telegram_4.json").write_bytes(json.dumps(session_dict("telegram_4", OLD)).encode())
    for path in (directory / ".work" / "tmp-0123456789abcdef", directory / "telegram_3.json.tmp"):
        os.utime(path, (OLD.timestamp(), OLD.timestamp()))


def _remove_leftovers(root: Path, fs: OsCalls, told: Told) -> None:
    with owned(root, fs) as directory:
        trash = trash_of(root, fs)
        found = list_leftovers(directory, now=NOW, trash=trash)
        removals = remove_leftovers(directory, found, trash=trash)
    failed = [removal for removal in removals if removal.outcome not in {"removed", "moved"}]
    told.done = len(found) == 5 and not failed
    told.failed = "" if told.done else f"{len(found)} found, failed: {failed}"


def _check_leftovers(root: Path, told: Told, started: bool) -> Iterator[str]:
    directory = root / "sessions"
    if (directory / ".quarantine" / "notes").read_bytes() != b"somebody's":
        yield "a stranger's file was touched"
    if not (directory / "telegram_4.json").exists():
        yield "a session is gone"
    quarantine = {path.read_bytes() for path in (directory / ".quarantine").iterdir()}
    legacy = directory / "telegram_3.json.tmp"
    if b"legacy" not in quarantine and not legacy.exists():
        yield "what was to be moved is gone"
    if told.done and (legacy.exists() or b"damaged" in quarantine or trash_of(root).entries()):
        yield "something that is said to be gone is there"
    yield from (f"damaged: {entry}" for entry in trash_of(root).entries() if entry.problem)


_DAYS: Final = (0, 1, 2)
_MANY_DAYS: Final = (0, 1, 2, 400, 401)

WORKS: Final = {
    "trash": Work(_lay_sessions, _trash, _check_trash, 30),
    "trash, one stays": Work(_lay_sessions, partial(_trash, stays=IDS[1]), partial(_check_trash, stays=IDS[1]), 30),
    "restore": Work(_lay_trash, _restore, _check_restore, 40),
    "restore without links": Work(
        _lay_trash, partial(_restore, links=False), partial(_check_restore, links=False), 40
    ),
    "history": Work(
        partial(_lay_history, days=_DAYS), partial(_append, day=3),
        partial(_check_history, days=_DAYS, kept=(*_DAYS, 3)), 12,
    ),
    "history, shortened": Work(
        partial(_lay_history, days=_MANY_DAYS), partial(_append, day=402),
        partial(_check_history, days=_MANY_DAYS, kept=(400, 401, 402)), 18,
    ),
    "leftovers": Work(_lay_leftovers, _remove_leftovers, _check_leftovers, 60),
}  # fmt: skip
