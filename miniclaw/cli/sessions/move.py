"""``miniclaw sessions move``."""

from __future__ import annotations

import click

from miniclaw.cli.access import CommandWorkspace, pass_workspace
from miniclaw.errors import SessionNotFoundError
from miniclaw.formats import one_line
from miniclaw.session import names


@click.command()
@click.argument("session_id", metavar="ID")
@click.argument("target_id", metavar="NEW")
@pass_workspace
def move(workspace: CommandWorkspace, session_id: str, target_id: str) -> None:
    """Move a session to another chat, where the conversation continues.

    NEW is CHANNEL_CHAT, and must have no session. Only the ids change, and the move does not count as a use. The next
    message to ID begins a new conversation.
    """
    for each in (session_id, target_id):
        names.check_asked(each)  # a mistyped id is reported before anything is done
    workspace.refuse_if_held()
    if workspace.directory is None:  # a missing directory is not created
        raise SessionNotFoundError(session_id)
    workspace.operate(lambda operations: operations.move(session_id, target_id))
    click.echo(f"Moved {one_line(session_id)} to {one_line(target_id)}.")
