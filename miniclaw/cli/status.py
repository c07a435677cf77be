"""``miniclaw status``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import click
import msgspec

from miniclaw.admin.monitoring.live_status import LiveStatus, status_lines
from miniclaw.cli import EXIT_FAILED
from miniclaw.cli.access import CommandWorkspace, pass_workspace
from miniclaw.cli.history import details_of
from miniclaw.cli.options import json_option
from miniclaw.cli.output import DRY_RUN_NAMES, LIST_DUE, conflict_copies, count, echo_json
from miniclaw.cli.plan_output import CONFIRM, unmet_budgets
from miniclaw.formats import format_remaining, format_size, format_time, one_line
from miniclaw.session.entries import Leftover
from miniclaw.session.ownership.holder import Holder
from miniclaw.workspace.plan import next_run
from miniclaw.workspace.plan_json import sessions_of
from miniclaw.workspace.status import WorkspaceState, look, rules_in_force
from miniclaw.workspace.status_json import shown_workspace

_UNKNOWN = "not known"


@click.command()
@json_option
@pass_workspace
def status(workspace: CommandWorkspace, as_json: bool) -> None:
    """Show on one screen the sessions, the last cleanup and the next, the rules, and the gateway.

    No gateway need run. A running gateway first saves its sessions, and its rules are the ones shown. If trash,
    quarantine, history or state cannot be read, the rest is shown, and the exit code is 1.
    """
    workspace.log_to_terminal()
    workspace.ask_to_save()
    live = workspace.ask_how_it_is()
    rules = workspace.in_force
    found = look(workspace)
    if as_json:
        document = shown_workspace(workspace, found, rules_of=rules.of, warnings=rules.notes)
        shown: dict[str, Any] = msgspec.structs.asdict(document)
        echo_json(shown | {"gateway": live})
    else:
        for label, text in [*(status_lines(live) if live else ()), *_lines(workspace, found, live)]:
            click.echo(f"{label:<13} {one_line(text)}")
    if found.unread:
        sys.exit(EXIT_FAILED)


def _lines(workspace: CommandWorkspace, found: WorkspaceState, live: LiveStatus | None) -> Iterator[tuple[str, str]]:
    plan, session = found.plan, workspace.config.session
    yield "workspace", str(workspace.home.workspace)
    yield "held by", _held_by(found.holder)
    yield "sessions", f"{plan.readable:,}, {format_size(plan.sessions_bytes)}"
    if bad := plan.sessions_scanned - plan.readable:
        yield "unreadable", f"{count(bad, 'file')}; {DRY_RUN_NAMES}"
    if copies := plan.problem_count("conflict"):
        yield "conflicts", f"{conflict_copies(copies)}; {DRY_RUN_NAMES}"
    yield "trash", _UNKNOWN if "trash" in found.unread else _files(found.trash)
    listed = "; `miniclaw quarantine list` names them" if found.quarantine else ""
    yield "quarantine", _UNKNOWN if "quarantine" in found.unread else _files(found.quarantine) + listed
    if found.free_disk is not None:
        yield "disk", f"{format_size(found.free_disk)} free"
    yield "last cleanup", _last_cleanup(found)
    if live is None:  # else `status_lines` has this line
        yield "next cleanup", _next_run(next_run(session, found.moment), found)
    yield "would remove", _would_remove(found)
    yield from _due_lines(found)
    if found.damaged_lines:
        yield "history", f"{count(found.damaged_lines, 'line')} could not be read"
    for problem in found.unread.values():
        yield "not read", problem
    yield "mode", session.mode
    rules = ", ".join(f"{name} = {value}" for name, value in rules_in_force(workspace.config).items())
    yield "rules", f"{rules} (the gateway's)" if workspace.in_force.of == "gateway" else rules
    for warning in (*workspace.in_force.notes, *found.warnings):
        yield "warning", warning


def _due_lines(found: WorkspaceState) -> Iterator[tuple[str, str]]:
    plan = found.plan
    if plan.due:
        yield "due", f"{count(len(plan.due), 'session')}, {format_size(plan.due_count.bytes)}; {LIST_DUE}"
    if (event := found.announced) is not None:
        goes = "nothing is deleted by itself"
        if event.goes_at is not None:
            goes = f"deleted from {format_time(event.goes_at)} on, unless they are used"
        what = f"{count(event.announced, 'session')} that had expired; {event.because}"
        yield "announced", f"{format_time(event.at)}: {what}; {goes}"
    if found.held is not None and found.last_run is not None:
        yield "held", f"the cleanup of {format_time(found.last_run.at)}: {found.held}; `{CONFIRM}` lets it through"
    elif plan.held is not None:
        yield "would be held", f"{plan.held}; `{CONFIRM}` lets it through"
    if plan.unmet:
        yield "unmet", unmet_budgets(plan.unmet)


def _held_by(holder: Holder | None) -> str:
    if holder is None:
        return "none"
    state = ", stopping" if holder.stopping else ""
    return holder.who + state if holder.since is None else f"{holder.who}, since {format_time(holder.since)}{state}"


def _files(files: Sequence[Leftover]) -> str:
    return f"{len(files):,}, {format_size(sum(entry.size for entry in files))}"


def _last_cleanup(found: WorkspaceState) -> str:
    event = found.last_cleanup
    if event is None and found.last_run_at is not None:
        return f"{format_time(found.last_run_at)}; not in the history"
    if event is None:
        return _UNKNOWN if {"history", "state"} & found.unread.keys() else "never"
    broken = " (interrupted)" if event.event == "interrupted" else ""
    removed = f"{sessions_of(event):,} of {event.sessions_scanned:,} removed, {format_size(event.bytes_freed)} freed"
    return "; ".join([f"{format_time(event.at)}{broken}: {removed}", *details_of(event)])


def _next_run(at: datetime | None, found: WorkspaceState) -> str:
    if at is None:
        return "never by itself; `miniclaw sessions cleanup` does one"
    if "state" in found.unread:
        return f"{_UNKNOWN}; the gateway would announce first"
    if at <= found.now:
        return "due, at the next start of the gateway"
    return f"{format_time(at)}, in {format_remaining(at - found.now)}, if the gateway runs then"


def _would_remove(found: WorkspaceState) -> str:
    plan = found.plan
    parts = [f"{reason} {tally.sessions:,}" for reason, tally in plan.by_reason().items()]
    parts += [count(len(plan.leftovers), "leftover")] * bool(plan.leftovers)
    return "; ".join([f"{count(len(plan.removals), 'session')}, {format_size(plan.bytes)}", *parts])
