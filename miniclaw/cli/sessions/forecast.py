"""``miniclaw sessions forecast``."""

from __future__ import annotations

import re
import sys

import click

from miniclaw.cli.access import CommandWorkspace, pass_workspace
from miniclaw.cli.options import json_option
from miniclaw.cli.output import LIST_DUE, bar, count, echo_json, print_table
from miniclaw.formats import format_size
from miniclaw.session.retention.forecast import MAX_FORECAST_DAYS, Forecast
from miniclaw.workspace.sessions import foresee

_BAR_WIDTH = 24


def _days(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    # Not int() alone, which accepts more than digits.
    if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) > MAX_FORECAST_DAYS:
        raise click.BadParameter(f"{value!r}: give a number of days from 0 to {MAX_FORECAST_DAYS}")
    return int(value)


@click.command()
@click.option("--days", callback=_days, default="30", show_default=True, metavar="N",
              help=f"The number of days, from 0 to {MAX_FORECAST_DAYS}.")  # fmt: skip
@json_option
@pass_workspace
def forecast(workspace: CommandWorkspace, days: int, as_json: bool) -> None:
    """Show for each of the next days how many sessions will expire if none is used.

    The first row shows the sessions that the daily cleanup would remove now; each further row is 24 hours later.
    Sessions that are not announced yet appear in the second row at the earliest.
    """
    workspace.log_to_terminal()
    workspace.ask_to_save()
    workspace.in_force.warn()
    course = foresee(workspace, days)
    if as_json:
        echo_json(course)
        return
    _print(course)


def _print(course: Forecast) -> None:
    headings = ["DAY", "SESSIONS", "SIZE", "LEFT", "ON DISK"]
    rows = [
        [f"{day.at:%Y-%m-%d}", f"{day.sessions:,}", format_size(day.bytes), f"{day.sessions_left:,}",
         format_size(day.bytes_left)]
        for day in course.days
    ]  # fmt: skip
    right = headings[1:]
    if sys.stdout.isatty():
        headings = [*headings, ""]
        most = max(day.sessions for day in course.days)
        rows = [[*row, bar(day.sessions, most, _BAR_WIDTH)] for row, day in zip(rows, course.days, strict=True)]
    print_table(headings, rows, right=right)
    click.echo()
    last = course.days[-1]
    going = sum(day.sessions for day in course.days)
    click.echo(
        f"Without further use, {going:,} of {count(course.sessions_now, 'session')} will be deleted "
        f"in {count(len(course.days) - 1, 'day')}."
    )
    if course.due.sessions:
        click.echo(f"{count(course.due.sessions, 'session')} due, {format_size(course.due.bytes)}; {LIST_DUE}.")
    click.echo(f"On disk: {format_size(course.bytes_now)} now, {format_size(last.bytes_left)} then.")
