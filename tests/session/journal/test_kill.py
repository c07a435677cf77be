"""A process that is killed, or stopped, right after it has acknowledged: the next start has it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from miniclaw.session.runtime import open_runtime
from tests.fakes.clock import WallClock
from tests.fakes.crash import restarted, segments
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import read_contents, said_in

SPEAKER = """
import signal, sys, threading
from datetime import UTC, datetime
import trio
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.runtime import open_runtime
from miniclaw.session.types import Message

HANGS = "hang" in sys.argv

class Hanging(OsCalls):
    hangs = False
    def sync_data(self, fd):
        if self.hangs:
            threading.Event().wait()
        super().sync_data(fd)
    def rename(self, source, target, **fds):
        if HANGS and target.startswith("web_"):
            threading.Event().wait()
        super().rename(source, target, **fds)

async def main():
    fs = Hanging()
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with open_runtime(sys.argv[1], cleanup_interval_seconds=None, fs=fs) as runtime:
            manager = runtime.manager
            await manager.get_or_create_session("web", "a")
            for number in range(3):
                await manager.add_message("web_a", Message("user", str(number), datetime.now(UTC)), durable=True)
                print(number, flush=True)
            fs.hangs = HANGS
            async for _ in signals:
                print("stopping", flush=True)
                return

trio.run(main)
"""


@contextmanager
def speaking(sessions_dir: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that acknowledges three messages and then waits for SIGTERM."""
    command = [sys.executable, "-c", SPEAKER, str(sessions_dir), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(3)] == ["0\n", "1\n", "2\n"]
            yield process
        finally:
            process.kill()


async def test_killed_process_leaves_a_journal_that_the_next_one_takes_over(
    sessions_dir: Path, clock: WallClock
) -> None:
    """Its lock is gone with it; what it had acknowledged is in the file after the next start."""
    with speaking(sessions_dir) as process:
        assert list(sessions_dir.glob("*.json")) == []
        process.kill()
        process.wait(PATIENCE_SECONDS)
        assert said_in(sessions_dir, "web_a") == [("user", str(number)) for number in range(3)]
        async with restarted(sessions_dir, clock):
            assert read_contents(sessions_dir / "web_a.json") == ["0", "1", "2"]


def test_stopped_process_with_time_to_spare_leaves_no_segment(sessions_dir: Path) -> None:
    """The files hold all, as without a journal."""
    with speaking(sessions_dir) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    assert segments(sessions_dir) == []
    assert read_contents(sessions_dir / "web_a.json") == ["0", "1", "2"]


@pytest.mark.parametrize("last", [signal.SIGKILL, None], ids=["then killed", "to its deadline"])
async def test_stopped_process_on_a_hung_disk_loses_nothing_acknowledged(
    sessions_dir: Path, clock: WallClock, last: signal.Signals | None
) -> None:
    """Whether a supervisor kills it, or it ends by its deadline, which is no failure: the journal has it all."""
    with speaking(sessions_dir, "hang") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "stopping\n"
        if last is not None:
            process.send_signal(last)
        assert process.wait(PATIENCE_SECONDS) == (0 if last is None else -last)
    async with open_runtime(sessions_dir, clock=clock, cleanup_interval_seconds=None):
        assert read_contents(sessions_dir / "web_a.json") == ["0", "1", "2"]
