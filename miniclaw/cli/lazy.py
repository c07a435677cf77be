"""Groups whose commands are imported when they are called, so that each command starts quickly."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from miniclaw.formats import one_line


class LazyGroup(click.Group):
    """A group that has the name and a sentence for each command before its import.

    Args:
        lazy: For each command, in the order of the help: ``module:attribute``, and a sentence.
    """

    def __init__(self, *, lazy: Mapping[str, tuple[str, str]], **settings: Any) -> None:
        super().__init__(**settings)
        self._lazy = lazy

    def make_context(self, *args: Any, **settings: Any) -> click.Context:
        """Parse the command line up to the name of the command."""
        with _escaped_errors():
            return super().make_context(*args, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        """Parse the rest of the command line, and call the command."""
        with _escaped_errors():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the help."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, and return it; None if the group has no command of that name."""
        if cmd_name not in self._lazy:
            return None
        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        gc.disable()  # imports leave no garbage
        try:
            command: click.Command = getattr(import_module(module), attribute)
        finally:
            gc.enable()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sentence of each command, without an import."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in self._lazy.items()])


@contextmanager
def _escaped_errors() -> Iterator[None]:
    """Escape the invisible characters in an error of click, which repeats the command line unchanged."""
    try:
        yield
    except click.ClickException as error:
        sentence = one_line(error.format_message())
        error.format_message = lambda: sentence  # type: ignore[method-assign]
        raise
