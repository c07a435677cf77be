"""``miniclaw gateway``."""

from __future__ import annotations

import gc
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import click
from msgspec.structs import replace

from miniclaw.cli import Settings
from miniclaw.loggers import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from miniclaw.config import Config
    from miniclaw.daemon.frontend import Front

GC_OBJECTS: Final = 10_000
"""New objects after which the collector looks for cycles. By its default of 700, it would look every few messages."""

log: Final = get_logger("miniclaw.gateway")


@click.command()
@click.option("--host", metavar="ADDRESS", help="Listen at this address instead of web.host.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="N",
              help="Listen at this port instead of web.port; 0: any free port.")  # fmt: skip
@click.pass_obj
def gateway(settings: Settings, *, host: str | None, port: int | None) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    It prints the address of the chat page; on a terminal, as a link that logs one browser in. It saves sessions and
    cleans them up in the background. On a signal it flushes them and exits; each part may take five seconds, and a
    second signal ends these waits. On SIGHUP it reads the configuration again.
    """
    gc.disable()  # until the gateway runs: imports leave no garbage
    try:
        import trio  # noqa: PLC0415 - start-up time

        from miniclaw.output_queue import queue_output  # noqa: PLC0415

        queue_output("stdout", "stderr")  # both may be a stopped terminal
        warnings: list[str] = []
        settings.take_warnings = warnings.extend  # logged later: the configuration sets up the log
        required = settings.names_config or settings.config_path.exists()
        config = _listening_at(settings.config, host, port)
        _configure_logging(config)
        _log_warnings(warnings)
        trio.run(partial(_run, settings, config, partial(_read_again, settings, required, host, port)))
    finally:
        gc.enable()


def _configure_logging(config: Config) -> None:
    from miniclaw.daemon.logging import configure_logging  # noqa: PLC0415 - start-up time

    configure_logging(config.log.level, config.log.format)


def _log_warnings(warnings: Sequence[str]) -> None:
    for warning in warnings:
        log.warning("Configuration will be refused by a later version", problem=warning)


def _read_again(settings: Settings, required: bool, host: str | None, port: int | None) -> Config:
    """Return the configuration as its file is now, under the same options.

    With `required`, a missing file is an error: it existed at the start, and an editor may be replacing it.
    """
    from miniclaw.config import load_config  # noqa: PLC0415 - start-up time

    warnings: list[str] = []
    config = _listening_at(load_config(settings.config_path, required=required, warnings=warnings), host, port)
    _log_warnings(warnings)
    return config


def _listening_at(config: Config, host: str | None, port: int | None) -> Config:
    from miniclaw.config.values import parse_values  # noqa: PLC0415 - start-up time
    from miniclaw.config.web import WEB_RULES  # noqa: PLC0415 - likewise

    given = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    return replace(config, web=replace(config.web, **parse_values(WEB_RULES, "web", given, None)))


async def _run(settings: Settings, config: Config, reload: Callable[[], Config]) -> None:
    import trio  # noqa: PLC0415 - start-up time

    from miniclaw.gateway import run_gateway  # noqa: PLC0415

    async with trio.open_nursery() as nursery:
        try:
            run = partial(
                run_gateway, config, settings.home, serves=True, reload=reload, on_reloaded=_configure_logging
            )
            running = await nursery.start(run)
        finally:
            gc.freeze()  # present objects live on: the collector need not traverse them again
            gc.set_threshold(GC_OBJECTS, *gc.get_threshold()[1:])
            gc.enable()
        if running.front is not None and running.addresses:
            _tell_where(running.front)


def _tell_where(front: Front) -> None:
    """Print the address; on a terminal, whose output is not stored, as a link that logs a browser in."""
    entrance = front.entrance() if sys.stdout.isatty() else None
    if entrance is None or entrance.code is None:
        click.echo(f"miniclaw is at {front.addresses[0]} (Ctrl-C ends it)")
        return
    click.echo(f"miniclaw is at {entrance.link()} (Ctrl-C ends it)")
    click.echo(f"The link works once, for {entrance.seconds // 60} minutes; `miniclaw open` gives another.")
