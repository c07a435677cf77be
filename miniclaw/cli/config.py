"""``miniclaw config``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from miniclaw.cli import EXIT_USAGE
from miniclaw.cli.access import CommandWorkspace, InForce, pass_workspace, warn
from miniclaw.cli.options import json_option
from miniclaw.cli.output import count, echo_error, echo_json
from miniclaw.config import differences, load_config, show_config
from miniclaw.config.in_force import needs_restart
from miniclaw.errors import ConfigError
from miniclaw.formats import encodable, escaped_toml, one_line
from miniclaw.workspace.channels import channel_warnings

if TYPE_CHECKING:
    from collections.abc import Sequence

_GATEWAY = "the running gateway"


@click.group()
def config() -> None:
    """Show the configuration in force, or check a file."""


@config.command()
@json_option
@pass_workspace
def show(workspace: CommandWorkspace, as_json: bool) -> None:
    """Show the configuration in force, with all defaults, in the form of its file.

    If a gateway runs, its configuration is shown, unless --config names a file.
    """
    settings = workspace.settings
    in_force = InForce(settings.config) if settings.names_config else workspace.in_force
    in_force.warn()
    tables = show_config(in_force.config)
    if as_json:
        echo_json({"file": encodable(str(settings.config_path)), "of": in_force.of, "config": tables})
        return
    state = "" if settings.config_path.exists() else " (there is none: these are the defaults)"
    click.echo(one_line(f"# {settings.config_path}{state}"))
    if in_force.of == "gateway":
        click.echo("# as the running gateway uses it")
    click.echo(one_line(f"# workspace: {settings.home.workspace}"))
    for table, values in tables.items():
        click.echo(f"\n[{table}]")
        for key, value in values.items():
            click.echo(f"{key if _is_bare(key) else _as_toml(key)} = {_as_toml(value)}")


@config.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@json_option
@pass_workspace
def check(workspace: CommandWorkspace, file: Path | None, as_json: bool) -> None:
    """Check a configuration file: report its errors, or the changes that it would make.

    FILE is the usual file by default. It is compared with the configuration of the running gateway; without a gateway,
    with the usual file. If there are errors, the exit code is 2.
    """
    settings = workspace.settings
    path = settings.config_path if file is None else file
    warnings: list[str] = []
    try:
        found = load_config(path, required=file is not None or settings.names_config, warnings=warnings)
    except ConfigError as error:
        _print_errors(path, error, as_json=as_json)
        sys.exit(EXIT_USAGE)
    warnings += channel_warnings(found.session, workspace.directory, found.channels)
    base, tables = _in_force(workspace)
    changes = [] if tables is None else differences(tables, show_config(found))
    if as_json:
        _print_json(path, base, changes, warnings)
    else:
        _print_changes(path, base, changes, warnings)


def _in_force(workspace: CommandWorkspace) -> tuple[str, dict[str, dict[str, Any]] | None]:
    """Return the source of the configuration in force, and its tables; None: they are unknown."""
    if (theirs := workspace.ask_for_config()) is not None:
        return _GATEWAY, theirs
    settings = workspace.settings
    settings.take_warnings = lambda _: None  # they concern another file, or are printed already
    try:
        return str(settings.config_path), show_config(settings.config)
    except ConfigError as error:
        warn(f"{'; '.join(str(error).splitlines())}; there is nothing to compare with")
        return str(settings.config_path), None


def _print_errors(path: Path, error: ConfigError, *, as_json: bool) -> None:
    if as_json:
        errors = [
            {"key": None if each.key is None else encodable(each.key), "problem": encodable(each.problem)}
            for each in error.errors
        ]
        echo_json({"file": encodable(str(path)), "errors": errors})
        return
    for each in error.errors:
        echo_error(each)
    if len(error.errors) > 1:
        click.echo(f"{count(len(error.errors), 'error')}.", err=True)


def _print_json(path: Path, base: str, changes: Sequence[tuple[str, object, object]], warnings: Sequence[str]) -> None:
    document = {
        "file": encodable(str(path)),
        "errors": [],
        "warnings": [encodable(warning) for warning in warnings],
        "compared_with": encodable(base),
        "changes": [
            {"key": encodable(key), "from": before, "to": after, "restart": needs_restart(key)}
            for key, before, after in changes
        ],
    }
    echo_json(document)


def _print_changes(
    path: Path, base: str, changes: Sequence[tuple[str, object, object]], warnings: Sequence[str]
) -> None:
    for warning in warnings:
        click.echo(f"warning: {one_line(warning)}")
    if not changes:
        compared = "" if base == str(path) else f", and changes nothing compared with {base}"
        click.echo(one_line(f"{path} is valid{compared}."))
        return
    click.echo(one_line(f"{path} is valid. Compared with {base}, it changes:"))
    for key, before, after in changes:
        restart = " (needs a restart)" if base == _GATEWAY and needs_restart(key) else ""
        click.echo(one_line(f"{key} = {_or_nothing(before)} -> {_or_nothing(after)}{restart}"))


def _or_nothing(value: object) -> str:
    return "(not set)" if value is None else _as_toml(value)


def _is_bare(key: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_-]+", key) is not None


def _as_toml(value: object) -> str:
    """Return a value as in the file, on one line; only tables of plugins have further tables in them."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_as_toml(key)} = {_as_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_as_toml, value)) + "]"
    if isinstance(value, float):  # `inf` and `nan` have no JSON
        return str(value)
    return escaped_toml(msgspec.json.encode(value).decode())
