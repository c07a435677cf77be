"""The queue before the standard streams: order and completeness for a reader, a counted gap where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from miniclaw import output_queue
from miniclaw.output_queue import OutputQueue
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.stalled_pipe import StalledPipe, stalled_pipe

OpenQueue = Callable[..., OutputQueue]

SMALL_BYTES = 1000
RECORD = b"x" * 36  # with what a record takes besides: a tenth of `SMALL_BYTES`


@pytest.fixture
def pipe() -> Iterator[StalledPipe]:
    with stalled_pipe() as pipe:
        yield pipe


@pytest.fixture
def open_queue(pipe: StalledPipe) -> Iterator[OpenQueue]:
    """Makes queues before the pipe; their threads have done with it when the test ends."""
    queues = []

    def make(on_drained: Callable[[int], None] | None = None) -> OutputQueue:
        queues.append(OutputQueue(pipe.writer, on_drained=on_drained))
        return queues[-1]

    yield make
    pipe.close_reader()
    for queue in queues:
        assert queue.flush(PATIENCE_SECONDS)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue holds ten records."""
    monkeypatch.setattr(output_queue, "MAX_BYTES", SMALL_BYTES)


def numbered(number: int) -> bytes:
    return f"{number:035}\n".encode()


class Told:
    """What a queue tells once it has drained."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.event = threading.Event()

    def __call__(self, dropped: int) -> None:
        self.counts.append(dropped)
        self.event.set()


# A reader -------------------------------------------------------------------------------------------------------


def test_queue_that_is_read_writes_all_of_all_threads_in_their_order(pipe: StalledPipe, open_queue: OpenQueue) -> None:
    """Records are whole, none is missing or doubled, and those of one thread are in its order."""
    queue = open_queue()

    def write(thread: int) -> None:
        for number in range(500):
            queue.put(f"{thread} {number}\n".encode())

    threads = [threading.Thread(target=write, args=[thread]) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queue.put(b"end\n")
    lines = pipe.read_until(b"end\n").decode().splitlines()
    for name in range(4):
        assert [line for line in lines if line.startswith(f"{name} ")] == [f"{name} {n}" for n in range(500)]
    assert len(lines) == 4 * 500 + 1
    assert queue.dropped == 0


def test_queue_record_larger_than_the_queue_is_written(pipe: StalledPipe, open_queue: OpenQueue, small: None) -> None:
    """Where nothing else waits; it is more than the pipe takes at once, too."""
    queue = open_queue()
    large = b"y" * 200_000
    queue.put(large)
    queue.put(b"does not fit")
    assert pipe.read_until(b"y" * 200_000) == large
    assert queue.dropped == 1


def test_queue_before_a_non_blocking_descriptor_waits_for_its_reader(pipe: StalledPipe, open_queue: OpenQueue) -> None:
    """Another process that shares the terminal may have made it so."""
    os.set_blocking(pipe.writer, False)
    queue = open_queue()
    queue.put(b"z" * 20_000)
    queue.put(b"end\n")
    assert pipe.read_until(b"end\n") == b"z" * 20_000 + b"end\n"


# No reader ------------------------------------------------------------------------------------------------------


def test_queue_that_is_full_drops_counts_and_leaves_one_gap(
    pipe: StalledPipe, open_queue: OpenQueue, small: None
) -> None:
    """What was first stays; what came later is one gap; once it is read, the number is told and all goes on."""
    told = Told()
    queue = open_queue(on_drained=told)
    for number in range(25):
        queue.put(numbered(number))
    assert queue.dropped == 15
    assert not told.event.is_set()
    assert pipe.read_until(numbered(9)) == b"".join(map(numbered, range(10)))
    assert told.event.wait(PATIENCE_SECONDS)
    assert told.counts == [15]
    queue.put(numbered(25))
    assert pipe.read_until(numbered(25)) == numbered(25)
    assert queue.flush(PATIENCE_SECONDS)
    assert (told.counts, queue.dropped) == ([15], 15)


def test_queue_goes_on_dropping_until_it_has_drained(
    pipe: StalledPipe, open_queue: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that takes a little does not scatter gaps over the output."""
    page = b"p" * 4000  # one of them fits into the pipe
    monkeypatch.setattr(output_queue, "MAX_BYTES", 3 * 4064)
    queue = open_queue()
    for _ in range(4):
        queue.put(page)
    assert queue.dropped == 1
    pipe.read_filling()
    with queue._changed:
        assert queue._changed.wait_for(lambda: len(queue._records) == 2, PATIENCE_SECONDS)
        queue.put(page)
        assert (queue.dropped, len(queue._records)) == (2, 2)


def test_queue_that_is_not_read_is_flushed_in_vain(pipe: StalledPipe, open_queue: OpenQueue) -> None:
    """The wait is bounded, and says how it ended."""
    queue = open_queue()
    queue.put(b"end\n")
    assert not queue.flush(0)
    assert pipe.read_until(b"end\n") == b"end\n"
    assert queue.flush(PATIENCE_SECONDS)


def test_queue_that_is_flushed_has_told_of_its_gap(pipe: StalledPipe, open_queue: OpenQueue, small: None) -> None:
    """The line about what was dropped is a record like the others, and the last one of a process that ends."""
    telling, go_on = threading.Event(), threading.Event()

    def tell(dropped: int) -> None:
        telling.set()
        assert go_on.wait(PATIENCE_SECONDS)
        queue.put(f"{dropped} dropped\n".encode())

    queue: OutputQueue = open_queue(tell)
    for number in range(12):
        queue.put(numbered(number))
    pipe.read_until(numbered(9))
    assert telling.wait(PATIENCE_SECONDS)
    assert not queue.flush(0)
    go_on.set()
    assert queue.flush(PATIENCE_SECONDS)
    assert pipe.read_until(b"dropped\n") == b"2 dropped\n"


