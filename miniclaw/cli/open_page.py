"""``miniclaw open``."""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from miniclaw.cli.access import CommandWorkspace, pass_workspace
from miniclaw.cli.options import json_option
from miniclaw.cli.output import echo_json
from miniclaw.errors import ConfigError, GatewayError, NoGatewayError

REDIRECT_NAME: Final = "open.html"
"""File in the workspace that redirects a browser to a link."""

_REDIRECT: Final = """\
<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={link}">
<title>miniclaw</title>
<p><a href="{link}">Open miniclaw</a></p>
"""


def _address(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    problem = f"{value!r}: an address is http:// or https:// and a host, such as https://claw.example.org"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise click.BadParameter(problem) from None
    too_much = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in {"http", "https"} or not parts.hostname or too_much:
        raise click.BadParameter(problem)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if port is None else f":{port}")


@click.command("open")
@click.option("--print", "only_prints", is_flag=True, help="Print the link, and open no browser.")
@click.option(
    "--at", "address", callback=_address, metavar="ADDRESS",
    help="The address at which you reach the gateway, such as https://claw.example.org; default: as configured.",
)  # fmt: skip
@json_option
@pass_workspace
def open_page(workspace: CommandWorkspace, *, only_prints: bool, address: str | None, as_json: bool) -> None:
    """Open the chat page in a browser, logged in.

    The running gateway makes a link, which is printed as well. The link logs one browser in, within ten minutes; that
    browser stays logged in for 30 days. Over ssh, or without a desktop, the link is only printed.
    """
    from miniclaw.admin.client.client import GatewayClient  # noqa: PLC0415 - start-up time

    try:
        entrance = GatewayClient(workspace.home.workspace).entrance()
    except NoGatewayError as error:
        if (holder := workspace.find_unreachable()) is None:
            raise
        raise GatewayError(
            f"{error}, and {holder.who} holds the workspace: if it is a gateway that can have no socket there, it has "
            "printed a link at its start on a terminal, and its log has the address"
        ) from error
    if entrance.address is None and address is None:
        raise GatewayError("the gateway serves the page at no address: web.enabled = false; `miniclaw chat` needs none")
    link = entrance.link(address)
    seconds = None if entrance.code is None else entrance.seconds
    if as_json:
        echo_json({"link": link, "address": address or entrance.address, "seconds": seconds})
    else:
        click.echo(link)
    if only_prints or as_json or not has_desktop(os.environ, sys.platform):
        return
    if seconds is not None:
        click.echo(f"The link works once, for {seconds // 60} minutes.", err=True)
    _browse(link, workspace.home.workspace)


def has_desktop(environment: Mapping[str, str], platform: str) -> bool:
    """Return whether a browser can be opened on the desktop of the person at the terminal.

    Args:
        environment: The environment variables. A variable that names a browser is enough.
        platform: A value of `sys.platform`.
    """
    if environment.get("BROWSER"):
        return True
    if environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"):
        return False
    return platform == "darwin" or bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def _browse(link: str, workspace: Path) -> None:
    """Open a link in a browser.

    All users can read the command line of a browser while it starts, and could use the link first. On a machine with
    other users the browser therefore gets a file that they cannot read, which redirects to the link. On a machine of
    one user it gets the link itself, because a browser in a sandbox (a snap) cannot read that file either.
    """
    import webbrowser  # noqa: PLC0415 - start-up time

    from miniclaw.web.access.other_users import other_users  # noqa: PLC0415

    target = _write_redirect(workspace / REDIRECT_NAME, link).as_uri() if other_users() else link
    if not webbrowser.open(target):
        click.echo("miniclaw: no browser could be started; open the link in one", err=True)


def _write_redirect(path: Path, link: str) -> Path:
    """Write the file that redirects to a link; at no time can another user than the workspace's owner read it.

    The same holds if root writes it.
    """
    from miniclaw.session.disk.atomic import create_exclusively, opened  # noqa: PLC0415 - start-up time
    from miniclaw.session.disk.directories import why_not_followed  # noqa: PLC0415 - start-up time
    from miniclaw.session.disk.syscalls import OsCalls  # noqa: PLC0415 - likewise

    if problem := why_not_followed(path.parent):
        raise ConfigError(path.parent, problem)
    fs = OsCalls()
    with opened(fs, str(path.parent), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as folder:
        with suppress(FileNotFoundError):
            fs.unlink(path.name, dir_fd=folder)
        create_exclusively(fs, path.name, _REDIRECT.format(link=html.escape(link, quote=True)).encode(), dir_fd=folder)
    return path
