"""The operations under test that have to do with the trash, and the list of all.

A session that goes to the trash, or comes out of it, is at any moment in its place, captured, or whole in the trash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from miniclaw.session import codec
from miniclaw.session.directory import SessionDirectory
from miniclaw.session.names import file_name
from miniclaw.session.removal import TrashOrder, remove_batch
from miniclaw.session.restore import restore
from miniclaw.session.trash import TRASH_NAME
from miniclaw.session.trash_format import EntryLine, pack_line, pack_session
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


ALL_OPERATIONS: Final = OPERATIONS | {
    operation.name: operation
    for operation in (
        trashing("cleanup to trash", many(200, 2), many(300, 1), ["telegram_290"]),
        trashing("delete to trash", ["telegram_200"], [], []),
        restoring(),
    )
}
"""Every operation on session files."""
