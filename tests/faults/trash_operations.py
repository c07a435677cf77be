"""The operations under test that have to do with trash and quarantine, and the list of all.

A session that goes to the trash, or comes out of it, is at any moment in its place, captured, or whole in the trash. So
is a file that goes to quarantine, or comes out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

from miniclaw.errors import NotQuarantinedError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME
from miniclaw.session.files.subdirectory import TRASH_NAME
from miniclaw.session.format import codec
from miniclaw.session.names import file_name
from miniclaw.session.removal.quarantine_admission import move_to_quarantine
from miniclaw.session.removal.quarantine_files import find_quarantined, list_quarantined
from miniclaw.session.removal.quarantine_removal import leftover_of, remove_quarantined
from miniclaw.session.removal.restore import restore, restore_quarantined, return_to_quarantine
from miniclaw.session.removal.transaction import TrashOrder, remove_batch
from miniclaw.session.trash.format import EntryLine, pack_line, pack_session
from miniclaw.session.types import SessionHeader
from tests.fakes.operation import Fate, Operation, Report, trash_of
from tests.faults.operations import BYSTANDERS, BYSTANDING, NEW, OLD, OPERATIONS, TORN, TORN_NAME, if_old, many, text

WEEK: Final = timedelta(days=7)


def entry_of(session_id: str, content: bytes, number: int = 0) -> tuple[str, bytes]:
    """Return the path and the bytes of an entry of the trash."""
    line = EntryLine(
        session_id=session_id,
        key=file_name(session_id),
        removed_at=OLD,
        expires_at=NEW + WEEK,
        reason="ttl",
        last_accessed=OLD,
        size=len(content),
        by="service",
    )
    name = f"{file_name(session_id).removesuffix('.json')}.20260101T000000Z-{number:08x}.gz"
    return f"{TRASH_NAME}/{name}", pack_line(line) + b"".join(pack_session([content]))


def trashing(
    name: str,
    old: Sequence[str],
    fresh: Sequence[str],
    forever: Sequence[str],
    may_go: Callable[[SessionHeader], bool] = if_old,
) -> Operation:
    """Remove sessions as one batch, into the trash: those that may go; those put back; some of them for good."""
    gone = {file_name(session_id): text(session_id, OLD) for session_id in (*old, *forever)}
    kept = {file_name(session_id): text(session_id, NEW) for session_id in fresh}
    for_good = {file_name(session_id) for session_id in forever}
    files = {**gone, **kept, TORN_NAME: TORN}
    order = TrashOrder({key: "ttl" for key in files if key not in for_good}, "service", NEW, WEEK)

    def run(directory: SessionDirectory, report: Report) -> None:
        for removal in remove_batch(
            directory,
            list(files),
            lambda headers: [may_go(header) for header in headers],
            trash=trash_of(directory),
            order=order,
        ):
            key, outcome = removal.key, removal.outcome
            wanted = "removed" if key in gone else "kept" if key in kept else "corrupt"
            if outcome == wanted:
                report.finish(key)
                if (outcome == "removed" and key not in for_good) != bool(removal.entry_id):
                    report.lies.append(f"{key} is {outcome}, and its entry is said to be {removal.entry_id!r}")
            elif outcome in {"failed", "unsynced", "unreadable"}:
                report.failed[key] = removal.reason
            else:
                report.lies.append(f"{key}: {outcome}, not {wanted}: {removal.reason}")

    fates = (
        *BYSTANDING,
        *(Fate((key,), (data, None), None, None if key in for_good else data) for key, data in gone.items()),
        *(Fate((key,), (data,), data) for key, data in kept.items()),
        Fate((TORN_NAME,), (TORN,), TORN),
    )
    return Operation(name, run, {**BYSTANDERS, **files}, fates, frozenset(files), (TORN,))


def restoring() -> Operation:
    """Take a session out of the trash, where it lies twice, beside another one."""
    session_id, key = "telegram_500", "telegram_500.json"
    content, older = text(session_id, OLD, "newer"), text(session_id, OLD, "older")
    session = codec.decode_session(content)
    session.last_accessed = NEW
    restored = bytes(codec.encode_session(session))
    newest, data = entry_of(session_id, content, 2)
    entries = dict(
        [(newest, data), entry_of(session_id, older, 1), entry_of("telegram_501", text("telegram_501", OLD))]
    )

    def run(directory: SessionDirectory, report: Report) -> None:
        trash = trash_of(directory)
        entry = trash.find(session_id)
        if f"{TRASH_NAME}/{entry.id}.gz" != newest:
            report.lies.append(f"it found {entry}")
        restore(directory, trash, entry.id, NEW)
        report.finish(key)

    fates = (
        *BYSTANDING,
        Fate((key,), (None, restored), restored, content),
        Fate(("telegram_501.json",), (None,), None, text("telegram_501", OLD)),
    )
    files: dict[str, bytes | str | None] = {**BYSTANDERS, TRASH_NAME: None, **entries}
    return Operation("restore", run, files, fates, frozenset({key}))


def moving_to_quarantine() -> Operation:
    """Move a damaged file out of the way by hand, and try the same with a sound session."""

    def run(directory: SessionDirectory, report: Report) -> None:
        with suppress(NotQuarantinedError):
            move_to_quarantine(directory, "telegram_100.json")
            report.lies.append("a sound session was moved")
        file_id, _ = move_to_quarantine(directory, TORN_NAME)
        if (directory.path / QUARANTINE_NAME / file_id).read_bytes() != TORN:
            report.lies.append("it is not in quarantine")
        report.finish(TORN_NAME)

    fates = (*BYSTANDING, Fate((TORN_NAME,), (TORN, None), None))
    return Operation("move to quarantine", run, {**BYSTANDERS, TORN_NAME: TORN}, fates, frozenset({TORN_NAME}), (TORN,))


QUARANTINED_ID: Final = "telegram_600.json.20260101T000000Z-0a1b2c3d"


def restoring_quarantined() -> Operation:
    """Restore a session that stood under another one's name, out of quarantine."""
    session_id, content = "telegram_601", text("telegram_601", OLD)
    session = codec.decode_session(content)
    session.last_accessed = NEW
    restored = bytes(codec.encode_session(session))

    def run(directory: SessionDirectory, report: Report) -> None:
        restore_quarantined(directory, find_quarantined(directory, QUARANTINED_ID).id, session_id, NEW)
        report.finish("telegram_601.json")

    fates = (*BYSTANDING, Fate(("telegram_601.json",), (None, restored), restored, quarantined=content))
    files: dict[str, bytes | str | None] = {**BYSTANDERS, ".quarantine": None, f".quarantine/{QUARANTINED_ID}": content}
    return Operation("restore quarantined", run, files, fates, frozenset({"telegram_601.json"}))


