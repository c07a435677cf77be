"""``miniclaw sessions``: the group. Each of its commands is in a module of its own."""

from __future__ import annotations

import click

from miniclaw.cli.lazy import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "list": ("session_list:list_sessions", "List the sessions, and what will become of each."),
        "show": ("session_show:show", "Show one session."),
        "stats": ("session_stats:stats", "Show how many and how large they are, and how old."),
        "export": ("session_export:export", "Write sessions as JSON or Markdown."),
        "due": ("due:due", "List what goes soon if nobody uses it, and when."),
        "forecast": ("forecast:forecast", "Show what will expire in the next days."),
        "cleanup": ("cleanup:cleanup", "Remove now what the rules remove."),
        "delete": ("deleting:delete", "Delete sessions, whatever their age."),
        "move": ("session_move:move", "Move a session to another chat."),
        "pin": ("pins:pin", "Keep sessions, whatever their age."),
        "unpin": ("pins:unpin", "Leave sessions to the rules again."),
    },
)
def sessions() -> None:
    """List, show, export, move, pin, delete and clean up sessions."""
