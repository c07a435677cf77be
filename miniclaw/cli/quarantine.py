"""``miniclaw quarantine``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from miniclaw.cli.access import CommandWorkspace, pass_workspace
from miniclaw.cli.options import dry_run_option, json_option, yes_option
from miniclaw.cli.output import ago, confirm, count, echo_json, exit_if_failed, print_table
from miniclaw.cli.sessions.show import print_session
from miniclaw.errors import NotQuarantinedError
from miniclaw.formats import format_duration, format_size, one_line
from miniclaw.session.entries import QuarantinedFile
from miniclaw.session.format.codec import MAX_SESSION_BYTES
from miniclaw.session.removal.leftovers import list_foreign
from miniclaw.session.removal.quarantine_files import pieces_of, read_quarantined
from miniclaw.workspace.quarantine import find_file, look_at_quarantine, read_content

if TYPE_CHECKING:
    from miniclaw.session.operations.quarantine import FileOutcome


@click.group()
def quarantine() -> None:
    """List, show, restore and delete files that are no sound sessions, or stood in the place of one."""


@quarantine.command("list")
@json_option
@pass_workspace
def list_files(workspace: CommandWorkspace, as_json: bool) -> None:
    """List the files in quarantine, the newest last.

    NOW says whether a file can be restored, and GOES when a cleanup removes it. The other commands accept an ID, the
    eight digits at its end, or a session or file name that only one row has.
    """
    workspace.log_to_terminal()
    workspace.in_force.warn()
    found, ages = look_at_quarantine(workspace), workspace.moment.ages
    if as_json:
        echo_json(found)
        return
    rows = [
        (file.session_id or file.file, ago(ages.age(file.since)), format_size(file.bytes),
         file.problem or "can be restored",
         "not by itself" if file.goes_at is None else f"{file.goes_at:%Y-%m-%d %H:%M}", file.id)
        for file in found
    ]  # fmt: skip
    headings = ("SESSION OR FILE", "SINCE", "SIZE", "NOW", "GOES (UTC)", "ID")
    print_table(headings, rows, right=("SIZE",), whole=("SINCE", "GOES (UTC)"))
    for problem in [] if workspace.directory is None else list_foreign(workspace.directory, None):
        click.echo(f"left alone: {one_line(problem.key)}: {one_line(problem.reason)}", err=True)


@quarantine.command()
@click.argument("name", metavar="ID")
@click.option("--raw", is_flag=True, help="Write the bytes unchanged, to a pipe or a file.")
@pass_workspace
def show(workspace: CommandWorkspace, name: str, raw: bool) -> None:
    """Show a file: the session in it, or else its beginning as text.

    Control characters are escaped.
    """
    if raw and sys.stdout.isatty():
        raise click.UsageError("--raw is for a pipe or a file: the content may command the terminal")
    directory, file = find_file(workspace, name)
    if raw:
        with closing(pieces_of(directory, file.id)) as pieces:
            for piece in pieces:
                click.echo(piece, nl=False)
    elif file.header is not None:
        print_session(read_quarantined(directory, file.id)[0])
    else:
        content = read_content(directory, file)
        click.echo(content.text)
        click.echo(f"not a session: {one_line(file.problem)}", err=True)
        if content.omitted:
            click.echo(f"{content.omitted:,} bytes more; `--raw` writes all of them.", err=True)


@quarantine.command()
@click.argument("name", metavar="ID")
@pass_workspace
def restore(workspace: CommandWorkspace, name: str) -> None:
    """Restore the session in a file.

    The session counts as used just now. If a session of its ID exists, or the file holds no sound session, nothing is
    changed: edit the file in quarantine, and try again.
    """
    workspace.log_to_terminal()
    file_id = find_file(workspace, name)[1].id
    session_id = workspace.operate(lambda operations: operations.quarantine.restore(file_id))
    click.echo(f"Restored {one_line(session_id)}; it counts as used just now.")


@quarantine.command()
@click.argument("names", metavar="ID...", nargs=-1, required=True)
@click.option("--erase", is_flag=True, help="Delete for good, not to the trash.")
@dry_run_option
@yes_option
@pass_workspace
def delete(workspace: CommandWorkspace, *, names: tuple[str, ...], erase: bool, dry_run: bool, yes: bool) -> None:
    """Delete files in quarantine.

    They are moved to the trash, unless it is switched off. The command asks for confirmation; without a terminal it
    requires --yes.
    """
    if not dry_run:
        workspace.refuse_if_held(by_rules=True)
    workspace.log_to_terminal()
    trash_for = None if erase else workspace.config.session.trash_for
    found = list({file.id: file for _, file in (find_file(workspace, name) for name in names)}.values())
    question, would_go = _what_happens(found, to_trash=trash_for is not None)
    if dry_run:
        workspace.in_force.warn()
        for file in found:
            click.echo(one_line(file.id))
        click.echo(f"{would_go}. Nothing was changed.")
        return
    confirm(question, would_go, yes=yes, matters=True)
    ids = [file.id for file in found]
    work = workspace.operate(lambda operations: operations.quarantine.delete(ids, erase=erase), by_rules=True)
    for outcome in work:
        if outcome.error is None:
            click.echo(_deleted(outcome, trash_for))
    exit_if_failed([outcome.error for outcome in work if outcome.error is not None])


def _what_happens(found: Sequence[QuarantinedFile], *, to_trash: bool) -> tuple[str, str]:
    """Return a question and a sentence about the deletion of files: for good, or to the trash."""
    what = f"{count(len(found), 'file')} in quarantine, {format_size(sum(file.size for file in found))},"
    for_good = sum(file.size > MAX_SESSION_BYTES or not file.is_file for file in found)
    if not to_trash or for_good == len(found):
        return f"Delete {what} for good?", f"{what} would be deleted for good"
    rest = f" ({for_good:,} that it cannot hold: for good)" if for_good else ""
    return f"Move {what} to the trash{rest}?", f"{what} would be moved to the trash{rest}"


def _deleted(outcome: FileOutcome, trash_for: timedelta | None) -> str:
    shown, freed = one_line(outcome.file_id), format_size(max(0, outcome.bytes_freed))
    if not outcome.entry_id:
        return f"Deleted {shown}, {freed}; it cannot be restored."
    back = f"`miniclaw trash restore {shlex.quote(outcome.entry_id)}` puts it back into quarantine"
    return f"Moved {shown} to the trash, {freed} freed; {back} within {format_duration(trash_for)}."


@quarantine.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@pass_workspace
def add(workspace: CommandWorkspace, files: tuple[str, ...]) -> None:
    """Move damaged files, or copies made by a sync program, to quarantine.

    FILE is a name in the sessions directory, or a path to it; it may be a directory or a link. A sound session in its
    place is refused.
    """
    workspace.refuse_if_held()
    workspace.log_to_terminal()
    if workspace.directory is None:
        raise NotQuarantinedError(workspace.home.sessions_dir, "there are no sessions yet")
    names = list(dict.fromkeys(_name_of(workspace, file) for file in files))
    work = workspace.operate(lambda operations: operations.quarantine.add(names))
    for outcome in work:
        if outcome.error is None:
            click.echo(f"Moved {one_line(outcome.name)} to quarantine, as {one_line(outcome.file_id)}.")
    exit_if_failed([outcome.error for outcome in work if outcome.error is not None])


def _name_of(workspace: CommandWorkspace, file: str) -> str:
    """Return the name of a file that is given by name or by path; a path to another folder is returned unchanged."""
    folder, name = os.path.split(file)
    same = folder and os.path.realpath(folder) == os.path.realpath(workspace.home.sessions_dir)
    return name if same else file
