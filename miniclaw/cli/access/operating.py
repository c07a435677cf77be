"""Operations of a command on sessions: through the running gateway, or as owner of the workspace for their duration.

A workspace whose owner takes no commands, such as a program that embeds the runtime, is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import click

from miniclaw.cli import Settings
from miniclaw.cli.access.asking import find_client, refuse_other_rules
from miniclaw.cli.access.looking import log_to_terminal
from miniclaw.cli.output import has_terminal
from miniclaw.config.web import SOCKET_NAME
from miniclaw.errors import NoGatewayError, UnconfirmedError, WorkspaceHeldError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.workspace.workspace import sessions_opened

if TYPE_CHECKING:
    from miniclaw.admin.client.client import GatewayClient
    from miniclaw.admin.client.remote import RemoteOperations
    from miniclaw.session.operations.operations import SessionOperations

    Operations: TypeAlias = SessionOperations | RemoteOperations

T = TypeVar("T")


def refuse_if_held(settings: Settings, *, by_rules: bool = False) -> None:
    """Refuse a call that `operate` would refuse, before the workspace is read or a person is asked.

    Raises:
        WorkspaceHeldError: The owner of the workspace takes no commands.
        DifferentRulesError: As `operate`.
        MiniclawError: The workspace cannot be read, or the gateway's answer is invalid.
    """
    _find_gateway(settings, by_rules=by_rules)


def confirm(question: str, what: str, *, yes: bool, matters: bool) -> None:
    """Ask a person at a terminal to confirm a removal; without a terminal, `--yes` is required.

    Args:
        question: The question for the person.
        what: The items and their number, for the error without a terminal.
        yes: True if `--yes` is given.
        matters: True if there is anything to remove; else a person is not asked. A script without `--yes` fails even
            then, and not only on the day when there is something to remove.

    Raises:
        click.Abort: The answer is not yes.
        UnconfirmedError: There is no terminal, and no `--yes`.
    """
    if yes:
        return
    if not has_terminal():
        raise UnconfirmedError(what)
    if matters:
        click.confirm(question, abort=True, err=True, show_default=False, prompt_suffix=" [y/N]: ")


def operate(settings: Settings, work: Callable[[Operations], Awaitable[T]], *, by_rules: bool = False) -> T:
    """Call `work` with the operations of the running gateway, or as owner of the workspace, and return its result.

    A missing sessions directory is created; a command without work therefore does not call this.

    Args:
        settings: The settings of the command.
        work: Uses the operations.
        by_rules: If true, the work depends on the rules of retention, so that those of a gateway must not differ.

    Raises:
        WorkspaceHeldError: The owner of the workspace takes no commands; nothing was done.
        DifferentRulesError: The running gateway has other rules; nothing was done.
        MiniclawError: An error of `work`, or the gateway's answer is invalid.
    """
    log_to_terminal(settings)
    # The directory may be missing although the trash exists.
    SessionDirectory.open(settings.home.sessions_dir, create=True).close()
    client = _find_gateway(settings, by_rules=by_rules)
    if client is None:
        try:
            return _own(settings, work)
        except WorkspaceHeldError:
            client = _find_gateway(settings, by_rules=by_rules)  # a gateway that has just started
            if client is None:
                raise
    return _ask(client, work)


def _find_gateway(settings: Settings, *, by_rules: bool) -> GatewayClient | None:
    """Return the client of the gateway that owns the workspace, and answers.

    Returns:
        The client; None: the workspace has no owner, or one that is stopping or is a command, which is waited for.
    """
    with sessions_opened(settings) as directory:
        holder = None if directory is None else directory.holder()
    if holder is None:
        return None
    client = find_client(settings)
    try:
        config = None if client is None else client.config()  # raises if the gateway does not answer
    except NoGatewayError:
        config = None
    if client is None or config is None:
        if holder.stopping or holder.pid is None:  # without a pid, the attempt to own the workspace finds the owner
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
