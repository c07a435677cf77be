"""``miniclaw sessions stats``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar

import click

from miniclaw.cli.access import CommandWorkspace, pass_workspace
from miniclaw.cli.options import json_option
from miniclaw.cli.output import conflict_copies, count, echo_json, print_table
from miniclaw.formats import format_age, format_size
from miniclaw.session.entries import LeftoverKind, StoredSession
from miniclaw.session.retention.timeline import Ages

T = TypeVar("T", timedelta, int)

_PERCENTS: Final = (50, 90, 99)
_DAY: Final = timedelta(days=1)
_FOLDERS: Final[dict[str, LeftoverKind]] = {"trash": "trash", "quarantine": "quarantined"}


@click.command()
@json_option
@pass_workspace
def stats(workspace: CommandWorkspace, as_json: bool) -> None:
    """Show the number of sessions, their sizes, and the time since their last use, by channel and in all.

    P50 is the median: half of the sessions are at most that old, or that large. P90 and P99 say the same of 90 % and of
    99 %.
    """
    workspace.log_to_terminal()
    workspace.ask_to_save()
    ages = workspace.moment.ages
    listing, leftovers = workspace.listing(), workspace.leftovers()
    groups = _by_channel(listing.sessions)
    folders = {
        name: [entry.size for entry in leftovers if entry.kind == kind] for name, kind in _FOLDERS.items()
    }  # fmt: skip
    if as_json:
        document = {
            "now": ages.now,
            "all": _as_dict(listing.sessions, ages),
            "channels": {channel: _as_dict(sessions, ages) for channel, sessions in groups.items()},
            "unreadable": len(listing.problems),
            "conflicts": len(listing.conflicts),
            **{name: {"files": len(sizes), "bytes": sum(sizes)} for name, sizes in folders.items()},
        }
        echo_json(document)
        return
    _print(groups | {"all": listing.sessions}, ages)
    click.echo()
    for name, sizes in folders.items():
        click.echo(f"{name:<11} {count(len(sizes), 'file')}, {format_size(sum(sizes))}")
    if listing.problems:
        click.echo(f"{'unreadable':<11} {count(len(listing.problems), 'file')}")
    if listing.conflicts:
        click.echo(f"{'conflicts':<11} {conflict_copies(len(listing.conflicts))}")


def percentile(ordered: Sequence[T], percent: int) -> T | None:
    """Return the least value that so many percent of the values do not exceed; None if there are no values.

    Args:
        ordered: The values, in ascending order.
        percent: From 1 to 100, both inclusive.
    """
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None


def _by_channel(sessions: Sequence[StoredSession]) -> dict[str, list[StoredSession]]:
    groups: dict[str, list[StoredSession]] = {}
    for session in sessions:
        groups.setdefault(session.header.channel, []).append(session)
    return dict(sorted(groups.items()))


def _ages_and_sizes(sessions: Sequence[StoredSession], moment: Ages) -> tuple[list[timedelta], list[int]]:
    ages = sorted(moment.shown(session.header.last_accessed) for session in sessions)
    return ages, sorted(session.size for session in sessions)


def _as_dict(sessions: Sequence[StoredSession], moment: Ages) -> dict[str, Any]:
    ages, sizes = _ages_and_sizes(sessions, moment)
    named = {f"p{percent}": percent for percent in _PERCENTS} | {"max": 100}
    return {
        "sessions": len(sizes),
        "bytes": sum(sizes),
        "pinned": sum(session.header.pinned for session in sessions),
        "age_days": {
            name: None if (age := percentile(ages, percent)) is None else round(age / _DAY, 3)
            for name, percent in named.items()
        },
        "size_bytes": {name: percentile(sizes, percent) for name, percent in named.items()},
    }


def _print(groups: dict[str, list[StoredSession]], moment: Ages) -> None:
    percents = (*_PERCENTS, 100)
    ages_rows, sizes_rows = [], []
    for name, sessions in groups.items():
        ages, sizes = _ages_and_sizes(sessions, moment)
        by_age = [percentile(ages, percent) for percent in percents]
        by_size = [percentile(sizes, percent) for percent in percents]
        ages_rows.append((name, f"{len(sizes):,}", *("-" if age is None else format_age(age) for age in by_age)))
        sizes_rows.append(
            (name, format_size(sum(sizes)), *("-" if size is None else format_size(size) for size in by_size))
        )
    names = (*(f"P{percent}" for percent in _PERCENTS), "MAX")
    age_names, size_names = [f"AGE {name}" for name in names], [f"SIZE {name}" for name in names]
    print_table(("CHANNEL", "SESSIONS", *age_names), ages_rows, right=("SESSIONS", *age_names))
    click.echo()
    print_table(("CHANNEL", "SIZE", *size_names), sizes_rows, right=("SIZE", *size_names))
