"""Telling the administrator what was announced, by a command of theirs: ``[notify] command = [...]``.

It gets one JSON object on its standard input, and half a minute. Whatever becomes of it, the gateway goes on.
"""

from __future__ import annotations

import subprocess
from functools import partial
from typing import Final

import msgspec
import trio
from msgspec.structs import asdict

from miniclaw.config import Home
from miniclaw.config.notify import NotifyConfig
from miniclaw.session.announcing import Announcement, OnAnnounced
from miniclaw.session.logs import get_logger

COMMAND_SECONDS: Final = 30
"""How long the command may take; then it is killed."""

_MOST_OUTPUT: Final = 2_000  # characters of what it says that stand in the log

log = get_logger("miniclaw.notify")


def teller(notify: NotifyConfig, home: Home) -> OnAnnounced | None:
    """Return what tells the command of an announcement; None: there is none."""
    return partial(tell, notify.command, home) if notify.command else None


async def tell(command: tuple[str, ...], home: Home, announcement: Announcement) -> None:
    """Run a command with an announcement on its standard input. A failure is an ERROR in the log.

    Cancellation: the command is killed.
    """
    message = msgspec.json.encode(
        {"event": "announced", "workspace": str(home.workspace)} | asdict(announcement)
        | {"list_them": "miniclaw sessions due"}
    )  # fmt: skip
    with trio.move_on_after(COMMAND_SECONDS) as scope:
        try:
            done = await trio.run_process(
                command, stdin=message, capture_stdout=True, stderr=subprocess.STDOUT, check=False
            )
        except OSError as error:
            log.error("Notify command could not be run", command=command[0], error=error.strerror or str(error))
            return
        if done.returncode:
            said = done.stdout.decode(errors="replace")[:_MOST_OUTPUT].strip()
            log.error("Notify command failed", command=command[0], exit_code=done.returncode, output=said)
    if scope.cancelled_caught:
        log.error("Notify command took too long and was killed", command=command[0], seconds=COMMAND_SECONDS)
