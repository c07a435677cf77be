"""System calls that fail, wait or are counted on demand: the real ones of `OsCalls` with a hook before each."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from collections.abc import Callable
from typing import Any

from miniclaw.session.disk.syscalls import OsCalls
from tests.fakes.patience import PATIENCE_SECONDS

Hook = Callable[[str, tuple[Any, ...]], None]

CALLS = tuple(name for name, value in vars(OsCalls).items() if callable(value) and not name.startswith("_"))


class FaultyOs(OsCalls):
    """Asks its hooks before each call; what a hook raises is what the call raises.

    Attributes:
        calls: The calls so far: name and positional arguments.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self._hooks: list[Hook] = []

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name not in CALLS:
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args))
            for hook in list(self._hooks):
                hook(name, args)
            return value(*args, **kwargs)

        return call

    def on(self, hook: Hook) -> None:
        """Add a hook."""
        self._hooks.append(hook)

    def clear(self) -> None:
        """Remove all hooks: the faults are over."""
        self._hooks.clear()

    def fail(self, name: str, number: int = errno.EIO, *, path: str = "") -> None:
        """Have a call fail, whenever one of its arguments contains `path`."""

        def hook(called: str, args: tuple[Any, ...]) -> None:
            if called == name and (not path or any(path in str(arg) for arg in args)):
                raise OSError(number, os.strerror(number))

        self.on(hook)

    def notice(self, name: str, *, path: str = "", times: int = 1) -> threading.Event:
        """Return an event that is set when such a call is made so many times from now on."""
        event = threading.Event()
        made = itertools.count(1)

        def hook(called: str, args: tuple[Any, ...]) -> None:
            if called == name and any(path in str(arg) for arg in args) and next(made) == times:
                event.set()

        self.on(hook)
        return event

    def block(self, name: str, *, path: str = "", after: threading.Event | None = None) -> Gate:
        """Have a call wait, the first time one of its arguments contains `path`, until the gate is opened.

        Args:
            name: The call.
            path: What one of its arguments contains.
            after: What has to be set before.
        """
        gate = Gate()

        def hook(called: str, args: tuple[Any, ...]) -> None:
            if after is not None and not after.is_set():
                return
            if called == name and not gate.reached.is_set() and any(path in str(arg) for arg in args):
                gate.reached.set()
                assert gate.opened.wait(PATIENCE_SECONDS), "nobody opened the gate"

        self.on(hook)
        return gate


class OtherInodes(FaultyOs):
    """A file system that gives a file another inode at each mount.

    Args:
        mount: Which one it is.
    """

    def __init__(self, mount: int) -> None:
        super().__init__()
        self._shift = mount * 1_000_003

    def fstat(self, fd: int) -> os.stat_result:
        return self._shifted(super().fstat(fd))

    def stat(self, name: str, *, dir_fd: int | None = None) -> os.stat_result:
        return self._shifted(super().stat(name, dir_fd=dir_fd))

    def _shifted(self, status: os.stat_result) -> os.stat_result:
        return with_numbers(status, inode=status.st_ino + self._shift)


class NewInodes(FaultyOs):
    """A file system that gives a file another inode at each look."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count(1)

    def fstat(self, fd: int) -> os.stat_result:
        return with_numbers(super().fstat(fd), inode=next(self._numbers))

    def stat(self, name: str, *, dir_fd: int | None = None) -> os.stat_result:
        return with_numbers(super().stat(name, dir_fd=dir_fd), inode=next(self._numbers))


def with_numbers(status: os.stat_result, *, mode: int | None = None, inode: int | None = None) -> os.stat_result:
    """Return a status with another mode or inode."""
    # The second argument has the times in nanoseconds, which the ten numbers of the first have not.
    parts: Any = status.__reduce__()[1]
    numbers, others = parts
    changed = (status.st_mode if mode is None else mode, status.st_ino if inode is None else inode)
    return os.stat_result((*changed, *numbers[2:]), others)


class Gate:
    """A point at which a thread waits.

    Attributes:
        reached: Set when the thread is there.
        opened: To be set by the test.
    """

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
