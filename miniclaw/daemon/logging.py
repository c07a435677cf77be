"""Logging of the program: console lines for a person, JSON lines for a service; both on standard error.

The session runtime logs through structlog once this is set up (see `miniclaw.loggers`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any, BinaryIO, Final

import msgspec
import structlog
from structlog.typing import Processor

from miniclaw.config import LogFormat, LogLevel
from miniclaw.formats import INDENT, encodable, escaped_json, one_line
from miniclaw.loggers import LEVELS
from miniclaw.secret import redact

ADVICE: Final[dict[str, dict[str, str]]] = {
    "Session cleanup held": {"let_it_through": "miniclaw sessions cleanup --confirm"},
    "Copies of sessions left alone that other programs have made": {
        "see": "miniclaw sessions cleanup --dry-run",
        "way_out": "miniclaw quarantine add FILE",
    },
} | {
    event: {"see": "miniclaw sessions cleanup --dry-run"}
    for event in (
        "More session files cannot be judged",
        "More sessions are ahead of the clock",
        "More sessions not removed",
        "More leftovers not removed",
        "More unfinished removals wait for the next start",
    )
}
"""The commands that help with an event of the session runtime. The runtime itself logs facts: it may be embedded in a
program that has no such commands."""


class _Logger:
    """Writes each record to standard error in one piece, and never fails: a lost record must not end the program.

    It holds no lock of its own, so that a child that is forked meanwhile can log.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, record: bytes) -> None:
        with suppress(OSError, ValueError):
            self._file.write(record + b"\n")
            self._file.flush()

    debug = info = warning = error = critical = write


def configure_logging(level: LogLevel, form: LogFormat) -> None:
    """Set up logging for the process. The form ``auto`` is ``console`` on a terminal and ``json`` elsewhere."""
    if form == "auto":
        form = "console" if sys.stderr.isatty() else "json"
    renderer: list[Any]
    if form == "json":
        renderer = [_escape(encodable), structlog.processors.JSONRenderer(_json)]
    else:
        renderer = [
            _escape(one_line, below=_below),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),  # https://no-color.org
                pad_event_to=0,
                sort_keys=False,
                exception_formatter=structlog.dev.plain_traceback,
            ),
            _encoded(sys.stderr.encoding),
        ]
    logger = _Logger(sys.stderr.buffer)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _advise,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: logger,
        cache_logger_on_first_use=False,
    )


def _advise(_logger: Any, _level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.update(ADVICE.get(event["event"], {}))
    return event


def _escape(escape: Callable[[str], str], *, below: Callable[[str], str] | None = None) -> Processor:
    """Return a processor that redacts the secrets of the process, and escapes texts.

    Names come from strangers, and file names need not be Unicode. `escape` is called for a text in a line, and `below`
    for a traceback, which is then printed below the line.
    """

    def process(_logger: Any, _level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        traceback = event.pop("traceback", event.pop("exception", None)) if below is not None else None
        for key, value in event.items():
            if isinstance(value, str):
                event[key] = escape(redact(value))
            elif isinstance(value, list | tuple):
                event[key] = [escape(redact(item)) if isinstance(item, str) else item for item in value]
        if below is not None and traceback is not None:
            event["exception"] = below(redact(str(traceback)))
        return event

    return process


def _encoded(encoding: str) -> Callable[[Any, str, str], bytes]:
    """Return a processor that encodes a line for a terminal."""
    return lambda _logger, _level, line: line.encode(encoding, "backslashreplace")


def _below(traceback: str) -> str:
    """Return a traceback without its last newline, indented: none of its lines can pass for an event."""
    return "\n".join(INDENT + one_line(line) for line in traceback.rstrip("\n").split("\n"))


def _json(event: dict[str, Any], **_: Any) -> bytes:
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return escaped_json(msgspec.json.encode(first | event, enc_hook=str))
