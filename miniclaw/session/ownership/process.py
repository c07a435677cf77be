"""The process that opened an object: a forked child has a copy of the object, but neither its threads nor its locks."""

from __future__ import annotations

import os

from miniclaw.errors import ForkedRuntimeError


def is_alive(pid: int) -> bool:
    """Return whether a process of this id exists on this machine."""
    if pid <= 0:  # kill() takes it for a group, or for all processes
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # EPERM: another user's
        return True
    return True


class OpeningProcess:
    """The process that created this object, and its id."""

    def __init__(self) -> None:
        self.pid: int = os.getpid()

    @property
    def is_this_one(self) -> bool:
        """True if the current process is that one, and no forked child."""
        return os.getpid() == self.pid

    def check(self) -> None:
        """Raise `ForkedRuntimeError` in a forked child, in which a call would wait for threads that do not exist."""
        if not self.is_this_one:
            raise ForkedRuntimeError(self.pid)
