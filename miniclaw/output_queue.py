"""Output that a stalled reader cannot block: a terminal that is stopped by Ctrl-S, a pipe that is full.

A record is put into a bounded queue, and a daemon thread writes it. A full queue drops records and counts them, until
it has drained: they leave one gap in the output, and a record after the gap gives their number.

The thread writes to the descriptor, past the buffers of ``sys.stdout`` and ``sys.stderr``: the interpreter aborts at
exit if a daemon thread holds the lock of such a buffer.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Condition, Thread
from time import monotonic
from typing import Any, Final, Literal, TextIO, TypeAlias, cast

from miniclaw.loggers import get_logger

MAX_BYTES: Final = 1024 * 1024
"""Capacity of a queue; a single record may be larger."""

FLUSH_SECONDS: Final = 1
"""Longest time for which the end of the process waits for the writes."""

_RECORD_BYTES: Final = 64
"""The cost of a record in addition to its text."""

log: Final = get_logger("miniclaw.log")


def write_all(fd: int, data: bytes) -> None:
    """Write to a descriptor, and wait for its reader; raises OSError if the write failed, perhaps after a part."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:  # another process has made the terminal or pipe non-blocking
            select.select([], [fd], [])


class OutputQueue:
    """A queue of records before a descriptor. Any thread may put one, a finalizer too.

    A forked child does not inherit the queued records. A thread of its own writes its records; it waits for each one,
    at most `FLUSH_SECONDS`, because it may end without the exit handlers of the interpreter.

    Args:
        fd: The descriptor. A record that the system refuses, as on a full disk, is dropped and counted.
        on_drained: Called in the queue's thread, once the queue has drained, with the number of records that were
            dropped since the last call.

    Attributes:
        dropped: Number of records that were dropped since the start.
    """

    def __init__(self, fd: int, *, on_drained: Callable[[int], None] | None = None) -> None:
        self._fd = fd
        self._on_drained = on_drained
        self.dropped: int = 0
        self._begin(forked=False)

    def _begin(self, *, forked: bool) -> None:
        self._pid = os.getpid()
        self._forked = forked
        # Guards the attributes below. It is reentrant: a finalizer may log while its thread holds it.
        self._changed = Condition()
        self._records = deque[bytes]()  # the first one is being written
        self._bytes = 0
        self._is_full = False  # from the first dropped record until the queue has drained
        self._untold = 0  # dropped since `on_drained` was last called
        self._thread: Thread | None = None

    def put(self, record: bytes) -> None:
        """Queue a record, or drop it; never waits for the reader."""
        if os.getpid() != self._pid:
            self._begin(forked=True)
        with self._changed:
            size = len(record) + _RECORD_BYTES
            self._is_full = self._is_full or (self._bytes > 0 and self._bytes + size > MAX_BYTES)
            if self._is_full:
                self._drop()
                return
            self._records.append(record)
            self._bytes += size
            waits = self._forked and len(self._records) == 1
            self._changed.notify_all()
            if self._thread is None:
                thread = Thread(target=self._run, name="miniclaw output", daemon=True)
                with suppress(RuntimeError):  # no thread can be started: the next record tries again
                    thread.start()
                    self._thread = thread
        if waits:
            self.flush(FLUSH_SECONDS)

    def flush(self, seconds: float) -> bool:
        """Wait until all records are written, at most so many seconds; return whether they are."""
        if os.getpid() != self._pid:
            return True
        with self._changed:
            return self._changed.wait_for(lambda: not self._records, seconds)

    def _drop(self) -> None:
        self.dropped += 1
        self._untold += 1

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._records)
                record = self._records[0]
            written, untold = False, 0
            with suppress(OSError):
                write_all(self._fd, record)
                written = True
            with self._changed:
                if not written:
                    self._drop()
                if len(self._records) == 1:
                    self._is_full = False
                    if written:  # else a report could not be written either
                        untold, self._untold = self._untold, 0
            if untold and self._on_drained is not None:
                self._on_drained(untold)
            with self._changed:  # only now, so that `flush` also waits for the record of `on_drained`
                self._records.popleft()
                self._bytes -= len(record) + _RECORD_BYTES
                self._changed.notify_all()


class _QueuedFile(io.RawIOBase):
    """The file under a text stream: each write puts a record."""

    def __init__(self, queue: OutputQueue, fd: int) -> None:
        self._queue = queue
        self._fd = fd

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        record = bytes(data)
        self._queue.put(record)
        return len(record)

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)


StreamName: TypeAlias = Literal["stdout", "stderr"]

_queues: Final[dict[StreamName, OutputQueue]] = {}
"""The queues before the standard streams of this process; filled by `queue_output` only."""


def queue_output(*names: StreamName) -> None:
    """Put a queue before standard streams for the rest of the process, whatever code writes to them.

    At exit the interpreter waits until everything is written, at most `FLUSH_SECONDS`. To be called once.
    """
    replaced: dict[StreamName, TextIO] = {}
    for name in names:
        stream: TextIO = getattr(sys, name)
        fd = stream.fileno()
        queue = _queues[name] = OutputQueue(fd, on_drained=_tell_dropped if name == "stderr" else None)
        file = cast("io.BufferedWriter", _QueuedFile(queue, fd))
        setattr(sys, name, io.TextIOWrapper(file, stream.encoding, stream.errors, line_buffering=True))
        replaced[name] = stream
    atexit.register(_flush_at_exit, replaced)


def dropped_records() -> int:
    """Return the number of log records dropped since the start, because the log was not read or not writable."""
    return _queues["stderr"].dropped if "stderr" in _queues else 0


def _tell_dropped(records: int) -> None:
    log.error("Log records were dropped; the log was not read, or could not be written", records=records)


def _flush_at_exit(replaced: Mapping[StreamName, TextIO]) -> None:
    deadline = monotonic() + FLUSH_SECONDS
    for name, stream in replaced.items():
        if _queues[name].flush(max(0.0, deadline - monotonic())):
            setattr(sys, name, stream)  # the queue's thread ends with the interpreter, which may still write
