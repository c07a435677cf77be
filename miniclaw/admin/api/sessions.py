"""Endpoints of the sessions: list, show, delete, move and pin."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

import trio
from msgspec import Meta, Struct

from miniclaw.admin.api.endpoints import Call, Endpoint, NoQuery, RawJson
from miniclaw.admin.api.paging import PageQuery, page
from miniclaw.admin.api.refusals import RequestRefusedError
from miniclaw.admin.client.messages import (
    DeletedSession,
    DeletedSessions,
    DeleteOrder,
    Moved,
    MoveOrder,
    Pinned,
    RemainingFile,
    failure,
)
from miniclaw.errors import SessionNotFoundError
from miniclaw.formats import encodable, parse_duration
from miniclaw.session import names
from miniclaw.session.format import codec
from miniclaw.session.operations.operations import Deleted
from miniclaw.session.types import Session
from miniclaw.workspace.sessions import ORDERS, Order, SessionRow, State, Wanted, judged_sessions, shown
from miniclaw.workspace.workspace import Workspace


class ListQuery(PageQuery, frozen=True, forbid_unknown_fields=True):
    """Filters, order, limit and beginning of a page of sessions."""

    channel: Annotated[
        Annotated[str, Meta(pattern="^[a-z0-9-]{1,32}$")] | None,
        Meta(description="Only those of this channel.", extra={"right": "a channel: 1 to 32 of a-z, 0-9 and -"}),
    ] = None
    older_than: Annotated[
        Annotated[str, Meta(pattern="^[0-9]{1,9}[smhdw]$")] | None,
        Meta(
            description="Only those last used longer ago, such as 7d or 12h.",
            extra={"right": 'a whole number and a unit (s, m, h, d, w), such as "30d"'},
        ),
    ] = None
    state: Annotated[
        State | None,
        Meta(
            description="expired: the TTL is over. pinned. future: ahead of the clock. going: a cleanup would take it. "
            "kept: none would.",
            extra={"right": "one of expired, pinned, future, going, kept"},
        ),
    ] = None
    sort: Annotated[
        Order,
        Meta(
            description="What comes first: the most recently used, the oldest, the largest, the first by name.",
            extra={"right": "one of recent, age, size, name"},
        ),
    ] = "recent"


class SessionPage(Struct, frozen=True):
    """One page of the sessions.

    Attributes:
        sessions: The sessions, in the order of the query.
        next: The cursor of the next page; null: there is none.
        unreadable: Number of files that could not be read as sessions.
        conflicts: Number of copies of sessions that other programs have made.
    """

    sessions: list[SessionRow]
    next: str | None
    unreadable: int
    conflicts: int


async def list_sessions(call: Call[ListQuery, None]) -> SessionPage:
    """List sessions, page by page."""
    return await call.context.look(partial(_page, call.query))


def _page(query: ListQuery, workspace: Workspace) -> SessionPage:
    try:
        older_than = None if query.older_than is None else parse_duration(query.older_than)
    except ValueError as error:
        raise RequestRefusedError(400, str(error), field="older_than") from error
    rows, listing = judged_sessions(workspace)
    wanted = Wanted(query.channel, older_than, query.state)
    sort_by = ORDERS[query.sort]
    found, following = page(
        (row for row in rows if wanted.takes(row)),
        lambda row: (sort_by(row), row.session.header.session_id),
        query,
        order=query.sort,
    )
    return SessionPage([shown(row) for row in found], following, len(listing.problems), len(listing.conflicts))


async def show_session(call: Call[NoQuery, None]) -> RawJson:
    """Return a whole session, from memory if it is loaded, else from the disk. Does not count as an access."""
    names.split_session_id(call.name)
    await trio.lowlevel.checkpoint()
    live = call.context.runtime.manager.peek(call.name)
    return await call.context.look(partial(_session, call.name, live), saves=False)


def _session(session_id: str, live: Session | None, workspace: Workspace) -> RawJson:
    if live is None:
        if workspace.directory is None:
            raise SessionNotFoundError(session_id)
        live = workspace.directory.load(session_id)
    return RawJson(codec.plainly(codec.encode_session(live)))


class EraseQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a deletion."""

    erase: Annotated[
        bool,
        Meta(description="For good, and out of trash and quarantine as well.", extra={"right": "true or false"}),
    ] = False


async def delete_session(call: Call[EraseQuery, None]) -> DeletedSession:
    """Delete one session, whatever its age."""
    (deleted,) = await call.operations.delete([call.name], erase=call.query.erase)
    if deleted.error is not None:
        raise deleted.error
    return _deleted(deleted)


async def delete_sessions(call: Call[NoQuery, DeleteOrder]) -> DeletedSessions:
    """Delete some sessions, whatever their age, and report on each."""
    done = await call.operations.delete(list(dict.fromkeys(call.body.session_ids)), erase=call.body.erase)
    return DeletedSessions([_deleted(deleted) for deleted in done], sum(deleted.bytes_freed for deleted in done))


def _deleted(deleted: Deleted) -> DeletedSession:
    error = None if deleted.error is None else failure(deleted.error)
    remaining = [RemainingFile(encodable(each.key), each.kind, encodable(each.reason)) for each in deleted.remaining]
    return DeletedSession(deleted.session_id, deleted.bytes_freed, deleted.entry_id or None, error, remaining)


async def pin(call: Call[NoQuery, None]) -> Pinned:
    """Pin a session: no rule removes it."""
    return Pinned(call.name, True, await call.operations.set_pinned(call.name, True))


async def unpin(call: Call[NoQuery, None]) -> Pinned:
    """Unpin a session: the rules apply to it again."""
    return Pinned(call.name, False, await call.operations.set_pinned(call.name, False))


async def move(call: Call[NoQuery, MoveOrder]) -> Moved:
    """Move a session to another chat. Overwrites no session."""
    await call.operations.move(call.name, call.body.to)
    return Moved(call.name, call.body.to)


SESSIONS: Final = (
    Endpoint("GET", "/sessions", list_sessions),
    Endpoint("POST", "/sessions/delete", delete_sessions),
    Endpoint("GET", "/sessions/{session_id}", show_session, Session),
    Endpoint("DELETE", "/sessions/{session_id}", delete_session),
    Endpoint("POST", "/sessions/{session_id}/move", move),
    Endpoint("PUT", "/sessions/{session_id}/pin", pin),
    Endpoint("DELETE", "/sessions/{session_id}/pin", unpin),
)
