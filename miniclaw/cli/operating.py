"""Doing something to sessions: the workspace is owned for that long, so no gateway may run meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from miniclaw.cli import Settings
from miniclaw.cli.looking import log_to_terminal
from miniclaw.session.directory import SessionDirectory

if TYPE_CHECKING:
    from miniclaw.session.operations import SessionOperations

T = TypeVar("T")


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
