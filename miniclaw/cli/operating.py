"""Doing something to sessions: the workspace is owned for that long, so no gateway may run meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from miniclaw.cli import Settings
from miniclaw.cli.looking import log_to_terminal, sessions_opened
from miniclaw.cli.output import asks
from miniclaw.errors import WorkspaceHeldError
from miniclaw.session.directory import SessionDirectory

if TYPE_CHECKING:
    from miniclaw.session.operations import SessionOperations

T = TypeVar("T")


def refuse_if_held(settings: Settings) -> None:
    """Refuse what `operate` would refuse, before a person is asked anything.

    Raises:
        WorkspaceHeldError: Another process owns the workspace.
        StoreError: It cannot be looked at.
    """
    with sessions_opened(settings) as directory:
        holder = None if directory is None else directory.holder()
        if directory is not None and holder is not None:
            raise WorkspaceHeldError(directory.path, holder.who)


def confirm(settings: Settings, question: str, *, yes: bool) -> None:
    """Ask a person at a terminal; without a terminal nothing is asked.

    Raises:
        click.Abort: The answer is not yes.
        StoreError: As `refuse_if_held`; nothing was asked.
    """
    if asks(yes=yes):
        refuse_if_held(settings)
        click.confirm(question, abort=True, err=True)


def operate(settings: Settings, work: Callable[[SessionOperations], Awaitable[T]]) -> T:
    """Own the workspace, do some work, and return what it returns.

    The sessions directory is made where it is missing: who has nothing to do does not come here.

    Raises:
        WorkspaceHeldError: Another process owns it; nothing was done.
        StoreError: What the work raises.
    """
    import trio  # noqa: PLC0415 - start-up time

    from miniclaw.session.operations import open_operations  # noqa: PLC0415

    log_to_terminal(settings)
    # It may be gone, and the trash still be there.
    SessionDirectory.open(settings.home.sessions_dir, create=True).close()
    home, policy = settings.home, settings.config.session.retention_policy()

    async def run() -> T:
        async with open_operations(
            home.sessions_dir, state_dir=home.state_dir, trash_dir=home.trash_dir, policy=policy, by="command"
        ) as operations:
            return await work(operations)

    return trio.run(run)
