"""The operations under test: every way in which the store touches session files.

Each is an `Operation`: how the directory lies before, the work, and what may become of each file. Nothing here knows of
faults; `test_fault_loops` and `test_kill_points` break each at every system call and have `check` judge the rest.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from miniclaw.errors import CorruptSessionError, SessionNotFoundError, StoreError
from miniclaw.session.entries import StoredSession
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.on_disk import make_on_disk, remember, save
from miniclaw.session.files.quarantine_folder import quarantine
from miniclaw.session.files.scan import DirectoryScan
from miniclaw.session.files.stranded import WORK_NAME
from miniclaw.session.format import codec
from miniclaw.session.names import file_name, file_names
from miniclaw.session.removal.relocation import Relocation, relocate
from miniclaw.session.removal.transaction import remove_batch
from miniclaw.session.types import Message, Session, SessionHeader
from tests.fakes.operation import Fate, Operation, Report
from tests.fakes.samples import session_dict

SOAK: Final = int(os.environ.get("MINICLAW_SOAK", "1"))
OLD: Final = datetime(2026, 1, 1, tzinfo=UTC)
NEW: Final = datetime(2026, 11, 23, tzinfo=UTC)

LEGACY_ID: Final = "slack_U2"  # lies under its bare id, as earlier implementations named it
LEGACY: Final = "slack_U2.json"
TORN: Final = b'{"session_id": "telegram_torn", "chan'
TORN_NAME: Final = "telegram_torn.json"


def text(session_id: str, when: datetime, note: str = "") -> bytes:
    """Return a session file; the note makes it unlike any other, beside a field that miniclaw does not know."""
    return json.dumps(session_dict(session_id, when, note=note)).encode()


def changed(content: bytes) -> tuple[Session, bytes]:
    """Return a session with a message more than its file, and the file it will be."""
    session = codec.decode_session(content)
    session.messages.append(Message("user", "and another thing", NEW))
    session.last_accessed = NEW
    return session, bytes(codec.encode_session(session))


def stays(session_id: str, content: bytes) -> Fate:
    """Return the fate of what nobody may change, though it may get its proper name."""
    return Fate(file_names(session_id), (content,), content)


BYSTANDER: Final = text("telegram_100", NEW)
BYSTANDER_OLD: Final = text("telegram_101", OLD)
BYSTANDERS: Final = {"telegram_100.json": BYSTANDER, "telegram_101.json": BYSTANDER_OLD}
BYSTANDING: Final = (stays("telegram_100", BYSTANDER), stays("telegram_101", BYSTANDER_OLD))
TORN_STAYS: Final = Fate((TORN_NAME,), (TORN,), TORN)


def known(directory: SessionDirectory, session: Session) -> Session:
    """Return a session whose file, if there is one, this process has written; an earlier round's is unknown again."""
    remember(session, None)
    with suppress(FileNotFoundError):
        status = os.stat(file_name(session.session_id), dir_fd=directory.fd)
        remember(session, make_on_disk(status, session, inodes_last=directory.inodes_last))
    return session


def saving(name: str, old: dict[str, bytes | None]) -> Operation:
    """Save sessions as one batch, as the store's threads do: each is written, then the directory synced once."""
    new = {session_id: changed(content or text(session_id, OLD)) for session_id, content in old.items()}

    def run(directory: SessionDirectory, report: Report) -> None:
        written = []
        for session_id, (session, _) in new.items():
            try:
                save(directory, known(directory, session))
            except StoreError as error:
                report.failed[file_name(session_id)] = str(error)
            else:
                written.append(file_name(session_id))
        directory.sync()
        report.finish(*written)

    fates = tuple(Fate(file_names(i), (content, new[i][1]), new[i][1]) for i, content in old.items())
    files = {file_name(session_id): content for session_id, content in old.items() if content is not None}
    return Operation(name, run, {**BYSTANDERS, **files}, (*BYSTANDING, *fates), frozenset(map(file_name, old)))


