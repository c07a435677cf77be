"""The signals that a running program receives, so that none of them kills it while sessions are dirty.

`ENDING` signals request the end, and SIGHUP has the meaning that the program gives it. `STRAY` signals, which by
default kill a process, are ignored. Only SIGKILL and the signals of a crash (SIGSEGV, SIGABRT, …) still kill.

A signal that was ignored when the program started remains ignored: SIGHUP under ``nohup``, SIGINT in a background job
of a shell. A stray signal that already has a handler keeps it. `miniclaw.daemon.early_signals` holds signals before.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

import trio

from miniclaw.daemon.early_signals import HANGUP, STRAY, has_no_handler, known, release
from miniclaw.loggers import get_logger

ENDING: Final = frozenset(known("SIGTERM", "SIGINT", "SIGQUIT", "SIGPWR", "SIGXCPU"))
"""Besides the usual two: Ctrl-\\, a failing power supply, and a limit of processor time, which SIGKILL follows."""

log: Final = get_logger("miniclaw.signals")


@contextmanager
def receiving() -> Iterator[AsyncIterator[int]]:
    """Receive signals for a block, on the main thread: those of `ENDING`, and SIGHUP. A stray one is logged at INFO.

    Signals that were held are received first.
    """
    meant = [number for number in (*ENDING, HANGUP) if signal.getsignal(number) is not signal.SIG_IGN]
    stray = [number for number in STRAY if has_no_handler(number)]
    with trio.open_signal_receiver(*meant, *stray) as received:
        release()
        yield _without_stray(received)


async def _without_stray(received: AsyncIterator[int]) -> AsyncIterator[int]:
    async for number in received:
        if number in STRAY:
            log.info("Signal ignored", signal=name_of(number))
        else:
            yield number


def name_of(number: int) -> str:
    """Return the name of a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time ones have none
        return f"signal {number}"
