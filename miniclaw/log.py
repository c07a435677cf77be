"""Logging of the program: console lines for a person, JSON lines for a service; both on standard error.

The session runtime logs through structlog once this is set up (see `miniclaw.session.logs`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any, BinaryIO, TextIO, cast

import msgspec
import structlog
from structlog.typing import Processor

from miniclaw.config import LogFormat, LogLevel
from miniclaw.formats import printable
from miniclaw.redaction import redact
from miniclaw.session.logs import LEVELS


class _Unbreakable:
    """A stream to log to that never fails: a full disk or a reader that went away must not end the program."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, data: Any) -> int:
        """Write, if that is possible."""
        try:
            return int(self._stream.write(data))
        except (OSError, ValueError):
            return 0

    def flush(self) -> None:
        """Flush, if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.flush()


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
        renderer = [structlog.processors.format_exc_info, _escape(_encodable), structlog.processors.JSONRenderer(_json)]
        factory: Any = structlog.BytesLoggerFactory(cast("BinaryIO", _Unbreakable(sys.stderr.buffer)))
    else:
        renderer = [
            _escape(printable),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0, sort_keys=False),
        ]
        factory = structlog.PrintLoggerFactory(cast("TextIO", _Unbreakable(sys.stderr)))
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


def _escape(escape: Callable[[str], str]) -> Processor:
    """Return a processor that escapes texts: names come from strangers, and file names need not be Unicode.

    It also takes out the secrets of the process.
    """

    def process(_logger: Any, _level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        for key, value in event.items():
            if isinstance(value, str):
                event[key] = escape(redact(value))
            elif isinstance(value, list | tuple):
                event[key] = [escape(redact(item)) if isinstance(item, str) else item for item in value]
        return event

    return process


def _encodable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _json(event: dict[str, Any], **_: Any) -> bytes:
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return msgspec.json.encode(first | event, enc_hook=str)