def _load(directory: SessionDirectory, session_id: str, content: bytes, report: Report, *, adopt: bool) -> None:
    key = file_name(session_id)
    try:
        session = directory.load(session_id, adopt=adopt)
        header = directory.header(session_id)
        if bytes(codec.encode_session(session)) != bytes(codec.encode_session(codec.decode_session(content))):
            report.lies.append(f"{session_id} loaded as something else")
        if header.last_accessed != session.last_accessed:
            report.lies.append(f"{session_id}: the header differs")
        report.finish(key)
    except SessionNotFoundError:
        report.lies.append(f"{session_id} is said not to exist")
    except CorruptSessionError as error:
        report.lies.append(f"{session_id} is said to be damaged: {error}")
    except StoreError as error:
        report.failed[key] = str(error)


def loading(name: str, *, adopt: bool) -> Operation:
    """Load sessions: one under our name, one under a legacy name, a damaged one, one that does not exist."""
    legacy, capital = text(LEGACY_ID, NEW), text("slack_U1", NEW)

    def run(directory: SessionDirectory, report: Report) -> None:
        _load(directory, LEGACY_ID, legacy, report, adopt=adopt)
        _load(directory, "slack_U1", capital, report, adopt=adopt)
        for session_id, wanted in (("telegram_torn", CorruptSessionError), ("slack_Nobody", SessionNotFoundError)):
            try:
                directory.load(session_id, adopt=adopt)
                report.lies.append(f"{session_id} loaded")
            except wanted:
                report.finish(file_name(session_id))
            except (CorruptSessionError, SessionNotFoundError) as error:
                report.lies.append(f"{session_id}: {error}")
            except StoreError as error:
                report.failed[file_name(session_id)] = str(error)

    fates = (
        *BYSTANDING,
        # Only adoption renames: without it the name says that nothing was written.
        Fate(file_names(LEGACY_ID) if adopt else (file_name(LEGACY_ID), LEGACY), (legacy,), legacy),
        stays("slack_U1", capital),
        TORN_STAYS,
    )
    files = {**BYSTANDERS, LEGACY: legacy, file_name("slack_U1"): capital, TORN_NAME: TORN}
    targets = frozenset(file_name(i) for i in (LEGACY_ID, "slack_U1", "telegram_torn", "slack_Nobody"))
    return Operation(name, run, {**files}, fates, targets, (TORN,))


def scanning() -> Operation:
    """List the directory, with the whole file read of what has expired."""
    # Longer than the prefix that is read for a header, so that both ways of reading happen.
    long = text("telegram_102", OLD, "x" * 5000)
    files = {**BYSTANDERS, "telegram_102.json": long, LEGACY: text(LEGACY_ID, NEW), TORN_NAME: TORN}

    def run(directory: SessionDirectory, report: Report) -> None:
        rows = {}
        with DirectoryScan(directory, lambda header: header.last_accessed == OLD) as scan:
            while batch := scan.next_batch(seconds=0):
                rows.update({row.key: row for row in batch})
        for name in files:
            row = rows.pop(name, None)
            if isinstance(row, StoredSession) or (row is not None and row.kind == "corrupt"):
                if isinstance(row, StoredSession) == (name == TORN_NAME):
                    report.lies.append(f"{name} is said to be {row}")
                report.finish(name)
            elif row is not None and row.kind == "unreadable":
                report.failed[name] = row.reason
            else:
                report.lies.append(f"{name} was listed as {row}")
        report.lies.extend(f"{row} does not exist" for row in rows.values())

    fates = (
        *BYSTANDING,
        stays("telegram_102", long),
        Fate((LEGACY,), (files[LEGACY],), files[LEGACY]),
        TORN_STAYS,
    )
    return Operation("scan", run, {**files}, fates, frozenset(files), (TORN,))


