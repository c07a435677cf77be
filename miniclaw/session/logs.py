"""Where the session runtime's log events go: structlog if the program has set it up, else the standard library.

A program that embeds the runtime and never heard of structlog gets ordinary `logging` records, with the event's
fields as attributes (``record.session_id``), and nothing on its standard output.
"""

from __future__ import annotations

import logging

import structlog


class EventLogger:
    """Logs events: a sentence and named fields. The sentence is constant, so that it can be searched for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _log(self, level: int, event: str, fields: dict[str, object]) -> None:
        if structlog.is_configured():
            structlog.get_logger(self._name).log(level, event, logger=self._name, **fields)
        else:
            logging.getLogger(self._name).log(level, event, extra=fields)

    def debug(self, event: str, **fields: object) -> None:
        """Log at DEBUG."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Log at INFO."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Log at WARNING."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Log at ERROR."""
        self._log(logging.ERROR, event, fields)


def get_logger(name: str) -> EventLogger:
    """Return the logger of a module."""
    return EventLogger(name)
