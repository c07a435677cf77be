"""The loggers of the session runtime: they use structlog if the program has set it up, else the standard library.

A program that embeds the runtime without structlog gets ordinary `logging` records, and nothing on its standard output.
The message of a record is the event and its fields, as ``Session deleted session_id=web_anna age_days=31.5``. Each
field is an attribute as well (``record.session_id``), and so is the sentence alone (``record.event``). A field whose
name every record has, such as ``name``, is the attribute ``name_``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Final

from miniclaw.foreign import Contained, traceback_of

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""The levels by name, with the numbers of `logging`, which is imported only when there is an event to log."""

# The function that sets up logging, and the level that triggers it; None: it is set up, or never will be. A command
# that logs nothing, as most do, starts far more quickly without.
_waiting: tuple[int, Callable[[], None]] | None = None

_has_failed = False  # whether the failure of logging has been reported


def set_up_when_needed(level: int, set_up: Callable[[], None]) -> None:
    """Set up logging at the first event of at least a level; events below it are dropped until then."""
    global _waiting  # noqa: PLW0603 - for the whole process, as logging itself
    _waiting = (level, set_up)


def set_up_now() -> None:
    """Set up logging, if that was postponed."""
    global _waiting  # noqa: PLW0603 - as above
    if _waiting is not None:
        _, set_up = _waiting
        _waiting = None
        set_up()


def _tell_failure(error: BaseException) -> None:
    """Report once on standard error that the logging of this program fails; the caller continues."""
    global _has_failed  # noqa: PLW0603 - as above
    if not _has_failed:
        _has_failed = True
        with suppress(Exception):
            print("miniclaw: events are lost, because the logging of this program fails:", file=sys.stderr)
            print(traceback_of(error), file=sys.stderr)


@cache
def _own_attributes() -> frozenset[str]:
    """Return the attributes of each `logging.LogRecord`, which refuses fields of these names."""
    import logging  # noqa: PLC0415 - start-up time

    return frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})


class _Fields:
    """The fields of an event; their text is made only if a handler writes it."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def __str__(self) -> str:
        return " ".join(f"{name}={_shown(value)}" for name, value in self._fields.items())


def _shown(value: object) -> str:
    """Return a value for a line of text: in quotes and escaped, unless it is one word without invisible characters."""
    text = str(value)
    return text if text.isprintable() and text and not {*" \"'="} & {*text} else repr(text)


class EventLogger:
    """Logs events: a sentence and named fields. The sentence is constant, so that it can be searched for.

    The logging of the program is foreign code: an exception from it loses the event, and has no other effect.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def _log(self, level: int, event: str, fields: dict[str, object], error: BaseException | None = None) -> None:
        if _waiting is not None:
            if level < _waiting[0]:
                return
            set_up_now()
        with Contained(_tell_failure):
            structlog = sys.modules.get("structlog")  # imported if it is set up
            if structlog is not None and structlog.is_configured():
                if error is not None:
                    fields["traceback"] = traceback_of(error)
                structlog.get_logger(self._name).log(level, event, logger=self._name, **fields)
            else:
                import logging  # noqa: PLC0415 - start-up time

                text, args = (f"{event.replace('%', '%%')} %s", (_Fields(fields),)) if fields else (event, ())
                taken = _own_attributes()
                extra = {f"{name}_" if name in taken else name: value for name, value in fields.items()}
                logging.getLogger(self._name).log(
                    level, text, *args, extra={**extra, "event": event}, exc_info=error, stacklevel=3
                )

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

    def bug(self, event: str, error: BaseException, **fields: object) -> None:
        """Log at ERROR, with the traceback of an exception: the field `traceback`, or `exc_info` of `logging`."""
        self._log(LEVELS["error"], event, fields, error)


def get_logger(name: str) -> EventLogger:
    """Return the logger of a module."""
    return EventLogger(name)