def removing(
    name: str, old: Sequence[str], fresh: Sequence[str], torn: Sequence[str], may_go: Callable[[SessionHeader], bool]
) -> Operation:
    """Remove sessions as one batch: those that may go, those that have to be put back, the damaged, one not there."""
    gone = {file_name(session_id): text(session_id, OLD) for session_id in old}
    kept = {file_name(session_id): text(session_id, NEW) for session_id in fresh}
    files = {**gone, **kept, **dict.fromkeys(torn, TORN)}
    keys = [*files, "telegram_404.json"]

    def run(directory: SessionDirectory, report: Report) -> None:
        for removal in remove_batch(directory, keys, lambda headers: [may_go(header) for header in headers]):
            key, outcome = removal.key, removal.outcome
            wanted = "removed" if key in gone else "kept" if key in kept else "corrupt" if key in torn else "vanished"
            if outcome == wanted:
                report.finish(key)
            elif outcome in {"failed", "unsynced", "unreadable"}:
                report.failed[key] = removal.reason
                if outcome == "unreadable" and not (directory.path / key).exists():
                    report.lies.append(f"{key} is said to be unreadable, but is not in its place")
            else:
                report.lies.append(f"{key}: {outcome}, not {wanted}: {removal.reason}")

    fates = (
        *BYSTANDING,
        *(Fate((key,), (content, None), None) for key, content in gone.items()),
        *(Fate((key,), (content,), content) for key, content in kept.items()),
        *([TORN_STAYS] if torn else []),
    )
    return Operation(name, run, {**BYSTANDERS, **files}, fates, frozenset(keys), (TORN,) if torn else ())


def keeping_then_deleting() -> Operation:
    """Put a session back that turned out to be fresh, and then delete it by command: it may not return."""
    content = text("telegram_400", NEW)
    key = "telegram_400.json"

    def run(directory: SessionDirectory, report: Report) -> None:
        for may_go in (False, True):
            (removal,) = remove_batch(directory, [key], lambda headers, go=may_go: [go] * len(headers))  # type: ignore[misc]
            if removal.outcome not in {"kept", "removed"}:
                report.failed[key] = removal.reason
                return
        report.finish(key)

    fates = (*BYSTANDING, Fate((key,), (content, None), None))
    return Operation("keep, delete", run, {**BYSTANDERS, key: content}, fates, frozenset({key}))


def moving(name: str, *, broken_off: bool) -> Operation:
    """Move a session to another chat, beside others; or go on with a move that was broken off."""
    session_id, target_id = LEGACY_ID, "web_moved"
    content = text(session_id, OLD, "moved")
    session = codec.snapshot_session(codec.decode_session(content), target_id)
    moved = bytes(codec.encode_session(session))
    old, new = file_name(session_id), file_name(target_id)

    def run(directory: SessionDirectory, report: Report) -> None:
        relocation = relocate(directory, session_id, target_id, lambda: True)
        if relocation != Relocation(OLD, len(content)):
            report.lies.append(f"it says {relocation}")
        report.finish(old, new)

    fates = (
        *BYSTANDING,
        Fate(file_names(session_id), (content, None), None),
        Fate((new,), (moved,) if broken_off else (None, moved), moved),
    )
    files: dict[str, bytes | str | None] = {**BYSTANDERS, LEGACY: content, **({new: moved} if broken_off else {})}
    return Operation(name, run, files, fates, frozenset({old, new}), either=(*file_names(session_id), new))


def quarantining() -> Operation:
    """Put a damaged file out of the way."""

    def run(directory: SessionDirectory, report: Report) -> None:
        kept = quarantine(directory, TORN_NAME)
        if not kept.exists():
            report.lies.append(f"it is not at {kept}")
        report.finish(TORN_NAME)

    fates = (*BYSTANDING, Fate((TORN_NAME,), (TORN, None), None))
    return Operation("quarantine", run, {**BYSTANDERS, TORN_NAME: TORN}, fates, frozenset({TORN_NAME}), (TORN,))


