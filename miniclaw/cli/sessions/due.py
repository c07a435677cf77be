"""``miniclaw sessions due``."""

from __future__ import annotations

import click

from miniclaw.cli.access import CommandWorkspace, pass_workspace
from miniclaw.cli.options import json_option
from miniclaw.cli.output import count, echo_json, print_table
from miniclaw.formats import format_age, format_size
from miniclaw.workspace.plan import Outlook, look_ahead
from miniclaw.workspace.plan_json import due_row, in_order


@click.command()
@json_option
@pass_workspace
def due(workspace: CommandWorkspace, as_json: bool) -> None:
    """List the sessions that will be deleted soon unless they are used, and when.

    The daily cleanup announces each deletion: about a week before the session's TTL is over, or, if the session has
    expired without an announcement, 20 hours before. A message to the session keeps it, and so does `miniclaw sessions
    pin ID`.
    """
    workspace.log_to_terminal()
    workspace.ask_to_save()
    outlook = look_ahead(workspace, as_daily=True)
    workspace.in_force.warn()
    if as_json:
        echo_json([due_row(each, outlook.timetable.goes_at(each)) for each in in_order(outlook.plan.due)])
        return
    _print(outlook)
    if workspace.config.session.mode == "announce":
        click.echo("The mode is to announce: nothing is deleted by itself.")


def _print(outlook: Outlook) -> None:
    plan = outlook.plan
    rows = []
    for each in in_order(plan.due):
        goes_at = outlook.timetable.goes_at(each)
        rows.append(
            (each.session.header.session_id, format_age(each.age), format_size(each.session.size), each.reason,
             "yes" if each.noted is not None else "next run",
             "not by itself" if goes_at is None else f"{goes_at:%Y-%m-%d %H:%M}")
        )  # fmt: skip
    if rows:
        headings = ("SESSION", "LAST USED", "SIZE", "REASON", "ANNOUNCED", "GOES (UTC)")
        print_table(headings, rows, right=("LAST USED", "SIZE"), whole=("GOES (UTC)",))
        click.echo()
    total = plan.due_count
    click.echo(f"{count(total.sessions, 'session')} due, {format_size(total.bytes)}, of {plan.readable:,}.")
    if rows:
        click.echo("A message to a session keeps it; so does `miniclaw sessions pin ID`.")
    if files := len(plan.due_files):
        click.echo(f"{count(files, 'file')} in quarantine due as well; `miniclaw quarantine list` says when.")
