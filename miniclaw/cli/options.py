"""Options that several commands share, with their validation."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import click

from miniclaw.formats import parse_duration

json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option: Final = click.option(
    "--yes", "-y", is_flag=True, help="Do not ask for confirmation. Required without a terminal."
)
dry_run_option: Final = click.option("--dry-run", is_flag=True, help="Show what would be removed, and change nothing.")


def _channel(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    from miniclaw.session.names import is_channel  # noqa: PLC0415 - start-up time

    if value is not None and not is_channel(value):
        raise click.BadParameter(f"{value!r}: a channel is 1 to 32 of a-z, 0-9 and -")
    return value


def _duration(_ctx: click.Context, _param: click.Parameter, value: str | None) -> timedelta | None:
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from None


channel_option: Final = click.option(
    "--channel", callback=_channel, metavar="CHANNEL", help="Only sessions of this channel."
)
older_than_option: Final = click.option(
    "--older-than", callback=_duration, metavar="DURATION",
    help="Only sessions last used longer ago than this, such as 7d or 12h.",
)  # fmt: skip
