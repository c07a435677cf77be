"""``miniclaw sessions delete``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from miniclaw.cli import EXIT_FAILED
from miniclaw.cli.access import CommandWorkspace, pass_workspace
from miniclaw.cli.options import channel_option, dry_run_option, json_option, yes_option
from miniclaw.cli.output import RESTORE_HINT, confirm, count, echo_error, echo_json, print_table
from miniclaw.cli.plan_output import kept_line
from miniclaw.cli.sessions.selection import Selection, select_by_chat, select_by_id
from miniclaw.formats import encodable, format_age, format_duration, format_size, one_line
from miniclaw.session.entries import ProblemFile
from miniclaw.session.retention.timeline import Ages

if TYPE_CHECKING:
    from miniclaw.session.operations.operations import Deleted

_MOST_TOLD = 20  # sessions reported one by one


@click.command()
@click.argument("session_ids", metavar="[ID]...", nargs=-1)
@channel_option
@click.option("--chat", "chat_id", metavar="CHAT_ID", help="Only sessions of this chat, on any channel.")
@click.option("--erase", is_flag=True,
              help="Delete for good, with all copies in trash and quarantine; for a person who asks.")  # fmt: skip
@dry_run_option
@yes_option
@json_option
@pass_workspace
def delete(
    workspace: CommandWorkspace,
    *,
    session_ids: tuple[str, ...],
    channel: str | None,
    chat_id: str | None,
    erase: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete sessions of any age: those with the given IDs, or all of a channel or chat.

    It asks for confirmation; without a terminal it requires --yes. The sessions are moved to the trash, unless it is
    switched off. The history records them.
    """
    selects = channel is not None or chat_id is not None
    if bool(session_ids) == selects:
        raise click.UsageError("say which sessions: one or more IDs, or --channel or --chat or both of these")
    if not dry_run:
        workspace.refuse_if_held(by_rules=True)
    workspace.log_to_terminal()
    workspace.ask_to_save()
    trash_for = workspace.config.session.trash_for
    goes_to_trash = trash_for is not None and not erase
    ages = workspace.moment.ages
    if selects:
        selection = select_by_chat(workspace, channel, chat_id, erase=erase)
    else:
        selection = select_by_id(workspace, session_ids, erase=erase, dry_run=dry_run)
    if dry_run:
        workspace.in_force.warn()
        _print_selection(selection, ages, goes_to_trash=goes_to_trash, as_json=as_json)
        return
    ids = selection.session_ids
    question = _question(selection, ages, goes_to_trash=goes_to_trash)
    confirm(question, _would_go(selection, goes_to_trash=goes_to_trash), yes=yes, matters=bool(ids))
    done: list[Deleted] = []
    if ids:
        done = workspace.operate(lambda operations: operations.delete(ids, erase=erase), by_rules=True)
    remaining = [problem for deleted in done for problem in deleted.remaining]
    by_key = {encodable(each.key): each for each in (*remaining, *selection.kept)}
    kept = [by_key[key] for key in sorted(by_key)]
    if as_json:
        _print_result_json(done, kept)
    else:
        _print_result(done, trash_for)
    for problem in kept:
        echo_error(kept_line(problem))
    if erase and kept:
        echo_error(f"{count(len(kept), 'file')} with messages of these sessions may remain; delete them by hand")
    if kept or any(deleted.error for deleted in done):
        sys.exit(EXIT_FAILED)


def _question(selection: Selection, ages: Ages, *, goes_to_trash: bool) -> str:
    verb, where = ("Move", "to the trash") if goes_to_trash else ("Delete", "for good")
    copies = _copies(selection)
    if len(selection.sessions) == 1 and not copies:
        session = selection.sessions[0]
        age = ages.shown(session.header.last_accessed)
        used = f"last used {format_age(age)} ago" if age >= timedelta(0) else "ahead of the clock"
        what = f"the session {one_line(session.header.session_id)}, {format_size(session.size)}, {used},"
    else:
        what = f"{count(len(selection.sessions), 'session')}{copies}, {format_size(selection.bytes)},"
    return f"{verb} {what} {where}?"


