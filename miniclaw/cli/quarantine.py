"""``miniclaw quarantine``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from miniclaw.cli import EXIT_FAILED, Settings
from miniclaw.cli.access.in_force import find_rules
from miniclaw.cli.access.looking import log_to_terminal, moment_of, sessions_opened
from miniclaw.cli.access.operating import confirm, operate, refuse_if_held
from miniclaw.cli.options import dry_run_option, json_option, yes_option
from miniclaw.cli.output import ago, count, echo_error, echo_json, print_table
from miniclaw.cli.sessions.show import print_session
from miniclaw.errors import MiniclawError, NotQuarantinedError
from miniclaw.formats import format_duration, format_size, one_line
from miniclaw.session.entries import QuarantinedFile
from miniclaw.session.format.codec import MAX_SESSION_BYTES
from miniclaw.session.removal.leftovers import list_foreign
from miniclaw.session.removal.quarantine_files import pieces_of, read_quarantined
from miniclaw.workspace.quarantine import look_at_quarantine, quarantined_file, read_content

if TYPE_CHECKING:
    from miniclaw.session.operations.quarantine import FileOutcome


@click.group()
def quarantine() -> None:
    """List, show, restore and delete files that could not be read as sessions, or stood in their way."""


@quarantine.command("list")
@json_option
@click.pass_obj
def list_files(settings: Settings, as_json: bool) -> None:
    """List the files in quarantine, the newest last: the state of each now, and when it is removed.

    Instead of an ID, the eight digits at its end will do, or a session or file that one row shows.
    """
    log_to_terminal(settings)
    rules, moment = find_rules(settings), moment_of(settings)
    rules.warn()
    found = look_at_quarantine(rules, moment)
    if as_json:
        echo_json(found)
        return
    rows = [
        (file.session_id or file.file, ago(moment.ages.age(file.since)), format_size(file.bytes),
         file.problem or "can be restored", _goes(file.goes_at), file.id)
        for file in found
    ]  # fmt: skip
    headings = ("SESSION OR FILE", "SINCE", "SIZE", "NOW", "GOES (UTC)", "ID")
    print_table(headings, rows, right=("SIZE",), whole=("SINCE", "GOES (UTC)"))
    with sessions_opened(settings) as directory:
        foreign = [] if directory is None else list_foreign(directory, None)
    for problem in foreign:
        click.echo(f"left alone: {one_line(problem.key)}: {one_line(problem.reason)}", err=True)


def _goes(goes_at: datetime | None) -> str:
    return "not by itself" if goes_at is None else f"{goes_at:%Y-%m-%d %H:%M}"


@quarantine.command()
@click.argument("name", metavar="ID")
@click.option("--raw", is_flag=True, help="Write the bytes as they are, into a pipe or a file.")
@click.pass_obj
def show(settings: Settings, name: str, raw: bool) -> None:
    """Show the content of a file: the session that it holds, or else its beginning as text.

    Characters that command a terminal are escaped.
    """
    if raw and sys.stdout.isatty():
        raise click.UsageError("--raw is for a pipe or a file: the content may command the terminal")
    with quarantined_file(settings, name) as (directory, file):
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
@click.pass_obj
def restore(settings: Settings, name: str) -> None:
    """Put the session in a file into the place that its own ID names.

    It counts as used just now. Nothing is changed if there is a session of that ID already, or if the file holds no
    usable session: edit the file in quarantine, and try again.
    """
    log_to_terminal(settings)
    with quarantined_file(settings, name) as (_, file):
        file_id = file.id
    session_id = operate(settings, lambda operations: operations.quarantine.restore(file_id))
    click.echo(f"Restored {one_line(session_id)}; it counts as used just now.")


@quarantine.command()
@click.argument("names", metavar="ID...", nargs=-1, required=True)
@click.option("--erase", is_flag=True, help="For good, also where there is a trash.")
@dry_run_option
@yes_option
@click.pass_obj
def delete(settings: Settings, *, names: tuple[str, ...], erase: bool, dry_run: bool, yes: bool) -> None:
    """Delete files in quarantine now. They go to the trash, unless it is switched off.

    Asks first on a terminal; without one it needs --yes.
    """
    if not dry_run:
        refuse_if_held(settings, by_rules=True)
    log_to_terminal(settings)
    rules = find_rules(settings)
    trash_for = None if erase else rules.config.session.trash_for
    found = _find_all(settings, names)
    question, would_go = _what_happens(found, to_trash=trash_for is not None)
    if dry_run:
        rules.warn()
        for file in found:
            click.echo(one_line(file.id))
        click.echo(f"{would_go}. Nothing was changed.")
        return
    confirm(question, would_go, yes=yes, matters=True)
    ids = [file.id for file in found]
    work = operate(settings, lambda operations: operations.quarantine.delete(ids, erase=erase), by_rules=True)
    for outcome in work:
        if outcome.error is None:
            click.echo(_deleted(outcome, trash_for))
    _end(work)


def _what_happens(found: Sequence[QuarantinedFile], *, to_trash: bool) -> tuple[str, str]:
    """Return a question and a sentence about the deletion of files: for good, or to the trash."""
    what = f"{count(len(found), 'file')} in quarantine, {format_size(sum(file.size for file in found))},"
    for_good = sum(file.size > MAX_SESSION_BYTES or not file.is_file for file in found)
    if not to_trash or for_good == len(found):
        return f"Delete {what} for good?", f"{what} would be deleted for good"
    rest = f" ({for_good:,} that it cannot hold: for good)" if for_good else ""
    return f"Move {what} to the trash{rest}?", f"{what} would be moved to the trash{rest}"


def _find_all(settings: Settings, names: Sequence[str]) -> list[QuarantinedFile]:
    """Return the files that the names identify, each once.

    Raises:
        StoreError: A name identifies no file, or several.
    """
    found: dict[str, QuarantinedFile] = {}
    for name in names:
        with quarantined_file(settings, name) as (_, file):
            found[file.id] = file
    return [*found.values()]


def _deleted(outcome: FileOutcome, trash_for: timedelta | None) -> str:
    shown, freed = one_line(outcome.file_id), format_size(max(0, outcome.bytes_freed))
    if not outcome.entry_id:
        return f"Deleted {shown}, {freed}; it is gone for good."
    back = f"`miniclaw trash restore {shlex.quote(outcome.entry_id)}` puts it back into quarantine"
    return f"Moved {shown} to the trash, {freed} freed; {back} within {format_duration(trash_for)}."


@quarantine.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.pass_obj
def add(settings: Settings, files: tuple[str, ...]) -> None:
    """Move files out of the sessions' way, into quarantine: damaged ones, and copies that a sync program has made.

    FILE is the name of a file in the sessions directory, or its path; it may also be a directory or a link. A sound
    session in its place is refused.
    """
    refuse_if_held(settings)
    log_to_terminal(settings)
    with sessions_opened(settings) as directory:
        if directory is None:
            raise NotQuarantinedError(settings.home.sessions_dir, "there are no sessions yet")
    names = list(dict.fromkeys(_name_of(settings, file) for file in files))
    work = operate(settings, lambda operations: operations.quarantine.add(names))
    for outcome in work:
        if outcome.error is None:
            click.echo(f"Moved {one_line(outcome.name)} to quarantine, as {one_line(outcome.file_id)}.")
    _end(work)


def _name_of(settings: Settings, file: str) -> str:
    """Return the name of a file that is given by name or by path; a path to another folder is returned unchanged."""
    folder, name = os.path.split(file)
    same = folder and os.path.realpath(folder) == os.path.realpath(settings.home.sessions_dir)
    return name if same else file


def _end(outcomes: Sequence[FileOutcome]) -> None:
    """Report the errors; if there are any, exit with code 1."""
    errors: list[MiniclawError] = [outcome.error for outcome in outcomes if outcome.error is not None]
    for error in errors:
        echo_error(error)
    if errors:
        sys.exit(EXIT_FAILED)
