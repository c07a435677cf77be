"""The history of a runtime over a store: the lines of the audit log, put together by operation.

A run leaves a note, an event in JSON, beside the lines of its removals; the event gets its sessions from the lines,
which the store has written in the step of each removal.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from miniclaw.session.entries import FileTally, Tally, tally_by
from miniclaw.session.records.history import EventKind, HistoryEvent, HistorySession
from miniclaw.session.retention.policy import REMOVING
from miniclaw.stores.types import AuditLine

_decode: Final = msgspec.json.Decoder(HistoryEvent).decode


def encode_event(event: HistoryEvent) -> str:
    """Return the note of an event."""
    return msgspec.json.encode(event).decode()


def event_of(lines: list[AuditLine]) -> HistoryEvent:
    """Return the event of the lines of one operation, of which there is at least one, the newest first."""
    noted = _noted(lines)
    removed = [line for line in lines if line.kind in {"removed", "restored"}]
    emptied = [line.size for line in lines if line.kind == "emptied"]
    event = noted or HistoryEvent(at=lines[0].at, event=_kind_of(lines), by=lines[0].by)
    if not (removed or emptied):
        return event
    freed = sum(line.size for line in lines if line.kind == "emptied" or (line.kind == "removed" and not line.entry_id))
    return replace(
        event,
        reasons=tally_by(Tally, ((line.reason, line.size) for line in removed if line.kind == "removed")),
        bytes_freed=freed,
        sessions=[HistorySession(line.session_id, line.last_accessed, line.size, line.reason) for line in removed],
        leftovers={"trash": FileTally(len(emptied), sum(emptied))} if emptied else {},
    )


def _noted(lines: list[AuditLine]) -> HistoryEvent | None:
    for line in lines:
        if line.kind == "noted":
            try:
                return _decode(line.reason)
            except ValueError:
                return HistoryEvent(at=line.at, event="noted", by=line.by, because=line.reason)
    return None


def _kind_of(lines: list[AuditLine]) -> EventKind:
    kinds = {line.kind for line in lines}
    if "removed" in kinds:
        reasons = {line.reason for line in lines if line.kind == "removed"}
        return "erased" if "erased" in reasons else "deleted" if not reasons & set(REMOVING) else "cleanup"
    return "restored" if "restored" in kinds else "trash_emptied"
