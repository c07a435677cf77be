"""``miniclaw sessions pin`` and ``unpin``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from miniclaw.cli.access import CommandWorkspace, pass_workspace
from miniclaw.cli.output import exit_if_failed
from miniclaw.errors import GatewayError, MiniclawError, SessionNotFoundError, StoreError
from miniclaw.formats import one_line
from miniclaw.session import names

if TYPE_CHECKING:
    from miniclaw.cli.access import Operations

_ids = click.argument("session_ids", metavar="ID...", nargs=-1, required=True)


@click.command()
@_ids
@pass_workspace
def pin(workspace: CommandWorkspace, session_ids: tuple[str, ...]) -> None:
    """Pin sessions: no cleanup removes them, at any age. This does not count as a use."""
    _set_pinned(workspace, session_ids, True)


@click.command()
@_ids
@pass_workspace
def unpin(workspace: CommandWorkspace, session_ids: tuple[str, ...]) -> None:
    """Unpin sessions: the rules apply to them again."""
    _set_pinned(workspace, session_ids, False)


def _set_pinned(workspace: CommandWorkspace, session_ids: tuple[str, ...], pinned: bool) -> None:
    for session_id in session_ids:
        names.check_asked(session_id)  # an invalid id is reported before anything is done
    workspace.refuse_if_held()
    if workspace.directory is None:  # a missing directory is not created
        raise SessionNotFoundError(session_ids[0])
    exit_if_failed(workspace.operate(lambda operations: _set_all(operations, session_ids, pinned)))


async def _set_all(operations: Operations, session_ids: tuple[str, ...], pinned: bool) -> list[MiniclawError]:
    """Pin or unpin one session after another, and return the errors."""
    problems: list[MiniclawError] = []
    word = "pinned" if pinned else "unpinned"
    for session_id in dict.fromkeys(session_ids):
        try:
            changed = await operations.set_pinned(session_id, pinned)
        except (StoreError, GatewayError) as error:
            problems.append(error)
        else:
            shown = one_line(session_id)
            click.echo(f"{word.capitalize()} {shown}." if changed else f"{shown} was {word} already.")
    return problems
