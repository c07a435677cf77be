"""The process in which something was opened: a forked child has a copy of it, but neither its threads nor its locks."""

from __future__ import annotations

import os

from miniclaw.errors import ForkedRuntimeError


def is_alive(pid: int) -> bool:
    """Return whether there is a process of this id on this machine."""
    if pid <= 0:  # of a group, or of all
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # EPERM: another user's
        return True
    return True


class OpeningProcess:
    """Remembers the process that made it.

    Attributes:
        pid: Its id.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()

    @property
    def is_this_one(self) -> bool:
        """Whether this is still that process, and no forked child."""
        return os.getpid() == self.pid

    def check(self) -> None:
        """Refuse to go on in a forked child, in which a call would wait for threads that are not there.

        Raises:
            ForkedRuntimeError: This is a forked child.
        """
        if not self.is_this_one:
            raise ForkedRuntimeError(self.pid)
