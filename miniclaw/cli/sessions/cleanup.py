"""``miniclaw sessions cleanup``."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import click

from miniclaw.cli import EXIT_FAILED, Settings
from miniclaw.cli.access.in_force import find_rules
from miniclaw.cli.access.looking import leave_out_of_log, log_to_terminal, look_ahead, sessions_opened
from miniclaw.cli.access.operating import confirm, operate, refuse_if_held
from miniclaw.cli.options import dry_run_option, json_option, yes_option
from miniclaw.cli.output import RESTORE_HINT, conflict_copies, count, echo_json, entries, scan_progress
from miniclaw.cli.plan_output import CONFIRM, LEGACY, print_plan, print_plan_json, unmet_budgets
from miniclaw.formats import format_size
from miniclaw.session.retention.plan import CleanupPlan

if TYPE_CHECKING:
    from miniclaw.cli.access.operating import Operations
    from miniclaw.session.records.result import CleanupResult

_HELD = "Session cleanup held"  # an event of the log that the printed result reports at its end


@click.command()
@dry_run_option
@click.option("--confirm", "confirmed", is_flag=True,
              help="Let through what max_removed_fraction would hold. Asks all the same, without --yes.")  # fmt: skip
@yes_option
@json_option
@click.pass_obj
def cleanup(settings: Settings, *, dry_run: bool, confirmed: bool, yes: bool, as_json: bool) -> None:
    """Remove now what the rules remove: sessions, and what is left over beside them.

    Asks first on a terminal; without one it needs --yes. Acts at once, where the daily cleanup announces first. A
    cleanup that max_removed_fraction holds removes nothing, and is exit code 1.
    """
    if dry_run:
        log_to_terminal(settings)
        outlook, notes = look_ahead(settings), find_rules(settings).notes
        print_plan_json(outlook, notes) if as_json else print_plan(outlook, notes)
        return
    refuse_if_held(settings, by_rules=True)
    log_to_terminal(settings)
    if not yes:
        plan = look_ahead(settings).plan
        much = f" That is much: {plan.held}." if plan.held is not None else ""
        # A held cleanup is reported by `_run`.
        matters = bool(plan.removals or plan.leftovers) and (plan.held is None or confirmed)
        confirm(f"Remove {_removals(plan)}?{much}", f"{_removals(plan)} would be removed", yes=yes, matters=matters)
    _run(settings, confirmed=confirmed, as_json=as_json)


def _removals(plan: CleanupPlan) -> str:
    leftovers = ""
    if plan.leftovers:
        size = format_size(sum(row.leftover.size for row in plan.leftovers))
        leftovers = f" and {count(len(plan.leftovers), 'leftover')}, {size}"
    return f"{count(len(plan.removals), 'session')}, {format_size(plan.bytes)}{leftovers}"


def _run(settings: Settings, *, confirmed: bool, as_json: bool) -> None:
    from miniclaw.session.records.result import CleanupResult  # noqa: PLC0415 - start-up time

    with sessions_opened(settings) as directory:
        is_there = directory is not None  # a missing directory is not created
    done = _Done(CleanupResult())
    if is_there:
        done = operate(settings, partial(_run_until_signal, confirmed=confirmed), by_rules=True)
    result = done.result
    if as_json:
        echo_json(result)
    else:
        _print_result(result, log=done.log)
    if result.held:
        click.echo(f"Held: {result.held}. Nothing was removed; to let it through: `{CONFIRM}`", err=True)
        sys.exit(EXIT_FAILED)
    if result.interrupted:
        click.echo("Interrupted; what is neither removed nor being removed is as it was.", err=True)
        sys.exit(EXIT_FAILED)
    if result.failed:
        sys.exit(EXIT_FAILED)


class _Done(NamedTuple):
    """The result of a cleanup, and the place of its log."""

    result: CleanupResult
    log: str = "the log above"


async def _run_until_signal(operations: Operations, *, confirmed: bool) -> _Done:
    """Run a cleanup; a signal stops it after its present batch, and a second signal ends the wait for that.

    Raises:
        KeyboardInterrupt: A second signal came before the end of the cleanup.
    """
    import trio  # noqa: PLC0415 - start-up time

    from miniclaw.admin.client.remote import RemoteOperations  # noqa: PLC0415
    from miniclaw.daemon.signals import receiving  # noqa: PLC0415

    leave_out_of_log(_HELD)
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
    log = "the gateway's log" if isinstance(operations, RemoteOperations) else "the log above"
    return _Done(result, log)


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
        (result.kept_active, "in use, or not to go when they were read whole"),
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
