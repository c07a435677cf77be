"""Output of the commands: tables on a terminal, plain columns in a pipe, progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import click
import msgspec

from miniclaw.errors import UnconfirmedError
from miniclaw.formats import escaped_json, format_age, one_line

LIST_DUE = "`miniclaw sessions due` lists them"

DRY_RUN_NAMES = "`miniclaw sessions cleanup --dry-run` names them"

RESTORE_HINT = "`miniclaw trash list` shows them, and `miniclaw trash restore ID` restores one"
"""How to undo a removal of several, as part of a receipt."""

_MAX_DRAWN_ROWS = 500  # a drawn table of thousands takes seconds, and is too long to read

_LONG_SCAN = 5000  # entries; a shorter scan needs no progress


def print_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """Print rows under headings.

    Args:
        headings: One for each column.
        rows: Texts; control characters are escaped.
        right: The headings of columns that are aligned right, and never folded.
        whole: The headings of other columns that are never folded.
    """
    clean = [[one_line(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty() or len(rows) > _MAX_DRAWN_ROWS:
        for row in [headings, *clean]:
            click.echo("\t".join(row))
        return
    from rich.console import Console  # noqa: PLC0415 - start-up time
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        is_right = heading in right
        is_whole = is_right or heading in whole
        table.add_column(heading, justify="right" if is_right else "left", no_wrap=is_whole, overflow="fold")
    for row in clean:
        table.add_row(*(Text(cell) for cell in row))  # Text: a cell is no markup
    Console().print(table)


@contextmanager
def scan_progress() -> Iterator[Callable[[int], None] | None]:
    """Show the number of scanned entries on standard error; yield None if that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return

    shown = False

    def show(entries: int) -> None:
        nonlocal shown
        if entries >= _LONG_SCAN:
            shown = True
            # Back to the beginning of the line, which the next line of the log overwrites.
            click.echo(f"{entries:,} entries scanned\r", err=True, nl=False)

    try:
        yield show
    finally:
        if shown:
            click.echo("\033[K", err=True, nl=False)


def echo_json(document: object) -> None:
    """Print a document as JSON, for scripts."""
    echo_json_document(msgspec.json.encode(document))


def echo_json_document(document: bytes, *, nl: bool = True) -> None:
    """Print JSON, escaped on a terminal and elsewhere alike: a pipe may lead to a terminal, too."""
    click.echo(escaped_json(document), nl=nl)


def bar(value: int, most: int, width: int) -> str:
    """Return a bar.

    Args:
        value: The value of the bar, at least 0.
        most: The value of the longest bar.
        width: Characters of the longest bar. A bar of a positive value has at least one.
    """
    # Other encodings than UTF-8 may have no blocks.
    block = "█" if "utf" in (sys.stdout.encoding or "").lower() else "#"
    return block * (max(1, round(value / most * width)) if value else 0)


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
    if sys.stdin is None or not sys.stdin.isatty():
        raise UnconfirmedError(what)
    if matters:
        click.confirm(question, abort=True, err=True, show_default=False, prompt_suffix=" [y/N]: ")


def echo_error(error: Exception | str) -> None:
    """Report an error about one of several items, in the form of an error that ends a command."""
    click.echo(one_line(f"miniclaw: {error}"), err=True)


def exit_if_failed(errors: Sequence[Exception | str]) -> None:
    """Report errors about some of several items; if there are any, exit with code 1."""
    for error in errors:
        echo_error(error)
    if errors:
        sys.exit(1)


def ago(age: timedelta | None) -> str:
    """Return an age as a text; None: the time is ahead of the clock."""
    return "ahead of the clock" if age is None else f"{format_age(age)} ago"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def conflict_copies(number: int) -> str:
    """Return a number of conflict copies, with their origin."""
    copies = "copy of a session" if number == 1 else "copies of sessions"
    return f"{number:,} {copies} by a sync program or an editor"


def entries(number: int) -> str:
    """Return a number with the noun entry."""
    return f"{number:,} {'entry' if number == 1 else 'entries'}"
