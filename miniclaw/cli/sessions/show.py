"""``miniclaw sessions show``."""

from __future__ import annotations

import sys

import click

from miniclaw.cli.access import CommandWorkspace, pass_workspace
from miniclaw.cli.options import json_option
from miniclaw.cli.output import echo_json_document
from miniclaw.errors import SessionNotFoundError
from miniclaw.formats import Indented, format_time, one_line, width_of
from miniclaw.session.format import codec, metadata
from miniclaw.session.types import Session


@click.command()
@click.argument("session_id", metavar="ID")
@json_option
@pass_workspace
def show(workspace: CommandWorkspace, session_id: str, as_json: bool) -> None:
    """Show one session with its messages. This does not count as a use.

    ID is CHANNEL_CHAT, as `list` shows it. The text of each message is indented, so that it cannot imitate another one.
    """
    workspace.ask_to_save()
    if workspace.directory is None:
        raise SessionNotFoundError(session_id)
    session = workspace.directory.load(session_id)
    if as_json:
        echo_json_document(codec.plainly(codec.encode_session(session)))
        return
    print_session(session)


def print_session(session: Session) -> None:
    """Print a session for a person; characters that command a terminal are escaped."""
    width = width_of(sys.stdout)
    click.echo(Indented(width, begun=True).feed(f"session        {one_line(session.session_id)}"))
    click.echo(f"created        {format_time(session.created_at)}")
    click.echo(f"last accessed  {format_time(session.last_accessed)}")
    click.echo(f"pinned         {'yes' if session.pinned else 'no'}")
    for key, value in metadata.as_lines(session.metadata):
        click.echo(Indented(width, begun=True).feed(f"metadata       {one_line(key)}: {one_line(value)}"))
    click.echo(f"messages       {len(session.messages)}")
    for message in session.messages:
        click.echo(f"\n{message.role}, {format_time(message.timestamp)}")
        click.echo(Indented(width).feed(message.content))
        for call in message.tool_calls or ():
            click.echo(Indented(width, begun=True).feed(f"calls {call.name}({call.arguments})"))
