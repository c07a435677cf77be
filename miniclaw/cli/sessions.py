"""``miniclaw sessions``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click
import msgspec

from miniclaw.cli import EXIT_FAILED, Settings
from miniclaw.cli.output import count, print_table, scan_progress
from miniclaw.errors import SessionNotFoundError, SessionsDirectoryMissingError
from miniclaw.formats import format_age, format_remaining, format_size, printable
from miniclaw.session import codec
from miniclaw.session.clock import utc_now
from miniclaw.session.directory import SessionDirectory
from miniclaw.session.plan import CleanupPlan, scan_sync
from miniclaw.session.retention import PlanRow, RetentionPolicy, plan_retention
from miniclaw.session.rows import StoredSession
from miniclaw.session.scanning import DirectoryScan

if TYPE_CHECKING:
    from miniclaw.session.cleanup import Cleanup, CleanupResult

PLAN_VERSION = 1
"""Of the JSON that ``cleanup --dry-run --json`` prints; raised when a field changes its meaning or goes."""

_MAX_FOREIGN = 20  # named by a dry run

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask; without a terminal nothing is asked anyway.")


@click.group()
def sessions() -> None:
    """List, show, delete and clean up sessions."""


def _open(settings: Settings) -> SessionDirectory | None:
    """Open the sessions directory to read; None where there is none yet, which means no sessions."""
    try:
        return SessionDirectory.open(settings.home.sessions_dir)
    except SessionsDirectoryMissingError:
        return None


def _log_to_terminal(settings: Settings) -> None:
    from miniclaw.log import configure_logging  # noqa: PLC0415 - start-up time

    level = settings.config.log.level
    configure_logging("warning" if level == "info" else level, "console")


@sessions.command("list")
@_json_option
@click.pass_obj
def list_sessions(settings: Settings, as_json: bool) -> None:
    """List the sessions, the most recently used first."""
    policy = settings.config.session.retention_policy()
    now = utc_now()
    stored: list[StoredSession] = []
    unread = 0
    if directory := _open(settings):
        with directory, DirectoryScan(directory) as scan, scan_progress() as progress:
            while batch := scan.next_batch(seconds=0.2):
                good = [row for row in batch if isinstance(row, StoredSession)]
                stored += good
                unread += sum(not isinstance(row, StoredSession) and row.kind != "foreign" for row in batch)
                if progress:
                    progress(len(stored))
    rows = sorted(plan_retention(stored, policy, now), key=lambda row: row.age)
    if as_json:
        click.echo(msgspec.json.encode([_as_dict(row) for row in rows]))
    else:
        cells = [
            (row.session.header.session_id, format_age(row.age), format_size(row.session.size), _fate(row, policy))
            for row in rows
        ]
        print_table(("SESSION", "LAST USED", "SIZE", "RETENTION"), cells, right=("LAST USED", "SIZE"))
    if unread:
        hint = "`miniclaw sessions cleanup --dry-run` names them"
        click.echo(f"{count(unread, 'file')} could not be read as sessions; {hint}.", err=True)


def _fate(row: PlanRow, policy: RetentionPolicy) -> str:
    """Say what retention will do with a session, for a person."""
    if row.reason == "never":
        return "kept, no TTL"
    if row.reason == "pinned":
        return "kept, pinned"
    if row.reason == "future":
        return "kept, ahead of the clock"
    if row.removes:
        return "expired"
    ttl = policy.ttl_of(row.session.header.channel)
    return f"expires in {format_remaining(ttl - row.age)}" if ttl else ""


def _as_dict(row: PlanRow) -> dict[str, Any]:
    header = row.session.header
    return {
        "session_id": header.session_id,
        "channel": header.channel,
        "chat_id": header.chat_id,
        "last_accessed": header.last_accessed,
        "age_days": round(row.age / timedelta(days=1), 3),
        "bytes": row.session.size,
        "file": printable(row.session.key),
        "expired": row.removes,
        "reason": row.reason,
    }


@sessions.command()
@click.argument("session_id", metavar="ID")
@_json_option
@click.pass_obj
def show(settings: Settings, session_id: str, as_json: bool) -> None:
    """Show one session; ID is CHANNEL_CHAT, as `list` shows it. Does not count as using it."""
    directory = _open(settings)
    if directory is None:
        raise SessionNotFoundError(session_id)
    with directory:
        session = directory.load(session_id)
    if as_json:
        click.echo(bytes(codec.encode_session(session)))
        return
    click.echo(f"session        {printable(session.session_id)}")
    click.echo(f"created        {session.created_at:%Y-%m-%d %H:%M:%S %Z}")
    click.echo(f"last accessed  {session.last_accessed:%Y-%m-%d %H:%M:%S %Z}")
    click.echo(f"messages       {len(session.messages)}")
    for message in session.messages:
        click.echo(f"\n{message.role}, {message.timestamp:%Y-%m-%d %H:%M:%S %Z}")
        click.echo(printable(message.content))
        for call in message.tool_calls or ():
            click.echo(printable(f"calls {call.name}({call.arguments})"))


@sessions.command()
@click.argument("session_id", metavar="ID")
@_yes_option
@click.pass_obj
def delete(settings: Settings, session_id: str, yes: bool) -> None:
    """Delete one session now, whatever its age."""
    import trio  # noqa: PLC0415 - start-up time

    from miniclaw.session.manager import SessionManager  # noqa: PLC0415
    from miniclaw.session.store import open_store  # noqa: PLC0415

    directory = _open(settings)
    if directory is None:
        raise SessionNotFoundError(session_id)
    with directory:
        header = directory.header(session_id)
    _log_to_terminal(settings)
    age = utc_now() - header.last_accessed
    when = f"last used {format_age(age)} ago" if age >= timedelta(0) else "ahead of the clock"
    _confirm(f"Delete the session {printable(session_id)}, {when}?", yes=yes)

    async def run() -> int:
        async with open_store(settings.home.sessions_dir, create=False) as store:
            return (await SessionManager(store).delete_session(session_id)).bytes_freed

    freed = trio.run(run)
    click.echo(f"Deleted {printable(session_id)}, {format_size(freed)}.")


@sessions.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@_yes_option
@_json_option
@click.pass_obj
def cleanup(settings: Settings, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove the sessions that nobody has used for longer than the TTL.

    Asks first on a terminal. Does at once what it says, also where the gateway would announce first.
    """
    policy = settings.config.session.retention_policy()
    now = utc_now()
    plan = CleanupPlan(now)
    asks = not yes and not dry_run and sys.stdin.isatty()
    directory = _open(settings)
    if directory is not None:
        with directory, scan_progress() as progress:
            if dry_run or asks:
                plan = scan_sync(directory, policy, now, on_progress=progress)
    if dry_run:
        _print_plan_json(plan) if as_json else _print_plan(plan)
        return
    if asks and plan.removals:
        _confirm(f"Remove {count(len(plan.removals), 'session')}, {format_size(plan.bytes)}?", yes=False)
    _run_cleanup(settings, policy, is_empty=directory is None, as_json=as_json)


