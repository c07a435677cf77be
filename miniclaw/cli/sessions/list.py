"""``miniclaw sessions list``."""

from __future__ import annotations

from datetime import timedelta

import click

from miniclaw.cli import Settings
from miniclaw.cli.access.asking import ask_to_save
from miniclaw.cli.access.in_force import find_rules
from miniclaw.cli.access.looking import log_to_terminal, moment_of, notice_at
from miniclaw.cli.options import channel_option, json_option, older_than_option
from miniclaw.cli.output import DRY_RUN_NAMES, conflict_copies, count, echo_json, print_table, scan_progress
from miniclaw.formats import format_age, format_size
from miniclaw.workspace.rows import fate, shown
from miniclaw.workspace.sessions import ORDERS, Order, Wanted, judged_sessions


@click.command("list")
@channel_option
@older_than_option
@click.option("--sort", "order", type=click.Choice(["age", "size", "name"]),
              help="The oldest, the largest or the first by name at the top; else the most recently used.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many.")
@json_option
@click.pass_obj
def list_sessions(
    settings: Settings,
    *,
    channel: str | None,
    older_than: timedelta | None,
    order: Order | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List the sessions, the most recently used first, and what will become of each."""
    log_to_terminal(settings)
    ask_to_save(settings)
    moment = moment_of(settings)
    rules = find_rules(settings)
    rules.warn()
    policy = rules.config.session.retention_policy()
    with scan_progress() as progress:
        rows, listing = judged_sessions(rules, notice_at(rules, moment), progress)
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
