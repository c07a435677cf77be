"""Logging of the program: console lines for a person, JSON lines for a service; both on standard error.

The session runtime logs through structlog once this is set up (see `miniclaw.session.logs`).
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, Literal, TypeAlias

import msgspec
import structlog

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["auto", "console", "json"]

LEVELS: Final[dict[LogLevel, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure_logging(level: LogLevel, format: LogFormat) -> None:  # noqa: A002 - the configuration's own word
    """Set up logging for the process.

    Args:
        level: The lowest that is logged.
        format: ``auto`` is ``console`` on a terminal and ``json`` elsewhere.
    """
    if format == "auto":
        format = "console" if sys.stderr.isatty() else "json"  # noqa: A001 - as above
    renderer: list[Any]
    if format == "json":
        renderer = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_json)]
        factory: Any = structlog.BytesLoggerFactory(sys.stderr.buffer)
    else:
        renderer = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)]
        factory = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )


def _json(event: dict[str, Any], **_: Any) -> bytes:
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return msgspec.json.encode(first | event, enc_hook=str)
