"""``miniclaw sessions list``."""

from __future__ import annotations

from datetime import timedelta

import click

from miniclaw.cli.access import CommandWorkspace, pass_workspace
from miniclaw.cli.options import channel_option, json_option, older_than_option
from miniclaw.cli.output import DRY_RUN_NAMES, conflict_copies, count, echo_json, print_table
from miniclaw.formats import format_age, format_size
from miniclaw.workspace.sessions import ORDERS, Order, Wanted, fate, judged_sessions, shown


@click.command("list")
@channel_option
@older_than_option
@click.option("--sort", "order", type=click.Choice(["age", "size", "name"]),
              help="Begin with the oldest, the largest or the first by name; default: the most recent.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Show only the first N.")
@json_option
@pass_workspace
def list_sessions(
    workspace: CommandWorkspace,
    *,
    channel: str | None,
    older_than: timedelta | None,
    order: Order | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List the sessions, and when each expires. The most recently used comes first."""
    workspace.log_to_terminal()
    workspace.ask_to_save()
    workspace.in_force.warn()
    policy = workspace.policy
    rows, listing = judged_sessions(workspace)
    wanted = Wanted(channel, older_than)
    rows = [row for row in rows if wanted.takes(row)]
    rows.sort(key=lambda row: (ORDERS[order or "recent"](row), row.session.header.session_id))
    left_out = 0 if limit is None else max(0, len(rows) - limit)
    rows = rows[:limit]
    if as_json:
        echo_json([shown(row) for row in rows])
    else:
        cells = [
            (row.session.header.session_id, format_age(row.age), format_size(row.session.size), fate(row, policy))
            for row in rows
        ]
        print_table(("SESSION", "LAST USED", "SIZE", "RETENTION"), cells, right=("LAST USED", "SIZE"))
        if left_out:
            click.echo(f"{count(left_out, 'more session')}; --limit leaves them out.", err=True)
    if unread := len(listing.problems):
        click.echo(f"{count(unread, 'file')} could not be read as sessions; {DRY_RUN_NAMES}.", err=True)
    if copies := len(listing.conflicts):
        click.echo(f"{conflict_copies(copies)}; {DRY_RUN_NAMES}.", err=True)
