"""``miniclaw sessions pin`` and ``unpin``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from miniclaw.cli import EXIT_FAILED, Settings
from miniclaw.cli.access.looking import sessions_opened
from miniclaw.cli.access.operating import operate, refuse_if_held
from miniclaw.cli.output import echo_error
from miniclaw.errors import GatewayError, MiniclawError, SessionNotFoundError, StoreError
from miniclaw.formats import one_line
from miniclaw.session import names

if TYPE_CHECKING:
    from miniclaw.cli.access.operating import Operations

_ids = click.argument("session_ids", metavar="ID...", nargs=-1, required=True)


@click.command()
@_ids
@click.pass_obj
def pin(settings: Settings, session_ids: tuple[str, ...]) -> None:
    """Pin sessions: no rule removes them, whatever their age. Does not count as using them."""
    _set_pinned(settings, session_ids, True)


@click.command()
@_ids
@click.pass_obj
def unpin(settings: Settings, session_ids: tuple[str, ...]) -> None:
    """Unpin sessions: the rules apply to them again."""
    _set_pinned(settings, session_ids, False)


def _set_pinned(settings: Settings, session_ids: tuple[str, ...], pinned: bool) -> None:
    for session_id in session_ids:
        names.check_asked(session_id)  # an invalid id is reported before anything is done
    refuse_if_held(settings)
    with sessions_opened(settings) as directory:
        if directory is None:  # a missing directory is not created
            raise SessionNotFoundError(session_ids[0])
    problems = operate(settings, lambda operations: _set_all(operations, session_ids, pinned))
    for problem in problems:
        echo_error(problem)
    if problems:
        sys.exit(EXIT_FAILED)


async def _set_all(operations: Operations, session_ids: tuple[str, ...], pinned: bool) -> list[MiniclawError]:
    """Pin or unpin one session after another, and return the errors."""
    problems: list[MiniclawError] = []
    word = "pinned" if pinned else "unpinned"
    for session_id in dict.fromkeys(session_ids):
        try:
            changed = await operations.set_pinned(session_id, pinned)
        except (StoreError, GatewayError) as error:
            problems.append(error)
        else:
            shown = one_line(session_id)
            click.echo(f"{word.capitalize()} {shown}." if changed else f"{shown} was {word} already.")
    return problems
