"""The gateway: the real program under signals, and the root nursery in process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from miniclaw.channels.base import InboundMessage, InboundSender, OutboundMessage
from miniclaw.config import Config, Home, SessionConfig
from miniclaw.errors import WorkspaceHeldError
from miniclaw.gateway import Running, run_gateway
from miniclaw.session.runtime import GRACE_SECONDS
from tests.fakes.agent import StreamingModel
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import write_session
from tests.fakes.threads import settle
from tests.fakes.work_folder import left_in_work


class ScriptedChannel:
    """Sends what it is told to and keeps the replies; ends when its sender is closed."""

    name = "script"

    def __init__(self) -> None:
        self.say, self._script = trio.open_memory_channel[str](10)
        self.replied, self.replies = trio.open_memory_channel[OutboundMessage](10)

    async def run(
        self,
        inbound: InboundSender,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        task_status.started()
        async for text in self._script:
            await inbound.send(InboundMessage(self.name, "1", text))

    async def send(self, message: OutboundMessage) -> None:
        await self.replied.send(message)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def test_run_gateway_answers_until_its_channels_end(home: Home) -> None:
    """A message comes in, is answered and recorded; when the last channel ends, all is saved and the program ends."""
    channel = ScriptedChannel()
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await run_gateway(Config(), home, channels=[channel])

        nursery.start_soon(run)
        await channel.say.send("hello")
        assert (await channel.replies.receive()).content == "hello"
        channel.say.close()
    saved = json.loads((home.sessions_dir / "script_1.json").read_text())
    assert [message["role"] for message in saved["messages"]] == ["user", "assistant"]


async def test_run_gateway_turn_in_flight_is_given_its_grace(home: Home) -> None:
    """A turn that is going on when the channels end is finished, recorded and delivered."""

    go_on = trio.Event()
    channel, model = ScriptedChannel(), StreamingModel("better ", go_on, "late")
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await run_gateway(Config(), home, channels=[channel], model=model)

        nursery.start_soon(run)
        await channel.say.send("hello")
        await model.waiting.wait()
        channel.say.close()
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()
        assert (await channel.replies.receive()).content == "better late"
    assert "better late" in (home.sessions_dir / "script_1.json").read_text()


async def test_run_gateway_model_that_hangs_is_cut_and_the_message_kept(
    home: Home, mock_clock: trio.testing.MockClock
) -> None:
    """A turn that does not end within its grace is cut; question, unfinished answer and a mark are saved."""

    channel, model = ScriptedChannel(), StreamingModel("as far as", trio.Event())
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await run_gateway(Config(), home, channels=[channel], model=model)

        nursery.start_soon(run)
        await channel.say.send("hello")
        await model.waiting.wait()
        channel.say.close()
        await settle()
        mock_clock.jump(GRACE_SECONDS)
    saved = json.loads((home.sessions_dir / "script_1.json").read_text())
    assert [(message["role"], message["content"]) for message in saved["messages"]] == [
        ("user", "hello"),
        ("assistant", "as far as"),
        ("system", "[interrupted] the program was stopped before the answer was complete"),
    ]


async def test_run_gateway_started_line_says_what_matters(home: Home, logs: LogRecorder) -> None:
    """One line at the start says where everything lies, the TTL, and when the next cleanup is."""
    config = Config(session=SessionConfig(ttl=timedelta(days=7), cleanup_interval=None))
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: trio.TaskStatus[Running]) -> None:
            await run_gateway(config, home, task_status=task_status)

        await nursery.start(run)
        nursery.cancel_scope.cancel()
    event = logs.one("Gateway started")
    assert event["workspace"] == str(home.workspace)
    assert event["sessions_dir"] == str(home.sessions_dir)
    assert (event["model"], event["ttl"], event["next_cleanup"]) == ("echo", "7d", "never")


async def test_run_gateway_twice_is_refused(home: Home) -> None:
    """A second gateway on the workspace does not start."""
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: trio.TaskStatus[Running]) -> None:
            await run_gateway(Config(), home, task_status=task_status)

        await nursery.start(run)
        with pytest.RaisesGroup(WorkspaceHeldError):
            await run_gateway(Config(), home)
        nursery.cancel_scope.cancel()


# The real program -----------------------------------------------------------------------------------------------


@contextmanager
def gateway(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the gateway until the block ends; it is killed then if it still runs."""
    environment = {**os.environ, "MINICLAW_HOME": str(home)}
    with subprocess.Popen(
        [sys.executable, "-m", "miniclaw", "gateway", "--port", "0"], env=environment, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def command(home: Path, *args: str) -> Iterator[None]:
    """Run a command while the block runs; it is killed then if it still runs."""
    environment = {**os.environ, "MINICLAW_HOME": str(home)}
    with subprocess.Popen(
        [sys.executable, "-m", "miniclaw", *args], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.kill()


def read_until(process: subprocess.Popen[bytes], event: str) -> dict[str, Any]:
    """Read log lines until this event, and return it."""
    assert process.stderr is not None
    for line in process.stderr:
        fields: dict[str, Any] = json.loads(line)
        if fields["event"] == event:
            return fields
    raise AssertionError(f"the program ended without {event!r}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_gateway_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """A signal ends the program with success, and it says so."""
    with gateway(tmp_path) as process:
        read_until(process, "Gateway started")
        process.send_signal(number)
        assert read_until(process, "Signal received")["signal"] == number.name
        read_until(process, "Gateway stopped")
        assert process.wait(PATIENCE_SECONDS) == 0


def test_gateway_second_one_names_the_first_and_fails(tmp_path: Path) -> None:
    """A second gateway says which process holds the workspace, without a traceback, and exits with 1."""
    with gateway(tmp_path) as first:
        read_until(first, "Gateway started")
        with gateway(tmp_path) as second:
            _, error = second.communicate(timeout=PATIENCE_SECONDS)
        assert second.returncode == 1
        assert f"process {first.pid}" in error.decode()
        assert "Traceback" not in error.decode()


def test_gateway_signal_in_the_sweep_leaves_nothing_half_done(tmp_path: Path) -> None:
    """SIGTERM in the middle of a sweep: each session is there, whole, or gone; the work folder is empty.

    The sweep is one that a command has ordered: the gateway's own may wait for a machine that was just started.
    """
    home = Home(tmp_path)
    (tmp_path / "config.toml").write_text("[log]\nlevel = 'debug'\n")
    old = datetime.now(UTC) - timedelta(days=31)
    for number in range(3000):
        write_session(home.sessions_dir, f"telegram_{number}", old)
    with gateway(tmp_path) as process:
        read_until(process, "Gateway started")
        with command(tmp_path, "sessions", "cleanup", "--yes"):
            read_until(process, "Session removed")
            process.send_signal(signal.SIGTERM)
            interrupted = read_until(process, "Session cleanup interrupted")
            read_until(process, "Gateway stopped")
            assert process.wait(PATIENCE_SECONDS) == 0
    left = list(home.sessions_dir.glob("*.json"))
    assert len(left) == 3000 - interrupted["sessions_deleted"] > 0
    assert all(json.loads(path.read_text())["messages"] for path in left)
    assert left_in_work(home.sessions_dir) == []


def test_gateway_killed_leaves_a_workspace_that_starts(tmp_path: Path) -> None:
    """After kill -9 the lock is free and the next gateway starts."""
    with gateway(tmp_path) as process:
        read_until(process, "Gateway started")
        process.kill()
        process.wait()
    with gateway(tmp_path) as process:
        read_until(process, "Gateway started")


def refused_start(home: Path, *options: str, config: str = "") -> subprocess.CompletedProcess[str]:
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(config)
    return subprocess.run(
        [sys.executable, "-m", "miniclaw", "gateway", *options], env={**os.environ, "MINICLAW_HOME": str(home)},
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip


def test_gateway_start_that_is_refused_removes_nothing(tmp_path: Path) -> None:
    """Who is told that the program does not start finds everything as it was, and nothing in the history."""
    expired = write_session(Home(tmp_path).sessions_dir, "web_old", datetime(2020, 1, 1, tzinfo=UTC))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for _ in range(3):
            done = refused_start(tmp_path, "--port", str(taken.getsockname()[1]), config="[session]\nnotice = 'off'\n")
            assert "web.port" in done.stderr.splitlines()[-1]
            assert done.returncode == 2
    assert expired.exists()
    assert not (Home(tmp_path).sessions_dir / ".state" / "history.jsonl").exists()


@pytest.mark.parametrize(
    "config",
    ["[model]\nprovider='openai'\nbase_url='http://127.0.0.1:1'\nmodel='x'\napi_key_env='MINICLAW_NO_SUCH'\n",
     "[telegram]\nbot_token_env='MINICLAW_NO_SUCH'\n"],
)  # fmt: skip
def test_gateway_configured_wrongly_is_exit_code_2(tmp_path: Path, config: str) -> None:
    """What is only found at the start is the same mistake as what the file itself shows."""
    done = refused_start(tmp_path, "--port", "0", config=config)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "MINICLAW_NO_SUCH is not set" in done.stderr


def test_gateway_output_that_nobody_takes_does_not_end_it(tmp_path: Path) -> None:
    """A full disk under the log is no reason to be silent to everybody."""
    environment = {**os.environ, "MINICLAW_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "miniclaw", "gateway", "--port", "0"]
    with (
        open("/dev/full", "w") as full,
        subprocess.Popen(command, env=environment, stdout=full, stderr=subprocess.PIPE) as process,
    ):
        read_until(process, "Gateway started")
        process.terminate()
        read_until(process, "Gateway stopped")
        process.communicate(timeout=PATIENCE_SECONDS)
