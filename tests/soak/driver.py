"""A real gateway with chat traffic, which is going to be killed: `run_gateway` with a channel that talks to itself.

What it did is written to a record outside of the workspace, a line at a time and before anything else happens::

    said <chat> <number> <monotonic ns>   the answer was delivered; the message and the answer are in memory
    saved <chat> <number>                 everything up to this message was acknowledged as saved
    refused <chat> <number> <ms>          the wait for that ended, after so long, with an error
    removed <session id>                  the cleanup reported this removal
    left <name>                           found in the work folder after the start-up
    trouble <text>                        an ERROR was logged
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import MutableMapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import trio

from miniclaw.channels.base import InboundMessage, InboundSender, OutboundMessage
from miniclaw.config import Config, Home, SessionConfig
from miniclaw.errors import StoreError
from miniclaw.gateway import run_gateway
from miniclaw.session.live.save_job import SaveReport
from miniclaw.session.manager import SessionManager
from miniclaw.session.runtime import SessionRuntime
from tests.fakes.work_folder import left_in_work

CHANNEL = "soak"


class Record:
    """Appends lines to a file; what is written survives kill -9 of the writer, for it is in the kernel."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __call__(self, *words: object) -> None:
        os.write(self._fd, (" ".join(map(str, words)) + "\n").encode())

    def log(self, _logger: Any, level: str, event: MutableMapping[str, Any]) -> Any:
        """Record removals and errors; a structlog processor."""
        if event["event"] == "Session removed":
            self("removed", event["session_id"])
        elif level == "error":
            self("trouble", repr(dict(event)))
        raise structlog.DropEvent


class Traffic:
    """A channel over which some chats talk, each as soon as it is answered; implements `Channel`."""

    name = CHANNEL

    def __init__(self, chats: list[str], first: int, record: Record, chance: random.Random) -> None:
        self._record = record
        self._chance = chance
        self._next = first
        self._answered = {chat: trio.Event() for chat in chats}
        self.said: dict[str, int] = {}
        self.manager: SessionManager | None = None  # with it, some chats have their messages confirmed

    async def run(
        self,
        inbound: InboundSender,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        async with trio.open_nursery() as nursery:
            for chat in self._answered:
                nursery.start_soon(self._talk, chat, inbound)
            task_status.started()

    async def _talk(self, chat: str, inbound: InboundSender) -> None:
        while True:
            await trio.sleep(self._chance.uniform(0, 0.02))
            self._answered[chat] = trio.Event()
            number, self._next = self._next, self._next + 1
            text = f"{number} " + "x" * self._chance.choice((10, 200, 4000))
            await inbound.send(InboundMessage(self.name, chat, text))
            await self._answered[chat].wait()
            if self.manager is not None and self._chance.random() < 0.5:
                began = time.monotonic()
                try:
                    await self.manager.durable(f"{CHANNEL}_{chat}")
                except StoreError:
                    self._record("refused", chat, number, int(1000 * (time.monotonic() - began)))
                else:
                    self._record("saved", chat, number)

    async def send(self, message: OutboundMessage) -> None:
        await trio.lowlevel.checkpoint()
        number = int(message.content.split(" ", 1)[0])
        self.said[message.chat_id] = number
        self._record("said", message.chat_id, number, time.monotonic_ns())
        self._answered[message.chat_id].set()


def record_saves(runtime: SessionRuntime, traffic: Traffic, record: Record) -> None:
    """Have every autosave, and every confirmation, leave in the record what it acknowledged."""
    saver = runtime.manager.saver
    save = saver.save_due

    async def recording(interval_seconds: float) -> SaveReport:
        said = dict(traffic.said)
        report = await save(interval_seconds)
        for chat, number in said.items():
            if f"{CHANNEL}_{chat}" not in report.failed:
                record("saved", chat, number)
        return report

    setattr(saver, "save_due", recording)  # noqa: B010 - a method is no attribute to mypy
    traffic.manager = runtime.manager


async def _clean_up(runtime: SessionRuntime, chance: random.Random) -> None:
    while True:
        await trio.sleep(chance.uniform(0, 0.05))
        await runtime.cleanup.run()


def run(home: Path, record_path: Path, ready_fd: int, chats: list[str], first: int, interval: float, seed: str) -> None:
    """Run until killed; a byte on `ready_fd` says that the traffic begins."""
    record = Record(record_path)
    chance = random.Random(seed)  # noqa: S311 - replayable on purpose
    structlog.configure(processors=[record.log], cache_logger_on_first_use=False)
    traffic = Traffic(chats, first, record, chance)

    async def before(runtime: SessionRuntime) -> None:
        for entry in await trio.to_thread.run_sync(left_in_work, runtime.sessions_dir):
            record("left", entry)
        record_saves(runtime, traffic, record)
        trio.lowlevel.spawn_system_task(partial(_clean_up, runtime, chance))
        os.write(ready_fd, b"r")

    session = SessionConfig(persistence_interval=timedelta(seconds=interval), cleanup_interval=None)
    trio.run(partial(run_gateway, Config(session=session), Home(home), channels=[traffic], before=before))


def start(arguments: dict[str, Any], *, cold: bool) -> int:
    """Start a gateway in a process of its own, forked or `cold`; return its id. The arguments are those of `run`."""
    if cold:
        command = [sys.executable, "-m", "tests.soak.driver", json.dumps(arguments)]
        return subprocess.Popen(command, pass_fds=[arguments["ready_fd"]]).pid
    if pid := os.fork():
        return pid
    try:
        run(Path(arguments.pop("home")), Path(arguments.pop("record_path")), **arguments)
    finally:
        os._exit(70)


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    run(Path(arguments.pop("home")), Path(arguments.pop("record_path")), **arguments)
