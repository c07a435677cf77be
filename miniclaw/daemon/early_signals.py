"""Signals that come before the program can receive them: for some tenths of a second it imports its parts.

They would kill the process, and are held until then. Only `signal` is imported here: this module comes first.
"""

from __future__ import annotations

import signal


def known(*names: str) -> tuple[int, ...]:
    """Return the signals of these names that this system has."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


HANGUP = signal.SIGHUP

STRAY = frozenset(
    (
        *known("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGPOLL", "SIGSTKFLT"),
        *(range(signal.SIGRTMIN, signal.SIGRTMAX + 1) if hasattr(signal, "SIGRTMIN") else ()),
    )
)
"""Signals that mean nothing to the program, and by default kill it."""

_held: set[int] = set()  # changed on the main thread only


def hold() -> None:
    """Hold SIGHUP and the stray signals from now on, except those that are ignored or have a handler."""
    for number in (HANGUP, *STRAY):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _hold)


def _hold(number: int, _frame: object) -> None:
    _held.add(number)


def has_no_handler(number: int) -> bool:
    """Return whether a signal would kill the process, or is held."""
    return signal.getsignal(number) in {signal.SIG_DFL, _hold}


def release() -> None:
    """Raise the held signals again, each once; their handlers are in place now."""
    while _held:
        signal.raise_signal(_held.pop())
