"""``miniclaw sessions list``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import click
import msgspec

from miniclaw.cli import Settings
from miniclaw.cli.looking import list_directory, log_to_terminal, sessions_opened
from miniclaw.cli.options import channel_option, json_option, older_than_option
from miniclaw.cli.output import count, print_table
from miniclaw.cli.session_rows import as_dict, fate, judge
from miniclaw.formats import format_age, format_size
from miniclaw.session.clock import utc_now
from miniclaw.session.retention import PlanRow

_ORDERS: Final[dict[str | None, Callable[[PlanRow], Any]]] = {
    None: lambda row: row.age,
    "age": lambda row: -row.age,
    "size": lambda row: -row.session.size,
    "name": lambda row: row.session.header.session_id,
}


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
    order: str | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List the sessions, the most recently used first, and what will become of each."""
    policy = settings.config.session.retention_policy()
    now = utc_now()
    log_to_terminal(settings)
    with sessions_opened(settings) as directory:
        listing = list_directory(directory)
        rows = judge(settings, directory, listing.sessions, now)
    rows = [row for row in rows if _is_wanted(row, channel, older_than)]
    rows.sort(key=lambda row: (_ORDERS[order](row), row.session.header.session_id))
    left_out = 0 if limit is None else max(0, len(rows) - limit)
    rows = rows[:limit]
    if as_json:
        click.echo(msgspec.json.encode([as_dict(row) for row in rows]))
    else:
        cells = [
            (row.session.header.session_id, format_age(row.age), format_size(row.session.size), fate(row, policy))
            for row in rows
        ]
        print_table(("SESSION", "LAST USED", "SIZE", "RETENTION"), cells, right=("LAST USED", "SIZE"))
        if left_out:
            click.echo(f"{count(left_out, 'more session')}; --limit leaves them out.", err=True)
    if unread := len(listing.problems):
        hint = "`miniclaw sessions cleanup --dry-run` names them"
        click.echo(f"{count(unread, 'file')} could not be read as sessions; {hint}.", err=True)


def _is_wanted(row: PlanRow, channel: str | None, older_than: timedelta | None) -> bool:
    if channel is not None and row.session.header.channel != channel:
        return False
    return older_than is None or row.age > older_than
