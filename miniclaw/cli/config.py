"""``miniclaw config``."""

from __future__ import annotations

import click
import msgspec

from miniclaw.cli import Settings
from miniclaw.formats import printable


@click.group()
def config() -> None:
    """Show the configuration."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(settings: Settings, as_json: bool) -> None:
    """Show the configuration in force, defaults included, as its file would say it."""
    from miniclaw.config import show_config  # noqa: PLC0415 - start-up time

    tables = show_config(settings.config)
    if as_json:
        click.echo(msgspec.json.encode({"file": printable(str(settings.config_path)), "config": tables}))
        return
    state = "" if settings.config_path.exists() else " (there is none: these are the defaults)"
    click.echo(printable(f"# {settings.config_path}{state}"))
    click.echo(printable(f"# workspace: {settings.home.workspace}"))
    for table, values in tables.items():
        click.echo(f"\n[{table}]")
        for key, value in values.items():
            click.echo(f"{key} = {msgspec.json.encode(value).decode()}")
