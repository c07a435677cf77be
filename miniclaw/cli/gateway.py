"""``miniclaw gateway``."""

from __future__ import annotations

from functools import partial

import click

from miniclaw.cli import Settings


@click.command()
@click.pass_obj
def gateway(settings: Settings) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    Sessions are saved and cleaned up in the background. On a signal they are flushed; a second signal skips what is
    left of the five seconds that each part may take.
    """
    import trio  # noqa: PLC0415 - start-up time

    from miniclaw.gateway import run_gateway  # noqa: PLC0415
    from miniclaw.log import configure_logging  # noqa: PLC0415

    configure_logging(settings.config.log.level, settings.config.log.format)
    trio.run(partial(run_gateway, settings.config, settings.home))
