"""Doing something to sessions: by the gateway that runs, over its socket, or by owning the workspace for that long.

A workspace that is held by something that cannot be asked, such as a program that embeds the runtime, is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from miniclaw.cli import Settings
from miniclaw.cli.access.asking import find_client, refuse_other_rules
from miniclaw.cli.access.looking import log_to_terminal
from miniclaw.cli.output import has_terminal
from miniclaw.config.web import SOCKET_NAME
from miniclaw.errors import NoGatewayError, UnconfirmedError, WorkspaceHeldError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.workspace.reader import sessions_opened

if TYPE_CHECKING:
    from miniclaw.admin.client.client import GatewayClient
    from miniclaw.session.operations.operations import Operations

T = TypeVar("T")


def refuse_if_held(settings: Settings, *, by_rules: bool = False) -> None:
    """Refuse what `operate` would refuse, before anything is looked at or a person is asked.

    Raises:
        WorkspaceHeldError: Another process owns the workspace, and cannot be asked.
        DifferentRulesError: As `operate`.
        MiniclawError: It cannot be looked at, or the gateway does not answer rightly.
    """
    _find_gateway(settings, by_rules=by_rules)


def confirm(question: str, what: str, *, yes: bool, matters: bool) -> None:
    """Ask a person at a terminal whether to remove something; without a terminal, `--yes` has to say so beforehand.

    Args:
        question: For the person.
        what: What would be removed, and how many; for who cannot be asked.
        yes: Whether `--yes` is given.
        matters: Whether anything would be removed; a person is not asked otherwise, but a script is told at once that
            it needs `--yes`, and not on the day when there is something.

    Raises:
        click.Abort: The answer is not yes.
        UnconfirmedError: There is nobody to ask.
    """
    if yes:
        return
    if not has_terminal():
        raise UnconfirmedError(what)
    if matters:
        click.confirm(question, abort=True, err=True, show_default=False, prompt_suffix=" [y/N]: ")


def operate(settings: Settings, work: Callable[[Operations], Awaitable[T]], *, by_rules: bool = False) -> T:
    """Do some work by the gateway that runs, or by owning the workspace, and return what it returns.

    The sessions directory is made where it is missing: who has nothing to do does not come here.

    Args:
        settings: Of the command.
        work: What is done.
        by_rules: Whether it goes by the rules of retention, so that a gateway must not have others.

    Raises:
        WorkspaceHeldError: Another process owns it, and cannot be asked; nothing was done.
        DifferentRulesError: The gateway that runs has other rules; nothing was done.
        MiniclawError: What the work raises, or that the gateway does not answer rightly.
    """
    log_to_terminal(settings)
    # It may be gone, and the trash still be there.
    SessionDirectory.open(settings.home.sessions_dir, create=True).close()
    client = _find_gateway(settings, by_rules=by_rules)
    if client is None:
        try:
            return _own(settings, work)
        except WorkspaceHeldError:
            client = _find_gateway(settings, by_rules=by_rules)  # one that was started just now
            if client is None:
                raise
    return _ask(client, work)


def _find_gateway(settings: Settings, *, by_rules: bool) -> GatewayClient | None:
    """Return the client of the gateway that owns the workspace, and answers.

    None where nobody owns it, and where its owner is stopping or another command: to own it is to wait for that.
    """
    with sessions_opened(settings) as directory:
        holder = None if directory is None else directory.holder()
    if holder is None:
        return None
    client = find_client(settings)
    try:
        config = None if client is None else client.config()  # where it does not answer, that is the error
    except NoGatewayError:
        config = None
    if client is None or config is None:
        if holder.stopping or holder.pid is None:  # or it has not yet written who it is, which owning finds out
            return None
        raise WorkspaceHeldError(settings.home.sessions_dir, holder.who, socket=settings.home.workspace / SOCKET_NAME)
    if by_rules:
        refuse_other_rules(settings, config)
    return client


def _own(settings: Settings, work: Callable[[Operations], Awaitable[T]]) -> T:
    import trio  # noqa: PLC0415 - start-up time

    from miniclaw.session.operations.operations import open_operations  # noqa: PLC0415

    home, policy = settings.home, settings.config.session.retention_policy()

    async def run() -> T:
        async with open_operations(home.sessions_dir, policy=policy, by="command", earlier=home.earlier) as operations:
            return await work(operations)

    return trio.run(run)


def _ask(client: GatewayClient, work: Callable[[Operations], Awaitable[T]]) -> T:
    import trio  # noqa: PLC0415 - start-up time

    from miniclaw.admin.client.remote import RemoteOperations  # noqa: PLC0415

    async def run() -> T:
        return await work(RemoteOperations(client))

    return trio.run(run)
