"""Notification of the administrator about announced sessions, by a command: ``[notify] command = [...]``.

The command receives one JSON object on its standard input, and has half a minute. Its failure never stops the gateway.
"""

from __future__ import annotations

import subprocess
from functools import partial
from typing import Final

import msgspec
import trio
from msgspec.structs import asdict

from miniclaw.config import Home
from miniclaw.config.in_force import ConfigInForce
from miniclaw.loggers import get_logger
from miniclaw.session.maintenance.announcements import Announcement, OnAnnounced

COMMAND_SECONDS: Final = 30
"""Time limit of the command; then it is killed."""

_MOST_OUTPUT: Final = 2_000  # characters of its output that are logged
_DRAIN_SECONDS: Final = 1

log: Final = get_logger("miniclaw.notify")


def teller(in_force: ConfigInForce, home: Home) -> OnAnnounced:
    """Return a callback that passes each announcement to the command of the configuration then in force, if any."""

    async def tell_if_wanted(announcement: Announcement) -> None:
        if command := in_force.config.notify.command:
            await tell(command, home, announcement)

    return tell_if_wanted


async def tell(command: tuple[str, ...], home: Home, announcement: Announcement) -> None:
    """Run a command with an announcement on its standard input. A failure is an ERROR in the log.

    Cancellation: the command is killed.
    """
    message = msgspec.json.encode(
        {"event": "announced", "workspace": str(home.workspace)} | asdict(announcement)
        | {"list_them": "miniclaw sessions due"}
    )  # fmt: skip
    said = bytearray()
    run = partial(
        trio.run_process, command, stdin=message, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        deliver_cancel=_kill,
    )  # fmt: skip
    with trio.move_on_after(COMMAND_SECONDS) as scope:
        async with trio.open_nursery() as nursery:
            try:
                process: trio.Process = await nursery.start(run)
            except OSError as error:
                log.error("Notify command could not be run", command=command[0], error=error.strerror or str(error))
                return
            hearing = trio.CancelScope()
            nursery.start_soon(_hear, process, said, hearing)
            code = await process.wait()
            # A process that the command left in the background may hold its output open for ever.
            hearing.deadline = trio.current_time() + _DRAIN_SECONDS
        if code:
            output = said.decode(errors="replace")[:_MOST_OUTPUT].strip()
            log.error("Notify command failed", command=command[0], exit_code=code, output=output)
    if scope.cancelled_caught:
        log.error("Notify command took too long and was killed", command=command[0], seconds=COMMAND_SECONDS)


async def _kill(process: trio.Process) -> None:
    """Kill a command: its time is over, or the gateway ends."""
    process.kill()


async def _hear(process: trio.Process, said: bytearray, scope: trio.CancelScope) -> None:
    """Read a command's output to the end, and keep the beginning."""
    assert process.stdout is not None  # noqa: S101 - for mypy: it is a pipe
    with scope:
        async for chunk in process.stdout:
            said += chunk[: 4 * _MOST_OUTPUT - len(said)]  # a character has four bytes at most