def test_queue_before_a_full_disk_counts_and_does_not_tell_it_there() -> None:
    """What cannot be written is counted; that it was is told when something can be written again."""
    told = Told()
    with open("/dev/full", "wb", buffering=0) as full:
        queue = OutputQueue(full.fileno(), on_drained=told)
        for _ in range(3):
            queue.put(RECORD)
        assert queue.flush(PATIENCE_SECONDS)
        assert (queue.dropped, told.counts) == (3, [])
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), full.fileno())
        queue.put(RECORD)
        assert queue.flush(PATIENCE_SECONDS)
    assert (queue.dropped, told.counts) == (3, [3])


def test_queue_takes_a_record_of_a_finalizer_that_runs_in_it(tmp_path: Path) -> None:
    """Garbage may be collected anywhere, and may log: no thread waits for itself."""

    class Record(bytes):
        def __len__(self) -> int:  # called while the queue is locked
            if not logged.is_set():
                logged.set()
                queue.put(b"of the finalizer\n")
            return super().__len__()

    logged = threading.Event()
    with open(tmp_path / "log", "wb", buffering=0) as file:
        queue = OutputQueue(file.fileno())
        thread = threading.Thread(target=queue.put, args=[Record(b"end\n")], daemon=True)
        thread.start()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
        assert queue.flush(PATIENCE_SECONDS)
    assert (tmp_path / "log").read_bytes() == b"of the finalizer\nend\n"


def test_queue_without_a_thread_to_be_had_tries_again(
    pipe: StalledPipe, open_queue: OpenQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine at its limit of threads is no reason to fail where something is logged."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    queue = open_queue()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        queue.put(b"first\n")
    assert not queue.flush(0)
    queue.put(b"end\n")
    assert pipe.read_until(b"end\n") == b"first\nend\n"


# A process ------------------------------------------------------------------------------------------------------


def python(script: str, *, stderr: int = subprocess.PIPE, stdout: int = subprocess.PIPE) -> tuple[int, str, str]:
    """Run a script; return exit code, standard output and standard error."""
    begin = "import os, sys, threading\nfrom miniclaw.output_queue import *\nqueue_output('stdout', 'stderr')\n"
    with subprocess.Popen([sys.executable, "-c", begin + script], stdout=stdout, stderr=stderr) as process:
        try:
            out, error = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()
        return process.returncode, (out or b"").decode(), (error or b"").decode()


PATIENT = f"from miniclaw import output_queue; output_queue.FLUSH_SECONDS = {PATIENCE_SECONDS}\n"
"""Begins a script whose output is read: a busy reader needs more than a second for it."""


def test_process_that_ends_has_written_everything() -> None:
    """An ordinary end loses nothing, by whichever way it was written; an error at the end is told."""
    code, out, error = python(
        f"{PATIENT}"
        "import logging, warnings\n"
        "from miniclaw.daemon.logging import configure_logging\n"
        "from miniclaw.loggers import get_logger\n"
        "configure_logging('info', 'json')\n"
        "for number in range(1000): get_logger('x').info('Event', number=number)\n"
        "print('printed', file=sys.stderr)\n"
        "warnings.warn('warned')\n"
        "logging.getLogger('library').warning('logged')\n"
        "print('shown ä')\n"
        "raise SystemError('the end')\n"
    )
    lines = error.splitlines()
    assert [json.loads(line)["number"] for line in lines[:1000]] == list(range(1000))
    assert lines[1000] == "printed"
    assert [word in error for word in ("UserWarning: warned", "logged\n", "SystemError: the end\n")] == [True] * 3
    assert (code, out) == (1, "shown ä\n")


@pytest.mark.parametrize(
    "end", ["sys.exit(3)", "raise SystemError", "sys.exit('a sentence')", "print('x' * 100_000, file=sys.stderr)"]
)
def test_process_whose_output_is_not_read_ends(pipe: StalledPipe, end: str) -> None:
    """Neither the end of the interpreter nor what is written at it waits for a reader."""
    codes = {"sys.exit(3)": 3, "print('x' * 100_000, file=sys.stderr)": 0}
    code, _, _ = python(
        f"print('log', file=sys.stderr); print('out', flush=True)\n{end}", stdout=pipe.writer, stderr=pipe.writer
    )
    assert code == codes.get(end, 1)


FORK = """
from miniclaw import output_queue
from miniclaw.daemon.logging import configure_logging
from miniclaw.loggers import get_logger

configure_logging("info", "json")
log = get_logger("x")
queue = output_queue._queues["stderr"]
held, forked = threading.Event(), threading.Event()

def hold():
    with queue._changed:
        held.set()
        forked.wait()

log.info("Before")
threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if not child:
    for number in range(100):
        log.info("Child", number=number)
    os._exit(0)
forked.set()
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
log.info("After", code=code)
"""


def test_process_that_is_forked_while_it_logs_logs_in_the_child() -> None:
    """The child has neither the thread nor a lock that it waits for; what it logs is there, and the parent's once."""
    code, _, error = python(PATIENT + FORK)
    events = [json.loads(line) for line in error.splitlines()]
    assert [event["number"] for event in events if event["event"] == "Child"] == list(range(100))
    assert [event["event"] for event in events if event["event"] != "Child"] == ["Before", "After"]
    assert (code, events[-1]["code"]) == (0, 0)


def test_process_that_is_forked_before_an_output_that_is_not_read_has_a_child_that_ends(pipe: StalledPipe) -> None:
    """It waits for its first record for a second, and for no more of them."""
    code, out, _ = python(FORK + "print(output_queue.FLUSH_SECONDS, code)\n", stderr=pipe.writer)
    assert (code, out) == (0, "1 0\n")
