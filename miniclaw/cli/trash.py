"""``miniclaw trash``."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import click

from miniclaw.cli.access import CommandWorkspace, pass_workspace
from miniclaw.cli.options import dry_run_option, json_option, yes_option
from miniclaw.cli.output import ago, confirm, echo_json, entries, exit_if_failed, print_table
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


@click.group()
def trash() -> None:
    """List and restore removed sessions, or delete them for good."""


@trash.command("list")
@json_option
@pass_workspace
def list_entries(workspace: CommandWorkspace, as_json: bool) -> None:
    """List the trash, the newest last."""
    workspace.log_to_terminal()
    ages, bin_ = workspace.moment.ages, workspace.trash
    found, foreign = bin_.entries(), bin_.foreign()
    if as_json:
        echo_json([shown_entry(entry) for entry in found])
    else:
        _print_entries(found, ages)
        for problem in foreign:
            click.echo(f"left alone: {one_line(problem.key)}: {one_line(problem.reason)}", err=True)


@trash.command()
@click.argument("name", metavar="ID")
@pass_workspace
def restore(workspace: CommandWorkspace, name: str) -> None:
    """Restore a session from the trash.

    ID is that of an entry, or of a session for its newest entry. The session counts as used just now. If a session of
    that ID exists, nothing is changed. A file from quarantine returns to quarantine.
    """
    workspace.log_to_terminal()
    # A missing entry is reported without ownership. All trashes are searched: an owner first moves earlier ones in.
    entry_id = _find(workspace.trashes, name)
    restored = workspace.operate(lambda operations: operations.restore(entry_id))  # a session id may be very long
    if restored.session_id is not None:
        click.echo(f"Restored {one_line(restored.session_id)}; it counts as used just now.")
    else:
        click.echo(f"Put back into quarantine, as {one_line(restored.file_id or '')}.")


@trash.command()
@click.argument("names", metavar="[ID]...", nargs=-1)
@click.option("--expired", is_flag=True, help="Only expired entries, which a cleanup removes as well.")
@dry_run_option
@yes_option
@pass_workspace
def empty(workspace: CommandWorkspace, *, names: tuple[str, ...], expired: bool, dry_run: bool, yes: bool) -> None:
    """Delete entries of the trash for good: all, or some.

    ID is that of an entry, or of a session for all its entries. The command asks for confirmation; without a terminal
    it requires --yes.
    """
    if names and expired:
        raise click.UsageError("say which entries: IDs or --expired, not both")
    if not dry_run:
        workspace.refuse_if_held(by_rules=expired)
    workspace.log_to_terminal()
    ages, bin_ = workspace.moment.ages, workspace.trash
    found = _named(bin_, names) if names else bin_.entries()
    if expired:
        policy, notice = workspace.policy, workspace.notice()
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
    removals = workspace.operate(lambda operations: operations.empty_trash(ids), by_rules=expired)
    removed = [removal for removal in removals if removal.outcome == "removed"]
    freed = format_size(sum(removal.bytes_freed for removal in removed))
    click.echo(f"{entries(len(removed))} deleted for good, {freed} freed.")
    failed = [removal for removal in removals if removal.outcome in {"failed", "pending"}]
    exit_if_failed([f"{bin_.path_of(removal.entry_id)}: {removal.reason}" for removal in failed])


def _find(trashes: list[Trash], name: str) -> str:
    """Return the id of the entry that a name means, in the first trash that has one; an error names the first trash."""
    try:
        return trashes[0].find(name).id
    except TrashEntryNotFoundError as error:
        for other in trashes[1:]:
            with suppress(TrashEntryNotFoundError):
                return other.find(name).id
        raise error from None


def _named(bin_: Trash, names: tuple[str, ...]) -> list[TrashEntry]:
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
    headings = ("SESSION", "REMOVED", "EXPIRES", "SIZE", "REASON", "ENTRY")
    print_table(headings, rows, right=("SIZE",), whole=("REMOVED", "EXPIRES"))


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