def _copies(selection: Selection) -> str:
    copies = len(selection.copies)
    return f" and {count(copies, 'file')} of trash and quarantine" if copies else ""


def _would_go(selection: Selection, *, goes_to_trash: bool) -> str:
    what = f"{count(len(selection.sessions), 'session')}{_copies(selection)}"
    happens = "moved to the trash" if goes_to_trash else "deleted for good"
    return f"{what} would be {happens}, {format_size(selection.bytes)}"


def _print_selection(selection: Selection, ages: Ages, *, goes_to_trash: bool, as_json: bool) -> None:
    if as_json:
        _print_selection_json(selection)
        return
    rows = [
        (row.header.session_id, format_age(ages.shown(row.header.last_accessed)), format_size(row.size), row.key)
        for row in selection.sessions
    ]
    rows += [
        (copy.session_id, format_age(ages.shown(copy.since)), format_size(copy.size), copy.place)
        for copy in selection.copies
    ]
    if rows:
        print_table(("SESSION", "AGE", "SIZE", "FILE"), rows, right=("AGE", "SIZE"))
        click.echo()
    click.echo(f"{_would_go(selection, goes_to_trash=goes_to_trash)}. Nothing was changed.")
    for problem in selection.kept:
        click.echo(kept_line(problem))


def _print_selection_json(selection: Selection) -> None:
    document = {
        "sessions": [
            {
                "session_id": row.header.session_id,
                "last_accessed": row.header.last_accessed,
                "bytes": row.size,
                "file": encodable(row.key),
            }
            for row in selection.sessions
        ],
        "copies": [
            {"session_id": copy.session_id, "file": encodable(copy.place), "bytes": copy.size, "since": copy.since}
            for copy in selection.copies
        ],
        "bytes": selection.bytes,
        "kept": _kept(selection.kept),
    }
    echo_json(document)


def _kept(kept: Sequence[ProblemFile]) -> list[dict[str, Any]]:
    return [{"file": encodable(problem.key), "reason": encodable(problem.reason)} for problem in kept]


def _print_result(done: Sequence[Deleted], trash_for: timedelta | None) -> None:
    gone = [deleted for deleted in done if deleted.error is None]
    for deleted in gone[:_MOST_TOLD]:
        shown, freed = one_line(deleted.session_id), format_size(deleted.bytes_freed)
        if deleted.entry_id:
            # An escaped id cannot be pasted; the id of an entry needs no escapes.
            name = deleted.session_id if shown == deleted.session_id else deleted.entry_id
            restore = f"`miniclaw trash restore {shlex.quote(name)}` brings it back within {format_duration(trash_for)}"
            click.echo(f"Moved {shown} to the trash, {freed} freed; {restore}.")
        elif deleted.remaining:
            click.echo(f"Deleted {shown}, {freed}; files with its messages may remain.")
        else:
            click.echo(f"Deleted {shown}, {freed}; it cannot be restored.")
    for deleted in done:
        if deleted.error is not None:
            echo_error(deleted.error)
    if len(gone) > _MOST_TOLD:
        click.echo(f"… and {len(gone) - _MOST_TOLD:,} more; `miniclaw history` has them all.")
    if not done:
        click.echo("There is nothing to delete.")
    elif len(done) > 1:
        in_trash = bool(gone) and all(deleted.entry_id for deleted in gone)
        verb, how = ("moved to the trash", f"; {RESTORE_HINT}") if in_trash else ("deleted for good", "")
        freed = format_size(sum(deleted.bytes_freed for deleted in gone))
        click.echo(f"{count(len(gone), 'session')} {verb}, {freed} freed{how}.")


def _print_result_json(done: Sequence[Deleted], kept: Sequence[ProblemFile]) -> None:
    document = {
        "sessions": [
            {
                "session_id": deleted.session_id,
                "bytes_freed": deleted.bytes_freed,
                "trash_entry": deleted.entry_id or None,
                "error": None if deleted.error is None else encodable(str(deleted.error)),
            }
            for deleted in done
        ],
        "bytes_freed": sum(deleted.bytes_freed for deleted in done),
        "kept": _kept(kept),
    }
    echo_json(document)
