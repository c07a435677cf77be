"""A process that is on macOS, as far as names go: without what only Linux has in the standard library, and without /proc.

`forget_linux` is called before the package is used. What the package imports of others is imported before that, with all
that Linux has: it is the package that is tried, and not its dependencies. `python -m pytest -p tests.fakes.elsewhere_plugin`
runs any test so.
"""

from __future__ import annotations

import builtins
import ctypes
import fcntl
import importlib
import os
import pkgutil
import re
import resource
import signal
import socket
import sys
import time
from typing import Any, Final

LINUX_ONLY: Final = {
    os: r"EFD_.*|eventfd.*|GRND_.*|getrandom|MFD_.*|memfd_create|O_(DIRECT|LARGEFILE|NOATIME|PATH|RSYNC|TMPFILE)|P_PIDFD"
        r"|pidfd_open|POSIX_FADV_.*|posix_fadvise|posix_fallocate|RWF_.*|copy_file_range|splice|SPLICE_.*|sched_.*|SCHED_.*"
        r"|(get|set|list|remove)xattr|XATTR_.*|[gs]etres[ug]id|pipe2|fdatasync|waitid|RTLD_DEEPBIND|ST_.*TIME",
    time: r"CLOCK_(BOOTTIME|TAI)|pthread_getcpuclockid",
    fcntl: r"F_(OFD_.*|.*SEAL.*|[GS]ETPIPE_SZ|NOTIFY|[GS]ETLEASE|[GS]ETSIG|EXLCK|SHLCK)|DN_.*|LOCK_(MAND|READ|RW|WRITE)",
    socket: r"SO_(PEERCRED|PASSCRED|DOMAIN|PROTOCOL|PRIORITY|MARK|BINDTODEVICE|PEERSEC|PASSSEC|INCOMING_CPU)|SOCK_(CLOEXEC|NONBLOCK)"
            r"|TCP_(USER_TIMEOUT|CORK|DEFER_ACCEPT|INFO|LINGER2|QUICKACK|SYNCNT|WINDOW_CLAMP|CONGESTION|KEEPIDLE)"
            r"|AF_(NETLINK|PACKET|VSOCK|CAN|ALG|TIPC|RDS|QIPCRTR|BLUETOOTH)|MSG_(NOSIGNAL|CMSG_CLOEXEC|ERRQUEUE|MORE|CONFIRM|FASTOPEN)"
            r"|SCM_CREDENTIALS|IP_(TRANSPARENT|BIND_ADDRESS_NO_PORT)|NETLINK_.*|PACKET_.*|CAN_.*|ALG_.*|TIPC_.*|VM.*_.*",
    signal: r"SIG(STKFLT|PWR|POLL|CLD|RTMIN|RTMAX)|sigwaitinfo|sigtimedwait|pidfd_send_signal",
    resource: r"prlimit|RLIMIT_(MSGQUEUE|NICE|RTPRIO|RTTIME|SIGPENDING|OFILE)|RUSAGE_THREAD",
}  # fmt: skip
"""Names that the standard library has on Linux and not on macOS. `select.epoll` is one more, which trio needs here."""

_NOT_THERE: Final = ("/proc/", "/sys/")
_NOT_IN_LIBC: Final = frozenset({"adjtimex", "renameat2", "syncfs", "prctl", "gettid"})


def forget_linux(*, proc: bool = False) -> None:
    """Take from this process what only Linux has.

    Args:
        proc: Whether /proc stays, for tests that use it themselves.
    """
    _import_dependencies()
    for module, pattern in LINUX_ONLY.items():
        for name in [name for name in vars(module) if re.fullmatch(pattern, name)]:
            delattr(module, name)
    library = ctypes.CDLL

    class Library(library):  # type: ignore[misc, valid-type]
        def __getattr__(self, name: str) -> Any:
            if name in _NOT_IN_LIBC:
                raise AttributeError(name)
            return super().__getattr__(name)

    setattr(ctypes, "CDLL", Library)  # noqa: B010 - for mypy, which takes it for a type
    if not proc:
        for place, name in ((os, "open"), (os, "stat"), (os, "lstat"), (os, "readlink"), (builtins, "open")):
            _hide(place, name)
    sys.platform = "darwin"


def _import_dependencies() -> None:
    import miniclaw

    for module in pkgutil.walk_packages(miniclaw.__path__, "miniclaw."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "miniclaw"]:
        del sys.modules[name]


def _hide(place: Any, name: str) -> None:
    real = getattr(place, name)

    def call(path: Any, *args: Any, **named: Any) -> Any:
        if isinstance(path, str) and path.startswith(_NOT_THERE):
            raise FileNotFoundError(2, "No such file or directory", path)
        return real(path, *args, **named)

    setattr(place, name, call)
