"""``miniclaw sessions``: the group. Each command has a module of its own; `pin` and `unpin` share one."""

from __future__ import annotations

import click

from miniclaw.cli.lazy import LazyGroup


@click.group(
    cls=LazyGroup,
    lazy={
        "list": ("miniclaw.cli.sessions.list:list_sessions", "List the sessions, and when each expires."),
        "show": ("miniclaw.cli.sessions.show:show", "Show one session with its messages."),
        "stats": ("miniclaw.cli.sessions.stats:stats", "Show number, sizes and ages of the sessions."),
        "export": ("miniclaw.cli.sessions.export:export", "Write sessions as JSON or Markdown."),
        "due": ("miniclaw.cli.sessions.due:due", "List the sessions that will be deleted soon unless they are used."),
        "forecast": (
            "miniclaw.cli.sessions.forecast:forecast",
            "Show how many sessions will expire on each of the next days.",
        ),
        "cleanup": (
            "miniclaw.cli.sessions.cleanup:cleanup",
            "Run a cleanup now, by the rules in force.",
        ),
        "delete": ("miniclaw.cli.sessions.delete:delete", "Delete sessions of any age."),
        "move": ("miniclaw.cli.sessions.move:move", "Move a session to another chat."),
        "pin": ("miniclaw.cli.sessions.pin:pin", "Protect sessions from every cleanup."),
        "unpin": ("miniclaw.cli.sessions.pin:unpin", "Apply the rules to sessions again."),
    },
)
def sessions() -> None:
    """List, show, export, move, pin, delete and clean up sessions."""
