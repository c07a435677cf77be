"""Endpoints of the trash: list, restore and empty."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from miniclaw.admin.api.endpoints import Call, Endpoint, NoQuery
from miniclaw.admin.api.paging import PageQuery, page
from miniclaw.admin.client.messages import Emptied, EmptyOrder
from miniclaw.session.trash.entries import Restored, TrashEntry
from miniclaw.workspace.plan_json import shown_entry
from miniclaw.workspace.workspace import Workspace


class TrashPage(Struct, frozen=True):
    """One page of the trash.

    Attributes:
        entries: The entries, the newest first.
        next: The cursor of the next page; null: there is none.
        foreign: Number of foreign files in the trash, which are left alone.
    """

    entries: list[TrashEntry]
    next: str | None
    foreign: int


async def list_trash(call: Call[PageQuery, None]) -> TrashPage:
    """List the trash, page by page."""

    def read(workspace: Workspace) -> TrashPage:
        entries, foreign = workspace.trash.entries(), workspace.trash.foreign()
        found, following = page(
            entries, lambda entry: (-entry.removed_at.timestamp(), entry.id), call.query, order="newest"
        )
        return TrashPage([shown_entry(entry) for entry in found], following, len(foreign))

    return await call.context.look(read, saves=False)


async def restore(call: Call[NoQuery, None]) -> Restored:
    """Restore an entry by its id, or the newest entry of a session by the session's id. Overwrites no session."""
    return await call.operations.restore(call.name)


async def empty(call: Call[NoQuery, EmptyOrder]) -> Emptied:
    """Delete entries of the trash for good."""
    removals = await call.operations.empty_trash(list(dict.fromkeys(call.body.entries)))
    return Emptied(removals, sum(removal.bytes_freed for removal in removals))


TRASH: Final = (
    Endpoint("GET", "/trash", list_trash),
    Endpoint("POST", "/trash/empty", empty),
    Endpoint("POST", "/trash/{entry}/restore", restore),
)