def _run_cleanup(settings: Settings, policy: RetentionPolicy, *, is_empty: bool, as_json: bool) -> None:
    import trio  # noqa: PLC0415 - start-up time

    from miniclaw.session.cleanup import Cleanup, CleanupResult  # noqa: PLC0415
    from miniclaw.session.state import CleanupState, StateDirectory  # noqa: PLC0415

    _log_to_terminal(settings)
    started = utc_now()
    result = CleanupResult()
    if not is_empty:
        with scan_progress() as progress:
            cleanup = Cleanup(settings.home.sessions_dir, policy=policy)
            result = trio.run(_run_until_signal, cleanup, progress)
    if as_json:
        click.echo(msgspec.json.encode(result))
    else:
        _print_result(result)
    if result.interrupted:
        click.echo("Interrupted; what is not removed is as it was.", err=True)
        sys.exit(EXIT_FAILED)
    if not is_empty and policy.shortest_ttl() is not None:
        # The gateway need not announce what somebody has already ordered.
        StateDirectory(settings.home.state_dir).write_cleanup(CleanupState(last_run_at=started))
    if result.failed:
        sys.exit(EXIT_FAILED)


async def _run_until_signal(cleanup: Cleanup, on_progress: Callable[[int], None] | None) -> CleanupResult:
    """Run a cleanup; a signal ends it after the batch it is at."""
    import trio  # noqa: PLC0415 - start-up time

    from miniclaw.gateway import SIGNALS  # noqa: PLC0415

    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(*SIGNALS) as signals:

            async def stop() -> None:
                async for _ in signals:
                    cleanup.stop()

            nursery.start_soon(stop)
            result = await cleanup.run(on_progress=on_progress)
            nursery.cancel_scope.cancel()
    return result


