"""The plan of a cleanup as ``cleanup --dry-run`` prints it for a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import click

from miniclaw.cli.output import LIST_DUE, count, entries, print_table
from miniclaw.formats import format_age, format_size, one_line
from miniclaw.session.entries import ProblemFile
from miniclaw.session.retention.leftover_rules import LeftoverRow
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.timeline import Ages
from miniclaw.workspace.plan import Outlook
from miniclaw.workspace.plan_json import shown_problem

CONFIRM: Final = "miniclaw sessions cleanup --confirm"

_MAX_FOREIGN: Final = 20  # named by a dry run

LEGACY: Final = "of an earlier implementation"
"""Attribute of files of the kind ``legacy``, in the output."""

_KINDS: Final = {
    "trash": "in the trash",
    "quarantined": "in quarantine",
    "temporary": "temporary files",
    "unfinished": "unfinished removals, to be put back",
    "legacy": f"{LEGACY}, to be moved to quarantine",
}


def print_plan(outlook: Outlook, warnings: Sequence[str] = ()) -> None:
    """Print a plan for a person: sessions by reason, then each session, leftovers, kept sessions, and all warnings."""
    plan = outlook.plan
    if plan.removals:
        reasons = plan.by_reason().items()
        cells = [(reason, f"{tally.sessions:,}", format_size(tally.bytes)) for reason, tally in reasons]
        print_table(("REASON", "SESSIONS", "SIZE"), cells, right=("SESSIONS", "SIZE"))
        click.echo()
        _print_rows(plan)
        click.echo()
    if plan.leftovers:
        _print_leftovers(plan.leftovers, plan.ages)
        click.echo()
    total = f"{count(len(plan.removals), 'session')} would be removed, {format_size(plan.bytes)}"
    click.echo(f"{total}, of {plan.sessions_scanned:,} scanned. Nothing was changed.")
    going = {row.session.key for row in plan.removals}
    waiting = [due for due in plan.due if due.session.key not in going]
    if waiting:
        size = format_size(sum(due.session.size for due in waiting))
        click.echo(f"{len(waiting):,} more due soon, {size}; {LIST_DUE}.")
    for number, why in [
        (plan.pinned, "pinned"),
        (plan.min_idle, "a budget would take it, but for min_idle"),
    ]:
        if number:
            click.echo(f"{number:,} kept: {why}.")
    if plan.unmet:
        click.echo(f"unmet: {unmet_budgets(plan.unmet)}.")
    if plan.held is not None:
        click.echo(f"A cleanup would be held: {plan.held}. To let it through: `{CONFIRM}`")
    for row in plan.future:
        click.echo(f"kept: {one_line(row.session.header.session_id)} is ahead of the clock")
    _print_problems([*plan.problems, *outlook.foreign])
    for warning in (*warnings, *outlook.warnings):
        click.echo(f"warning: {one_line(warning)}")


def unmet_budgets(unmet: Sequence[str]) -> str:
    """Return the text about budgets that cannot be met, with the reason."""
    pronoun = "it" if len(unmet) == 1 else "they"
    return f"{', '.join(unmet)}: {pronoun} cannot be met, what is left is protected or would not be enough"


def _print_rows(plan: CleanupPlan) -> None:
    order = {reason: place for place, reason in enumerate(plan.by_reason())}
    cells = [
        (row.session.header.session_id, format_age(row.age), format_size(row.session.size), row.reason)
        for row in sorted(plan.removals, key=lambda row: (order[row.reason], -row.age))
    ]
    print_table(("SESSION", "LAST USED", "SIZE", "REASON"), cells, right=("LAST USED", "SIZE"))


def _print_leftovers(rows: Iterable[LeftoverRow], ages: Ages) -> None:
    ordered = sorted(rows, key=lambda row: (list(_KINDS).index(row.leftover.kind), row.leftover.key))
    groups: dict[tuple[str, str], list[int]] = {}
    for row in ordered:
        groups.setdefault((_KINDS[row.leftover.kind], row.reason), []).append(row.leftover.size)
    cells = [(kind, reason, f"{len(sizes):,}", format_size(sum(sizes))) for (kind, reason), sizes in groups.items()]
    print_table(("LEFTOVERS", "REASON", "FILES", "SIZE"), cells, right=("FILES", "SIZE"))
    click.echo()
    files = [
        (row.leftover.key, "-" if row.leftover.since is None else format_age(ages.shown(row.leftover.since)),
         format_size(row.leftover.size), row.reason)
        for row in ordered
    ]  # fmt: skip
    print_table(("FILE", "AGE", "SIZE", "REASON"), files, right=("AGE", "SIZE"))


def _print_problems(problems: Sequence[ProblemFile]) -> None:
    for problem in problems:
        if problem.kind != "foreign":
            click.echo(kept_line(problem))
    foreign = [problem for problem in problems if problem.kind == "foreign"]
    for problem in foreign[:_MAX_FOREIGN]:
        click.echo(f"left alone: {one_line(problem.key)}: {one_line(problem.reason)}")
    if len(foreign) > _MAX_FOREIGN:
        click.echo(f"left alone: {entries(len(foreign) - _MAX_FOREIGN)} more; --json has them all")


def kept_line(problem: ProblemFile) -> str:
    """Return the line about a file that is kept because it cannot be judged as a session."""
    shown = shown_problem(problem)
    way_out = f"; `{shown.way_out}` moves it out of the way" if shown.way_out else ""
    return f"kept: {one_line(shown.file)}: {shown.kind}, {one_line(shown.reason + way_out)}"
