"""``miniclaw chat``."""

from __future__ import annotations

import getpass
import os
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import click

from miniclaw.cli import EXIT_FAILED, Settings
from miniclaw.errors import CorruptSessionError

if TYPE_CHECKING:
    from miniclaw.session.runtime import SessionRuntime

_HISTORY = 20


@click.command()
@click.option("-m", "--message", metavar="TEXT", help="Send this message, print the answer and exit.")
@click.option("--as", "name", metavar="NAME", help="Your name in the conversation; default: your login name.")
@click.pass_obj
def chat(settings: Settings, message: str | None, name: str | None) -> None:
    """Chat with the agent in the terminal.

    Without -m, the latest messages are shown first, and each line that you type is a message. Ctrl-D or Ctrl-C ends the
    chat. If a gateway runs, its agent answers.
    """
    import trio  # noqa: PLC0415 - start-up time

    from miniclaw.channels.console import CHANNEL, ConsoleChannel  # noqa: PLC0415
    from miniclaw.cli.chat.remote_chat import chat_somewhere  # noqa: PLC0415
    from miniclaw.config.web import SOCKET_NAME  # noqa: PLC0415
    from miniclaw.daemon.logging import configure_logging  # noqa: PLC0415
    from miniclaw.output_queue import queue_output  # noqa: PLC0415
    from miniclaw.session.names import check_asked, make_session_id  # noqa: PLC0415

    queue_output("stderr")
    if name is None:
        name = _login_name()
    elif not name:
        raise click.BadParameter("the name is empty; give one, or leave the option out", param_hint="--as")
    message = _checked(message)
    session_id = make_session_id(CHANNEL, name)
    check_asked(session_id)
    # Between the lines of a conversation only warnings and errors, unless the file sets another level.
    level = "warning" if settings.config.log.level == "info" else settings.config.log.level
    configure_logging(level, settings.config.log.format)
    messages = None if message is None else [message]
    console = ConsoleChannel(name, messages=messages, output_fd=sys.stdout.fileno(), encoding=sys.stdout.encoding)

    async def show_history(runtime: SessionRuntime) -> None:
        if message is None:
            # A damaged file is not reported here: the first message moves it to quarantine, with an ERROR.
            with suppress(CorruptSessionError):
                if session := await runtime.manager.get_session(session_id):
                    await console.show(session.messages[-_HISTORY:])

    async def alone() -> None:
        from miniclaw.gateway import run_gateway  # noqa: PLC0415 - start-up time

        await run_gateway(settings.config, settings.home, channels=[console], before=show_history, cleans_up=False)

    socket_path = settings.home.workspace / SOCKET_NAME
    history = 0 if message is not None else _HISTORY
    trio.run(partial(chat_somewhere, socket_path, name, console, alone, history=history))
    if console.failures or (message is not None and not console.is_answered):
        sys.exit(EXIT_FAILED)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise click.UsageError("there is no login name; say whose conversation it is with --as NAME") from None


def _checked(message: str | None) -> str | None:
    """Return the message; bytes that are not UTF-8 are replaced, as in a line that is piped in."""
    if message is None:
        if sys.stdin is None:
            raise click.UsageError("there is no standard input to read; give a message with -m TEXT")
        return None
    message = os.fsencode(message).decode(errors="replace")
    if not message.strip():
        raise click.UsageError("the message is empty")
    return message
