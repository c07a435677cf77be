"""Endpoints of the quarantine: list and show files, move files there, restore and delete them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from miniclaw.admin.api.endpoints import Call, Endpoint, NoQuery
from miniclaw.admin.api.paging import PageQuery, page
from miniclaw.admin.client.messages import (
    QuarantineDeleteOrder,
    QuarantineOrder,
    QuarantineOutcome,
    QuarantineOutcomes,
    RestoredFile,
    failure,
)
from miniclaw.formats import printable
from miniclaw.session.operations.quarantine import FileOutcome
from miniclaw.workspace.quarantine import FileContent, ShownFile, find_file, look_at_quarantine, read_content
from miniclaw.workspace.workspace import Workspace


class QuarantinePage(Struct, frozen=True):
    """One page of the files in quarantine, and the cursor of the next page; null: there is none."""

    files: list[ShownFile]
    next: str | None


async def list_quarantine(call: Call[PageQuery, None]) -> QuarantinePage:
    """List the quarantine, page by page."""

    def read(workspace: Workspace) -> QuarantinePage:
        files = look_at_quarantine(workspace)
        return QuarantinePage(*page(files, lambda file: (-file.since.timestamp(), file.id), call.query, order="newest"))

    return await call.context.look(read, saves=False)


async def show_file(call: Call[NoQuery, None]) -> FileContent:
    """Return the content of a file, as text."""
    return await call.context.look(lambda workspace: read_content(*find_file(workspace, call.name)), saves=False)


async def add(call: Call[NoQuery, QuarantineOrder]) -> QuarantineOutcomes:
    """Move files that are no sound sessions in their places to quarantine, and report on each."""
    return _outcomes(await call.operations.quarantine.add(list(dict.fromkeys(call.body.files))))


async def restore(call: Call[NoQuery, None]) -> RestoredFile:
    """Restore the session in a file to its place. Overwrites no session."""
    return RestoredFile(await call.operations.quarantine.restore(call.name))


async def delete(call: Call[NoQuery, QuarantineDeleteOrder]) -> QuarantineOutcomes:
    """Delete files in quarantine, and report on each."""
    files = list(dict.fromkeys(call.body.files))
    return _outcomes(await call.operations.quarantine.delete(files, erase=call.body.erase))


def _outcomes(done: Sequence[FileOutcome]) -> QuarantineOutcomes:
    return QuarantineOutcomes(
        [
            QuarantineOutcome(
                each.name,
                printable(each.file_id) or None,
                each.bytes_freed,
                each.entry_id or None,
                None if each.error is None else failure(each.error),
            )
            for each in done
        ]
    )


QUARANTINE: Final = (
    Endpoint("GET", "/quarantine", list_quarantine),
    Endpoint("POST", "/quarantine/add", add),
    Endpoint("POST", "/quarantine/delete", delete),
    Endpoint("GET", "/quarantine/{file}", show_file),
    Endpoint("POST", "/quarantine/{file}/restore", restore),
)