def saving_over() -> Operation:
    """Save a session in whose place another program has put a file with another message."""
    content = text("telegram_200", OLD)
    session, new = changed(content)
    other = content.replace(b"hello", b"howdy")

    def run(directory: SessionDirectory, report: Report) -> None:
        remember(session, None)
        try:
            save(directory, session)
        except StoreError as error:
            report.failed["telegram_200.json"] = str(error)
        directory.sync()
        if not report.failed:
            report.finish("telegram_200.json")

    fate = Fate(("telegram_200.json",), (other, new, None), new, quarantined=other)
    tree = {**BYSTANDERS, "telegram_200.json": other}
    return Operation("save over", run, {**tree}, (*BYSTANDING, fate), frozenset({"telegram_200.json"}), (other,))


def starting(name: str, work: dict[str, bytes | str | None], fates: tuple[Fate, ...], *precious: bytes) -> Operation:
    """Start over what an earlier process left: open, own, recover."""

    targets = frozenset(fate.names[0] for fate in fates)

    def run(directory: SessionDirectory, report: Report) -> None:
        # What recovery cannot resolve is only in the log.
        if unresolved := report.recorder.named("Unfinished removal could not be resolved"):
            report.failed["*"] = str(unresolved)
        else:
            report.finish(*targets)

    files: dict[str, bytes | str | None] = {**BYSTANDERS, **work} if work else {}
    return Operation(name, run, files, (*BYSTANDING, *fates) if work else (), targets, precious, from_start=True)


def recovering() -> Operation:
    """Start over a work folder with all that a crash, or several, can leave in it."""
    captured, expired, sound = text("telegram_301", NEW), text("telegram_302", OLD), text("telegram_torn", NEW)
    older, newer = text("telegram_303", OLD), text("telegram_303", NEW)
    first, second = ".work/rm-" + "a" * 16, ".work/rm-" + "b" * 16
    work: dict[str, bytes | str | None] = {
        ".work": None,
        ".work/tmp-" + "0" * 16: newer[:50],
        ".work/tmp-" + "1" * 16: b"",
        first: None,
        f"{first}/telegram_301.json": captured,
        f"{first}/telegram_302.json": expired,
        f"{first}/telegram_100.json": "telegram_100.json",  # put back already, its second name not unlinked yet
        second: None,
        "telegram_303.json": newer,  # another program's, since
        f"{second}/telegram_303.json": older,
        TORN_NAME: TORN,
        f"{second}/{TORN_NAME}": sound,
        ".work/rm-" + "c" * 16: None,
    }
    fates = (
        stays("telegram_301", captured),
        stays("telegram_302", expired),
        stays("telegram_303", newer),
        stays("telegram_torn", sound),
    )
    return starting("recover", work, fates, older, newer, sound, TORN)


def without_work_folder(operation: Operation) -> Operation:
    """Return the operation as it is where a script has just deleted the work folder of the running program."""

    def run(directory: SessionDirectory, report: Report) -> None:
        shutil.rmtree(directory.path / WORK_NAME)
        operation.run(directory, report)

    return replace(operation, name=f"{operation.name}, work folder gone", run=run)


def if_old(header: SessionHeader) -> bool:
    """Let go what has expired."""
    return header.last_accessed == OLD


def many(start: int, count: int) -> list[str]:
    """Return session ids; a longer test has more in each batch."""
    return [f"telegram_{start + number}" for number in range(count * SOAK)]


OPERATIONS: Final = {
    operation.name: operation
    for operation in (
        saving("save", {"telegram_200": text("telegram_200", OLD)}),
        saving("save batch", {i: text(i, OLD) for i in [*many(200, 2), "slack_U1"]} | {"telegram_new": None}),
        loading("load", adopt=False),
        loading("adopt", adopt=True),
        scanning(),
        removing("cleanup", many(200, 2), many(300, 1), [TORN_NAME], if_old),
        removing("delete", ["telegram_200"], [], [], lambda _: True),
        keeping_then_deleting(),
        moving("move", broken_off=False),
        moving("move again", broken_off=True),
        quarantining(),
        saving_over(),
        recovering(),
        starting("first start", {}, ()),
        without_work_folder(saving("save", {"telegram_200": text("telegram_200", OLD)})),
        without_work_folder(removing("delete", ["telegram_200"], [], [], lambda _: True)),
    )
}
