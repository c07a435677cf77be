"""Foreign code: the channels, models, clocks and callbacks of a program that embeds miniclaw. It may raise anything.

An exception of foreign code is caught at the call, and reported there, whatever its class: `asyncio.CancelledError` is
no `Exception`, for example. Only `trio.Cancelled`, `KeyboardInterrupt` and `SystemExit` pass, alone and out of a group,
and the `GeneratorExit` with which the interpreter closes a suspended task.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final, TypeVar

from miniclaw.formats import without_surrogates

E = TypeVar("E", bound=BaseException)

MAX_TRACEBACK_CHARS: Final = 20_000
"""Longest traceback in the log, inclusive; a longer one loses its middle."""


class Contained:
    """Contains the exceptions of foreign code for a block.

    Args:
        report: Called once with the exception, if there is one; it must not raise.

    Cancellation: passes. Of a group with a cancellation in it, the other exceptions are reported.
    """

    def __init__(self, report: Callable[[BaseException], object]) -> None:
        self._report = report

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        if error is None or _passes(error) or _closes_frame(error):
            return False
        passing = None
        if isinstance(error, BaseExceptionGroup):
            passing, contained = error.split(_passes)
            if contained is None:
                return False
            error = error if passing is None else contained
        self._report(error)
        if passing is not None:
            raise passing from None
        return True


def _passes(error: BaseException) -> bool:
    """Return whether an exception ends its task or the program; a group as such does not."""
    cancelled = getattr(sys.modules.get("trio"), "Cancelled", ())  # not imported: there is none
    return isinstance(error, (KeyboardInterrupt, SystemExit, cancelled))


def _closes_frame(error: BaseException) -> bool:
    """Return whether the interpreter closes the suspended frame of a block, which may not continue.

    It closes first what the frame awaits, so the traceback has this frame alone; one of foreign code has more.
    """
    traceback = error.__traceback__
    return isinstance(error, GeneratorExit) and traceback is not None and traceback.tb_next is None


def leaves(error: BaseException) -> list[BaseException]:
    """Return the exceptions in a group and its subgroups; any other exception is its own leaf."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for each in error.exceptions for leaf in leaves(each)]


def only(error: BaseException, kind: type[E]) -> E | None:
    """Return the first exception of a kind if an error consists of that kind only, perhaps in a nursery's group."""
    found = [leaf for leaf in leaves(error) if isinstance(leaf, kind)]
    return found[0] if len(found) == len(leaves(error)) else None


def name_of(error: BaseException) -> str:
    """Return the name of an exception's class; for a group, that of its first exception."""
    return type(leaves(error)[0]).__name__


def text_of(value: object) -> str:
    """Return ``str(value)`` without surrogates, or the class's name if its own method fails."""
    try:
        return without_surrogates(str(value))
    except Exception:  # noqa: BLE001 - foreign code
        return type(value).__name__


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an exception, shortened to about `MAX_TRACEBACK_CHARS`."""
    import traceback  # noqa: PLC0415 - start-up time: needed only after a failure

    try:
        text = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - the exception's own attributes may fail
        text = f"{name_of(error)}, whose traceback cannot be shown"
    if len(text) <= MAX_TRACEBACK_CHARS:
        return text
    half = MAX_TRACEBACK_CHARS // 2
    return f"{text[:half]}\n…\n{text[-half:]}"