def _print_result(result: CleanupResult) -> None:
    click.echo(
        f"{count(result.sessions_scanned, 'session')} scanned, {result.sessions_deleted:,} removed, "
        f"{format_size(result.bytes_freed)} freed."
    )
    for number, what in [
        (result.kept_active, "in use"),
        (result.future, "ahead of the clock"),
        (result.unreadable, "unreadable"),
        (result.corrupt, "corrupt"),
        (result.mismatched, "under another session's name"),
    ]:
        if number:
            click.echo(f"{number:,} kept: {what}.")
    if result.foreign:
        click.echo(f"{_entries(result.foreign)} left alone: no session. `--dry-run` names them.")
    if result.failed:
        click.echo(f"{result.failed:,} could not be removed; the log above says why.", err=True)


def _print_plan(plan: CleanupPlan) -> None:
    rows = sorted(plan.removals, key=lambda row: row.age, reverse=True)
    if rows:
        cells = [
            (row.session.header.session_id, format_age(row.age), format_size(row.session.size), row.reason)
            for row in rows
        ]
        print_table(("SESSION", "LAST USED", "SIZE", "REASON"), cells, right=("LAST USED", "SIZE"))
        click.echo()
    total = f"{count(len(rows), 'session')} would be removed, {format_size(plan.bytes)}"
    click.echo(f"{total}, of {plan.sessions_scanned:,} scanned. Nothing was changed.")
    for row in plan.future:
        click.echo(printable(f"kept: {row.session.header.session_id} is ahead of the clock"))
    for problem in plan.problems:
        if problem.kind != "foreign":
            click.echo(printable(f"kept: {problem.key}: {problem.kind}, {problem.reason}"))
    foreign = [problem for problem in plan.problems if problem.kind == "foreign"]
    for problem in foreign[:_MAX_FOREIGN]:
        click.echo(printable(f"left alone: {problem.key}: {problem.reason}"))
    if len(foreign) > _MAX_FOREIGN:
        click.echo(f"left alone: {_entries(len(foreign) - _MAX_FOREIGN)} more; --json has them all")


def _entries(number: int) -> str:
    return f"{number:,} {'entry' if number == 1 else 'entries'}"


def _print_plan_json(plan: CleanupPlan) -> None:
    document = {
        "version": PLAN_VERSION,
        "now": plan.now,
        "sessions_scanned": plan.sessions_scanned,
        "remove": {"sessions": len(plan.removals), "bytes": plan.bytes},
        "sessions": [_as_dict(row) for row in plan.removals],
        "future": [_as_dict(row) for row in plan.future],
        "problems": [{"file": printable(p.key), "kind": p.kind, "reason": p.reason} for p in plan.problems],
    }
    click.echo(msgspec.json.encode(document))


def _confirm(question: str, *, yes: bool) -> None:
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)
