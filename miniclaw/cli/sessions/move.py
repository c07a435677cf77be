"""``miniclaw sessions move``."""

from __future__ import annotations

import click

from miniclaw.cli import Settings
from miniclaw.cli.access.looking import sessions_opened
from miniclaw.cli.access.operating import operate, refuse_if_held
from miniclaw.errors import SessionNotFoundError
from miniclaw.formats import one_line
from miniclaw.session import names


@click.command()
@click.argument("session_id", metavar="ID")
@click.argument("target_id", metavar="NEW")
@click.pass_obj
def move(settings: Settings, session_id: str, target_id: str) -> None:
    """Move a session to another chat, which goes on with the conversation.

    NEW is CHANNEL_CHAT, and has no session. Nothing but the ids changes, and it does not count as using the session. A
    message to ID begins a new conversation then.
    """
    for each in (session_id, target_id):
        names.check_asked(each)  # a mistyped id is reported before anything is done
    refuse_if_held(settings)
    with sessions_opened(settings) as directory:
        if directory is None:  # a missing directory is not created
            raise SessionNotFoundError(session_id)
    operate(settings, lambda operations: operations.move(session_id, target_id))
    click.echo(f"Moved {one_line(session_id)} to {one_line(target_id)}.")
