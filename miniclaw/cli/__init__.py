"""The commands, one module or package each. A command imports its parts when it is called, so that it starts quickly.

Exit codes: 0 success, 1 failure, 2 wrong usage or configuration.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from miniclaw.cli.lazy import LazyGroup
from miniclaw.errors import ConfigError, InvalidSessionIdError, MiniclawError, UnconfirmedError
from miniclaw.foreign import leaves
from miniclaw.formats import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from miniclaw.config import Config, Home

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

_USED_WRONGLY: Final = (ConfigError, InvalidSessionIdError, UnconfirmedError)

_COMMANDS: Final = {
    "gateway": ("miniclaw.cli.gateway:gateway", "Run the gateway until SIGTERM or Ctrl-C."),
    "open": ("miniclaw.cli.open_page:open_page", "Open the chat page in a browser, logged in."),
    "chat": ("miniclaw.cli.chat.chat:chat", "Chat with the agent in the terminal."),
    "sessions": (
        "miniclaw.cli.sessions.group:sessions",
        "List, show, export, move, pin, delete and clean up sessions.",
    ),
    "trash": ("miniclaw.cli.trash:trash", "List and restore removed sessions, or delete them for good."),
    "quarantine": (
        "miniclaw.cli.quarantine:quarantine",
        "List, show, restore and delete files that are no sound sessions.",
    ),
    "history": ("miniclaw.cli.history:history", "Show past removals: when, by whom and why."),
    "status": ("miniclaw.cli.status:status", "Show the state of sessions, cleanup and gateway on one screen."),
    "config": ("miniclaw.cli.config:config", "Show the configuration in force, or check a file."),
}


class Settings:
    """State that the commands share: the home directory and the configuration.

    Attributes:
        take_warnings: Called with the warnings about the configuration when it is read.
    """

    def __init__(self, config_path: Path | None) -> None:
        self._config_path = config_path
        self.take_warnings: Callable[[Sequence[str]], None] = _tell_warnings

    @cached_property
    def home(self) -> Home:
        """The home directory, which contains the workspace.

        Raises:
            ConfigError: The environment names no valid one.
        """
        from miniclaw.config import find_home  # noqa: PLC0415 - start-up time

        return find_home()

    @property
    def names_config(self) -> bool:
        """True if ``--config`` names the configuration file."""
        return self._config_path is not None

    @property
    def config_path(self) -> Path:
        """The configuration file in force."""
        return self._config_path or self.home.config_path

    @cached_property
    def config(self) -> Config:
        """The configuration, read at the first access.

        Raises:
            ConfigError: It is invalid.
        """
        from miniclaw.config import load_config  # noqa: PLC0415 - start-up time

        warnings: list[str] = []
        config = load_config(self.config_path, required=self.names_config, warnings=warnings)
        self.take_warnings(warnings)
        return config


def _tell_warnings(warnings: Sequence[str]) -> None:
    for warning in warnings:
        click.echo(one_line(f"miniclaw: warning: {warning}"), err=True)


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from miniclaw.version import VERSION  # noqa: PLC0415 - only here

        click.echo(f"miniclaw {VERSION}")
        ctx.exit()


@click.group(cls=LazyGroup, lazy=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), metavar="FILE",
    help="The configuration file, instead of config.toml in MINICLAW_HOME (~/.miniclaw).",
)  # fmt: skip
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
              help="Show the version and exit.")  # fmt: skip
@click.pass_context
def cli(ctx: click.Context, config_path: Path | None) -> None:
    """miniclaw: a personal AI-agent gateway whose chat sessions persist, and expire by themselves.

    Exit codes: 0 success, 1 failure, 2 wrong usage or configuration.
    """
    ctx.obj = Settings(config_path)


def main() -> None:
    """Run the command line, and report each error in one sentence."""
    _prepare_outputs()
    code = _run()
    try:
        sys.stdout.flush()
    except OSError as error:
        code = _fail([f"could not write the output: {error.strerror}"], EXIT_FAILED)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the interpreter's last flush
    sys.exit(code)


def _run() -> int:
    try:
        cli.main(standalone_mode=True)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else EXIT_FAILED
    except _USED_WRONGLY as error:
        return _fail(_sentences(error), EXIT_USAGE)
    except (MiniclawError, OSError, KeyboardInterrupt) as error:
        return _fail(_sentences(error), EXIT_FAILED)
    except BaseExceptionGroup as group:
        told, rest = group.split((MiniclawError, OSError, KeyboardInterrupt))
        if rest is not None or told is None:
            raise
        errors = leaves(told)
        code = EXIT_USAGE if all(isinstance(error, _USED_WRONGLY) for error in errors) else EXIT_FAILED
        return _fail([sentence for error in errors for sentence in _sentences(error)], code)


def _prepare_outputs() -> None:
    """Make all texts writable: a closed output becomes the null device; characters that it lacks are escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for the life of the process
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _sentences(error: BaseException) -> list[str]:
    """Return the sentences about an error: one, or for a configuration one for each of its errors."""
    if isinstance(error, KeyboardInterrupt):
        return ["interrupted"]
    if isinstance(error, OSError):  # most likely of the output: those of the store are MiniclawErrors
        return [f"input or output failed: {error.strerror or error}"]
    return [str(each) for each in getattr(error, "errors", [error])]


def _fail(sentences: Sequence[str], code: int) -> int:
    with suppress(OSError):
        for sentence in sentences:
            click.echo(one_line(f"miniclaw: {sentence}"), err=True)
    return code