def trashing_quarantined() -> Operation:
    """Move what lies in quarantine to the trash: a damaged file and a session."""
    other_id, session = f"telegram_602{QUARANTINED_ID[12:]}", text("telegram_602", OLD)
    contents = {QUARANTINED_ID: TORN, other_id: session}

    def run(directory: SessionDirectory, report: Report) -> None:
        found = [leftover_of(file) for file in list_quarantined(directory)]
        order = TrashOrder(dict.fromkeys(contents, "ttl"), "service", NEW, WEEK)
        for removal in remove_quarantined(directory, found, trash=trash_of(directory), order=order):
            if removal.outcome == "removed":
                report.finish(removal.leftover.key)
                if (directory.path / QUARANTINE_NAME / removal.leftover.key).exists():
                    report.lies.append(f"{removal.leftover.key} is still there")
            else:
                report.failed[removal.leftover.key] = removal.reason

    fates = tuple(Fate((key,), (None,), None, content, content) for key, content in contents.items())
    folder = {f".quarantine/{key}": content for key, content in contents.items()}
    files: dict[str, bytes | str | None] = {**BYSTANDERS, ".quarantine": None, **folder}
    return Operation("quarantine to trash", run, files, (*BYSTANDING, *fates), frozenset(contents))


def returning_to_quarantine() -> Operation:
    """Put a file from the trash back into quarantine, which is not made yet."""
    line = EntryLine(key=QUARANTINED_ID, removed_at=OLD, expires_at=NEW, reason="deleted", size=len(TORN))
    entry_id = f"{QUARANTINED_ID}.20260201T000000Z-00000001"
    entry = pack_line(line) + b"".join(pack_session([TORN]))

    def run(directory: SessionDirectory, report: Report) -> None:
        file_id = return_to_quarantine(directory, trash_of(directory), entry_id)
        if (directory.path / QUARANTINE_NAME / file_id).read_bytes() != TORN:
            report.lies.append("it is not in quarantine")
        report.finish(QUARANTINED_ID)

    fates = (*BYSTANDING, Fate((QUARANTINED_ID,), (None,), None, TORN, TORN))
    files: dict[str, bytes | str | None] = {**BYSTANDERS, TRASH_NAME: None, f"{TRASH_NAME}/{entry_id}.gz": entry}
    return Operation("back to quarantine", run, files, fates, frozenset({QUARANTINED_ID}))


ALL_OPERATIONS: Final = OPERATIONS | {
    operation.name: operation
    for operation in (
        trashing("cleanup to trash", many(200, 2), many(300, 1), ["telegram_290"]),
        trashing("delete to trash", ["telegram_200"], [], []),
        restoring(),
        moving_to_quarantine(),
        restoring_quarantined(),
        trashing_quarantined(),
        returning_to_quarantine(),
    )
}
"""Every operation on session files."""
