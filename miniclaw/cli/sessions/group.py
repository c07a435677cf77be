"""``miniclaw sessions``: the group. Each command has a module of its own; `pin` and `unpin` share one."""

from __future__ import annotations

import click

from miniclaw.cli.lazy import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "list": ("miniclaw.cli.sessions.list:list_sessions", "List the sessions, and what will become of each."),
        "show": ("miniclaw.cli.sessions.show:show", "Show one session."),
        "stats": ("miniclaw.cli.sessions.stats:stats", "Show how many and how large they are, and how old."),
        "export": ("miniclaw.cli.sessions.export:export", "Write sessions as JSON or Markdown."),
        "due": ("miniclaw.cli.sessions.due:due", "List what goes soon if nobody uses it, and when."),
        "forecast": ("miniclaw.cli.sessions.forecast:forecast", "Show what will expire in the next days."),
        "cleanup": ("miniclaw.cli.sessions.cleanup:cleanup", "Remove now what the rules remove."),
        "delete": ("miniclaw.cli.sessions.delete:delete", "Delete sessions, whatever their age."),
        "move": ("miniclaw.cli.sessions.move:move", "Move a session to another chat."),
        "pin": ("miniclaw.cli.sessions.pin:pin", "Keep sessions, whatever their age."),
        "unpin": ("miniclaw.cli.sessions.pin:unpin", "Leave sessions to the rules again."),
    },
)
def sessions() -> None:
    """List, show, export, move, pin, delete and clean up sessions."""
