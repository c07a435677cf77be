"""``miniclaw history``."""

from __future__ import annotations

import click

from miniclaw.cli.access import CommandWorkspace, pass_workspace
from miniclaw.cli.options import json_option
from miniclaw.cli.output import count, echo_json, print_table
from miniclaw.formats import format_size, format_time
from miniclaw.session.records.history import HistoryEvent
from miniclaw.workspace.plan_json import sessions_of

_BY_HAND = "deleted"  # a reason that adds nothing to the event
_NAMED_SESSIONS = 3  # an event with at most so many sessions names them


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N",
              help="Show only the newest N events.")  # fmt: skip
@json_option
@pass_workspace
def history(workspace: CommandWorkspace, limit: int, as_json: bool) -> None:
    """Show past removals: when, by whom and why. The newest is the last."""
    workspace.log_to_terminal()
    events, damaged = workspace.history(limit)
    if as_json:
        echo_json(events)
    else:
        rows = [
            (format_time(event.at).removesuffix(" UTC"), event.event, event.by, f"{sessions_of(event):,}",
             format_size(event.bytes_freed), "; ".join(details_of(event)))
            for event in events
        ]  # fmt: skip
        headings = ("WHEN (UTC)", "WHAT", "BY", "SESSIONS", "FREED", "DETAILS")
        print_table(headings, rows, right=("SESSIONS", "FREED"), whole=headings[:3])
    if damaged:
        click.echo(f"{count(damaged, 'line')} of the history could not be read.", err=True)


def details_of(event: HistoryEvent) -> list[str]:
    """Return the details of an event, in short texts."""
    details = [f"{reason} {tally.sessions:,}" for reason, tally in event.reasons.items() if reason != _BY_HAND]
    details += [f"{kind} {count(tally.files, 'file')}" for kind, tally in event.leftovers.items()]
    if event.sessions and sessions_of(event) <= _NAMED_SESSIONS:
        details.append(", ".join(session.session_id for session in event.sessions))
    if event.because:
        details.append(event.because)
    return details
