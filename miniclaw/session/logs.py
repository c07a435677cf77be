"""Where the session runtime's log events go: structlog if the program has set it up, else the standard library.

A program that embeds the runtime and never heard of structlog gets ordinary `logging` records, with the event's
fields as attributes (``record.session_id``), and nothing on its standard output.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""The levels by name, with the numbers of `logging`: that is imported when there is something to log."""

# What sets up logging, and from which level on it is worth it; None: it is set up, or nobody will. A command that logs
# nothing, as most do, starts far more quickly without.
_waiting: tuple[int, Callable[[], None]] | None = None


def set_up_when_needed(level: int, set_up: Callable[[], None]) -> None:
    """Have logging set up at the first event of a level, or above; what is below is dropped until then."""
    global _waiting  # noqa: PLW0603 - as logging itself, for the whole process
    _waiting = (level, set_up)


def set_up_now() -> None:
    """Set up logging, if that was put off."""
    global _waiting  # noqa: PLW0603 - as above
    if _waiting is not None:
        _, set_up = _waiting
        _waiting = None
        set_up()


class EventLogger:
    """Logs events: a sentence and named fields. The sentence is constant, so that it can be searched for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _log(self, level: int, event: str, fields: dict[str, object]) -> None:
        if _waiting is not None:
            if level < _waiting[0]:
                return
            set_up_now()
        structlog = sys.modules.get("structlog")  # who has set it up has imported it
        if structlog is not None and structlog.is_configured():
            structlog.get_logger(self._name).log(level, event, logger=self._name, **fields)
        else:
            import logging  # noqa: PLC0415 - start-up time

            logging.getLogger(self._name).log(level, event, extra=fields)

    def debug(self, event: str, **fields: object) -> None:
        """Log at DEBUG."""
        self._log(LEVELS["debug"], event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Log at INFO."""
        self._log(LEVELS["info"], event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log at WARNING."""
        self._log(LEVELS["warning"], event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Log at ERROR."""
        self._log(LEVELS["error"], event, fields)


def get_logger(name: str) -> EventLogger:
    """Return the logger of a module."""
    return EventLogger(name)
