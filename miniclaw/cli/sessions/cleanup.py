"""``miniclaw sessions cleanup``."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from miniclaw import loggers as logs
from miniclaw.cli import EXIT_FAILED
from miniclaw.cli.access import CommandWorkspace, pass_workspace
from miniclaw.cli.options import dry_run_option, json_option, yes_option
from miniclaw.cli.output import RESTORE_HINT, confirm, conflict_copies, count, echo_json, entries, scan_progress
from miniclaw.cli.plan_output import CONFIRM, LEGACY, print_plan, unmet_budgets
from miniclaw.formats import format_size
from miniclaw.session.records.result import CleanupResult
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.workspace.plan import look_ahead
from miniclaw.workspace.plan_json import shown_plan

if TYPE_CHECKING:
    from miniclaw.cli.access import Operations

_HELD = "Session cleanup held"  # an event of the log that the printed result reports at its end


@click.command()
@dry_run_option
@click.option("--confirm", "confirmed", is_flag=True,
              help="Run a cleanup that max_removed_fraction would hold. Does not replace --yes.")  # fmt: skip
@yes_option
@json_option
@pass_workspace
def cleanup(workspace: CommandWorkspace, *, dry_run: bool, confirmed: bool, yes: bool, as_json: bool) -> None:
    """Run a cleanup now: remove expired sessions and leftover files, and keep to the budgets.

    It asks for confirmation; without a terminal it requires --yes. Unlike the daily cleanup, it does not wait for an
    announcement. A cleanup held by max_removed_fraction removes nothing, and the exit code is 1.
    """
    if dry_run:
        workspace.log_to_terminal()
        workspace.ask_to_save()
        outlook, notes = look_ahead(workspace), workspace.in_force.notes
        echo_json(shown_plan(outlook, notes)) if as_json else print_plan(outlook, notes)
        return
    if not yes:
        workspace.refuse_if_held(by_rules=True)
    workspace.log_to_terminal()
    if not yes:
        workspace.ask_to_save()
        plan = look_ahead(workspace).plan
        much = f" That is much: {plan.held}." if plan.held is not None else ""
        # A held cleanup is reported by `_run`.
        matters = bool(plan.removals or plan.leftovers) and (plan.held is None or confirmed)
        confirm(f"Remove {_removals(plan)}?{much}", f"{_removals(plan)} would be removed", yes=yes, matters=matters)
    _run(workspace, confirmed=confirmed, as_json=as_json)


def _removals(plan: CleanupPlan) -> str:
    leftovers = ""
    if plan.leftovers:
        size = format_size(sum(row.leftover.size for row in plan.leftovers))
        leftovers = f" and {count(len(plan.leftovers), 'leftover')}, {size}"
    return f"{count(len(plan.removals), 'session')}, {format_size(plan.bytes)}{leftovers}"


def _run(workspace: CommandWorkspace, *, confirmed: bool, as_json: bool) -> None:
    result = CleanupResult()
    if workspace.directory is not None:  # a missing directory is not created
        result = workspace.operate(partial(_run_until_signal, confirmed=confirmed), by_rules=True)
    if as_json:
        echo_json(result)
    else:
        _print_result(result, log=workspace.log_place)
    if result.held:
        click.echo(f"Held: {result.held}. Nothing was removed; to let it through: `{CONFIRM}`", err=True)
        sys.exit(EXIT_FAILED)
    if result.interrupted:
        click.echo("Interrupted; what is neither removed nor being removed is as it was.", err=True)
        sys.exit(EXIT_FAILED)
    if result.failed:
        sys.exit(EXIT_FAILED)


async def _run_until_signal(operations: Operations, *, confirmed: bool) -> CleanupResult:
    """Run a cleanup; a signal stops it after its present batch, and a second signal ends the wait for that.

    Raises:
        KeyboardInterrupt: A second signal came before the end of the cleanup.
    """
    import trio  # noqa: PLC0415 - start-up time

    from miniclaw.daemon.signals import receiving  # noqa: PLC0415

    _leave_out_of_log(_HELD)
    result: CleanupResult | None = None
    with receiving() as signals, scan_progress() as progress:
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                hurried = False
                async for _ in signals:
                    if hurried:
                        nursery.cancel_scope.cancel()
                    operations.stop_cleanup()
                    hurried = True

            nursery.start_soon(stop)
            result = await operations.cleanup(confirmed=confirmed, on_progress=progress)
            nursery.cancel_scope.cancel()
    if result is None:
        raise KeyboardInterrupt
    return result


def _leave_out_of_log(event: str) -> None:
    """Drop an event from the log, because the command prints it itself; until logging is set up anew."""
    import structlog  # noqa: PLC0415 - start-up time

    logs.set_up_now()

    def process(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if fields["event"] == event:
            raise structlog.DropEvent
        return fields

    structlog.configure(processors=[process, *structlog.get_config()["processors"]])


def _print_result(result: CleanupResult, *, log: str) -> None:
    click.echo(
        f"{count(result.sessions_scanned, 'session')} scanned, {result.sessions_deleted:,} removed, "
        f"{format_size(result.bytes_freed)} freed."
    )
    by_reason = {reason: number for reason, number in result.removed_by_reason.items() if reason != "ttl"}
    if by_reason:  # removals by the TTL alone are not listed
        click.echo(f"removed: {_list(result.removed_by_reason)}.")
    if result.trashed:
        click.echo(f"{result.trashed:,} in the trash; {RESTORE_HINT}.")
    _print_leftovers(result.leftovers_removed, result.leftovers_trashed)
    for number, what in [
        (result.pinned, "pinned"),
        (result.kept_active, "in use, or not expired on a full read"),
        (
            result.kept_by_hook,
            "by a hook of the gateway's program; the gateway's log says why",
        ),
        (result.future, "ahead of the clock"),
        (result.unreadable, "unreadable"),
        (result.corrupt, "corrupt"),
        (result.mismatched, "under another session's name"),
    ]:
        if number:
            click.echo(f"{number:,} kept: {what}.")
    if result.conflicts:
        click.echo(f"{conflict_copies(result.conflicts)} left alone. `--dry-run` names them.")
    if result.foreign:
        click.echo(f"{entries(result.foreign)} left alone: no session. `--dry-run` names them.")
    if result.unmet:
        click.echo(f"unmet: {unmet_budgets(result.unmet)}.", err=True)
    if result.failed:
        click.echo(f"{result.failed:,} could not be removed; {log} says why.", err=True)
    if result.pending:
        from miniclaw.session.threads import PENDING  # noqa: PLC0415 - start-up time: a dry run needs no trio

        click.echo(f"{result.pending:,} are still being removed: {PENDING}.", err=True)


def _print_leftovers(numbers: dict[str, int], trashed: int) -> None:
    removed = {kind: number for kind, number in numbers.items() if kind != "legacy"}
    if removed:
        in_trash = f"; {trashed:,} of them in the trash" if trashed else ""
        click.echo(f"leftovers removed: {_list(removed)}{in_trash}.")
    if moved := numbers.get("legacy"):
        click.echo(f"moved to quarantine: {moved:,} {LEGACY}.")


def _list(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {what}" for what, number in numbers.items())
