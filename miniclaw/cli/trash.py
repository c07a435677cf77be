"""``miniclaw trash``."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import timedelta

import click

from miniclaw.cli import EXIT_FAILED, Settings
from miniclaw.cli.access.in_force import find_rules
from miniclaw.cli.access.looking import find_trashes, log_to_terminal, moment_of, notice_at, trash_opened
from miniclaw.cli.access.operating import confirm, operate, refuse_if_held
from miniclaw.cli.options import dry_run_option, json_option, yes_option
from miniclaw.cli.output import ago, echo_error, echo_json, entries, print_table
from miniclaw.errors import TrashEntryNotFoundError
from miniclaw.formats import format_remaining, format_size, one_line
from miniclaw.session.entries import Leftover
from miniclaw.session.retention.leftover_rules import judge_leftover
from miniclaw.session.retention.notice import Notice
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.retention.timeline import Ages
from miniclaw.session.trash.entries import TrashEntry
from miniclaw.session.trash.trash import Trash
from miniclaw.workspace.plan_json import shown_entry
from miniclaw.workspace.workspace import sessions_opened


@click.group()
def trash() -> None:
    """List, restore and empty what was removed."""


@trash.command("list")
@json_option
@click.pass_obj
def list_entries(settings: Settings, as_json: bool) -> None:
    """List the trash, the newest last."""
    log_to_terminal(settings)
    ages = moment_of(settings).ages
    with trash_opened(settings) as bin_:
        found, foreign = bin_.entries(), bin_.foreign()
    if as_json:
        echo_json([shown_entry(entry) for entry in found])
    else:
        _print_entries(found, ages)
        for problem in foreign:
            click.echo(f"left alone: {one_line(problem.key)}: {one_line(problem.reason)}", err=True)


@trash.command()
@click.argument("name", metavar="ID")
@click.pass_obj
def restore(settings: Settings, name: str) -> None:
    """Put a session back into its place; ID is the session's, for the newest entry of it, or an entry's.

    It counts as used just now. Where there is a session of that ID already, nothing is changed. A file that lay in
    quarantine goes back there.
    """
    log_to_terminal(settings)
    with sessions_opened(settings) as directory:
        # A missing entry is reported without ownership. All trashes are searched: an owner first moves earlier ones in.
        entry_id = _find(find_trashes(settings, directory), name)
    restored = operate(settings, lambda operations: operations.restore(entry_id))  # a session id may be very long
    if restored.session_id is not None:
        click.echo(f"Restored {one_line(restored.session_id)}; it counts as used just now.")
    else:
        click.echo(f"Put back into quarantine, as {one_line(restored.file_id or '')}.")


@trash.command()
@click.argument("names", metavar="[ID]...", nargs=-1)
@click.option("--expired", is_flag=True, help="Only those whose time is over; a cleanup removes them as well.")
@dry_run_option
@yes_option
@click.pass_obj
def empty(settings: Settings, *, names: tuple[str, ...], expired: bool, dry_run: bool, yes: bool) -> None:
    """Delete what is in the trash for good: all of it, or some entries.

    ID is an entry's, or a session's for all entries of it. Asks first on a terminal; without one it needs --yes.
    """
    if names and expired:
        raise click.UsageError("say which entries: IDs or --expired, not both")
    if not dry_run:
        refuse_if_held(settings, by_rules=expired)
    log_to_terminal(settings)
    moment = moment_of(settings)
    ages = moment.ages
    with trash_opened(settings) as bin_:
        found = _named(bin_, names) if names else bin_.entries()
    if expired:
        rules = find_rules(settings)
        policy, notice = rules.config.session.retention_policy(), notice_at(rules, moment)
        found = [entry for entry in found if _is_expired(entry, policy, notice)]
    size = sum(entry.stored_size for entry in found)
    would_go = f"{entries(len(found))} of the trash would be deleted for good, {format_size(size)}"
    if dry_run:
        _print_entries(found, ages)
        click.echo(f"{would_go}. Nothing was changed.")
        return
    question = f"Delete {entries(len(found))} of the trash, {format_size(size)}, for good?"
    confirm(question, would_go, yes=yes, matters=bool(found))
    if not found:
        click.echo("There is nothing to delete.")
        return
    ids = [entry.id for entry in found]
    removals = operate(settings, lambda operations: operations.empty_trash(ids), by_rules=expired)
    removed = [removal for removal in removals if removal.outcome == "removed"]
    failed = [removal for removal in removals if removal.outcome in {"failed", "pending"}]
    freed = format_size(sum(removal.bytes_freed for removal in removed))
    click.echo(f"{entries(len(removed))} deleted, {freed} freed; gone for good.")
    for removal in failed:
        echo_error(f"{bin_.path_of(removal.entry_id)}: {removal.reason}")
    if failed:
        sys.exit(EXIT_FAILED)


def _find(trashes: list[Trash], name: str) -> str:
    """Return the id of the entry that a name means, in the first trash that has one.

    Raises:
        TrashEntryNotFoundError: None of them has one; the error names the first trash.
    """
    try:
        return trashes[0].find(name).id
    except TrashEntryNotFoundError as error:
        for other in trashes[1:]:
            with suppress(TrashEntryNotFoundError):
                return other.find(name).id
        raise error from None


def _named(bin_: Trash, names: tuple[str, ...]) -> list[TrashEntry]:
    """Return the entries that the names identify, each once.

    Raises:
        TrashEntryNotFoundError: A name identifies no entry.
    """
    found: dict[str, TrashEntry] = {}
    for name in names:
        meant = bin_.find_all(name) or [bin_.find(name)]
        found |= {entry.id: entry for entry in meant}
    return list(found.values())


def _is_expired(entry: TrashEntry, policy: RetentionPolicy, notice: Notice) -> bool:
    leftover = Leftover("trash", entry.id, entry.stored_size, entry.removed_at, entry.expires_at)
    return judge_leftover(leftover, policy, notice) is not None


def _print_entries(found: list[TrashEntry], ages: Ages) -> None:
    rows = [
        (entry.session_id or (entry.key if entry.from_quarantine else "?"), ago(ages.age(entry.removed_at)),
         _expiry(entry, ages), format_size(entry.stored_size), _reason(entry), entry.id)
        for entry in found
    ]  # fmt: skip
    print_table(
        ("SESSION", "REMOVED", "EXPIRES", "SIZE", "REASON", "ENTRY"),
        rows,
        right=("SIZE",),
        whole=("REMOVED", "EXPIRES"),
    )


def _reason(entry: TrashEntry) -> str:
    if entry.problem:
        return f"damaged: {entry.problem}"
    return f"{entry.reason}, from quarantine" if entry.from_quarantine else entry.reason


def _expiry(entry: TrashEntry, ages: Ages) -> str:
    age = ages.age(entry.removed_at)
    if entry.expires_at is None or age is None:
        return "-"
    left = entry.expires_at - entry.removed_at - age
    return f"in {format_remaining(left)}" if left > timedelta(0) else "expired"
