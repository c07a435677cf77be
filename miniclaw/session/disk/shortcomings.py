"""Shortcomings of file systems: each one is logged once for each file system, and the work continues."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from miniclaw.loggers import get_logger
from miniclaw.session.disk.syscalls import OsCalls

# Device and sentence -> a token of the call that logged them. Any thread may add one, in one atomic step.
_logged: Final[dict[tuple[int, str], object]] = {}

log = get_logger("miniclaw.session.store")


def log_shortcoming(fs: OsCalls, fd: int, event: str, error: OSError) -> None:
    """Log a WARNING, unless this process has already logged it for the same file system.

    Args:
        fs: The system calls.
        fd: A file or directory on the file system.
        event: A constant sentence: the missing ability, and the promise that is lost with it.
        error: The file system's error.

    Raises:
        OSError: `fd` is no open descriptor.
    """
    device = fs.fstat(fd).st_dev
    token = object()
    if _logged.setdefault((device, event), token) is token:
        path = ""
        with suppress(OSError):  # /proc may not be mounted
            path = fs.path_of(fd)
        log.warning(event, path=path, error=error.strerror)
