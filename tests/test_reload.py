"""The reload of the configuration in one process: one at a time, whole or not at all, and never the gateway's end."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from miniclaw.config import Config, Home, LogConfig, SessionConfig, show_config
from miniclaw.config.in_force import ConfigInForce, changed_keys, needs_restart
from miniclaw.config.model import ModelConfig
from miniclaw.config.web import WebConfig
from miniclaw.daemon.reload import Reload
from miniclaw.errors import ConfigError
from miniclaw.gateway import Running, run_gateway
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.threads import settle, until, wait_in_thread

RELOADED = "Configuration reloaded"
NOT_RIGHT = "Configuration not reloaded: it is not right"
NEEDS_RESTART = "Configuration not reloaded: these keys need a restart"
FAILED = "Configuration reload failed"

WEEK = Config(session=SessionConfig(ttl=timedelta(days=7)))


def test_keys_are_exchanged_by_their_tables() -> None:
    """Rules, the log and whom to tell can be exchanged; what is opened at the start cannot, but for two lists."""
    keys = [f"{table}.{key}" for table, values in show_config(WEEK).items() for key in values]
    exchanged = {key for key in keys if not needs_restart(key)}
    tables = ("session.", "notify.", "log.")
    assert exchanged == {key for key in keys if key.startswith(tables)} | {
        "web.allowed_hosts",
        "telegram.allowed_users",
    }
    assert not needs_restart("session.ttl_by_channel.web")


def test_changed_keys_are_those_that_differ() -> None:
    """By their names with the table."""
    other = Config(
        session=SessionConfig(ttl_by_channel={"web": None}, mode="announce"),
        log=LogConfig(level="debug"),
        web=WebConfig(port=1),
    )
    assert set(changed_keys(Config(), other)) == {
        "session.mode", "session.ttl_by_channel.web", "web.port", "log.level",
    }  # fmt: skip
    assert changed_keys(other, other) == []


class Source:
    """A configuration that is read; it may hold up the thread that reads it.

    Attributes:
        config: Returned, or raised, by the next reading.
        reads: How many there were.
    """

    def __init__(self, config: Config | BaseException) -> None:
        self.config = config
        self.reads = 0
        self.reading, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def __call__(self) -> Config:
        self.reads += 1
        found = self.config
        self.reading.set()
        assert self.go_on.wait(PATIENCE_SECONDS)
        if isinstance(found, BaseException):
            raise found
        return found


@asynccontextmanager
async def reloading(source: Source) -> AsyncIterator[tuple[Reload, ConfigInForce]]:
    """Run a reload around a block."""
    in_force = ConfigInForce(Config())
    reload = Reload(in_force, source)

    async def put_in_force(config: Config) -> None:
        await trio.lowlevel.checkpoint()
        in_force.config = config

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reload.run, put_in_force)
        yield reload, in_force
        nursery.cancel_scope.cancel()


async def test_reload_that_is_asked_for_while_one_is_under_way_is_made_after_it(logs: LogRecorder) -> None:
    """Once, however often it was asked for; so the last change of the file is never missed."""
    source = Source(WEEK)
    source.go_on.clear()
    async with reloading(source) as (reload, in_force):
        reload.request()
        await wait_in_thread(source.reading)
        source.config = Config(session=SessionConfig(ttl=timedelta(days=8)))
        for _ in range(3):
            reload.request()
        source.go_on.set()
        await settle()
        assert (source.reads, in_force.config.session.ttl) == (2, timedelta(days=8))
    assert [event["keys"] for event in logs.named(RELOADED)] == [["session.ttl"], ["session.ttl"]]


async def test_reload_of_what_is_in_force_says_so_and_does_nothing(logs: LogRecorder) -> None:
    """An administrator is told that the file was read."""
    async with reloading(Source(Config())) as (reload, in_force):
        before = in_force.config
        reload.request()
        await settle()
        assert in_force.config is before
    assert logs.one(RELOADED)["keys"] == []


async def test_reload_of_what_is_not_right_keeps_what_was(logs: LogRecorder) -> None:
    """The error is told whole; the next file that is right is taken."""
    logs.expect_error(NOT_RIGHT)
    source = Source(ConfigError(Path("/x/config.toml"), "0 is not a duration", key="session.ttl"))
    async with reloading(source) as (reload, in_force):
        reload.request()
        await settle()
        assert in_force.config == Config()
        source.config = WEEK
        reload.request()
        await settle()
        assert in_force.config == WEEK
    assert logs.one(NOT_RIGHT)["problems"] == ["/x/config.toml: session.ttl: 0 is not a duration"]


async def test_reload_that_needs_a_restart_is_refused_whole(logs: LogRecorder) -> None:
    """Half of a file is in force nowhere: the keys are named, and all stays as it was."""
    logs.expect_error(NEEDS_RESTART)
    changed = Config(session=WEEK.session, web=WebConfig(port=1), model=ModelConfig(max_retries=7))
    async with reloading(Source(changed)) as (reload, in_force):
        reload.request()
        await settle()
        assert in_force.config == Config()
    assert logs.one(NEEDS_RESTART)["keys"] == ["model.max_retries", "web.port"]
    assert logs.named(RELOADED) == []


@pytest.mark.parametrize("error", [KeyError("theirs"), asyncio.CancelledError("theirs")])
async def test_reload_that_fails_in_the_programs_own_code_ends_nothing(logs: LogRecorder, error: BaseException) -> None:
    """Foreign code is contained, and the next reload goes on."""
    logs.expect_error(FAILED)
    source = Source(error)
    async with reloading(source) as (reload, in_force):
        reload.request()
        await settle()
        source.config = WEEK
        reload.request()
        await settle()
        assert in_force.config == WEEK
    assert "theirs" in logs.one(FAILED)["traceback"]


async def test_reload_that_hangs_does_not_hold_up_the_end() -> None:
    """A file on a server that does not answer is no reason to stay."""
    source = Source(WEEK)
    source.go_on.clear()
    try:
        with trio.fail_after(PATIENCE_SECONDS):
            async with reloading(source) as (reload, _):
                reload.request()
                await wait_in_thread(source.reading)
    finally:
        source.go_on.set()


# The gateway ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def gateway(
    home: Path, source: Callable[[], Config], on_reloaded: Callable[[Config], None] | None = None
) -> AsyncIterator[Running]:
    """Run a gateway that reloads around a block."""
    run = partial(run_gateway, Config(), Home(home), reload=source, on_reloaded=on_reloaded)
    async with trio.open_nursery() as nursery:
        running: Running = await nursery.start(run)
        yield running
        nursery.cancel_scope.cancel()


async def hang_up(logs: LogRecorder, event: str = RELOADED) -> None:
    """Send SIGHUP to this process, and wait for an event that had not come before."""
    before = len(logs.named(event))
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: len(logs.named(event)) > before)
    await wait_all_tasks_blocked()


async def test_run_gateway_reloads_at_sighup_and_tells_its_program(tmp_path: Path, logs: LogRecorder) -> None:
    """What changed holds, and what the program does with its part of it is done on the trio thread."""
    told: list[Config] = []

    def on_reloaded(config: Config) -> None:
        trio.lowlevel.current_task()
        told.append(config)

    session = SessionConfig(
        ttl=timedelta(days=7),
        mode="announce",
        notice="off",
        persistence_interval=timedelta(seconds=5),
        max_session_bytes=2**20,
        cleanup_interval=None,
    )
    config = Config(session=session)
    async with gateway(tmp_path, Source(config), on_reloaded) as running:
        await hang_up(logs)
        rules = running.runtime.rules
        assert rules.policy == session.retention_policy()
        assert (rules.removes, rules.notice, rules.persistence_interval_seconds) == (False, False, 5)
        assert running.runtime.manager.max_session_bytes == rules.max_session_bytes == 2**20
        assert rules.schedule.interval is None
        assert running.runtime.cleanup_service.next_run_at is None
    assert told == [config]
    assert set(logs.one(RELOADED)["keys"]) == {
        "session.ttl", "session.mode", "session.notice", "session.persistence_interval", "session.cleanup_interval",
        "session.max_session_bytes",
    }  # fmt: skip


async def test_run_gateway_reload_of_the_log_alone_disturbs_no_cleanup(tmp_path: Path, logs: LogRecorder) -> None:
    """A run that is going goes on: its rules are the same."""
    async with gateway(tmp_path, Source(Config(log=LogConfig(level="debug")))) as running:
        await hang_up(logs)
        assert running.runtime.cleanup._changes == 0


async def test_run_gateway_reload_warns_of_a_channel_that_there_is_not(tmp_path: Path, logs: LogRecorder) -> None:
    """As the start does: most likely it is misspelt."""
    session = SessionConfig(ttl_by_channel={"telegran": timedelta(days=1)})
    async with gateway(tmp_path, Source(Config(session=session))):
        await hang_up(logs, "TTL of an unknown channel")
    assert logs.one("TTL of an unknown channel")["key"] == "session.ttl_by_channel.telegran"


async def test_run_gateway_whose_program_fails_in_a_reload_goes_on(tmp_path: Path, logs: LogRecorder) -> None:
    """A bug of theirs ends nothing."""
    logs.expect_error(FAILED)

    def on_reloaded(_config: Config) -> None:
        raise KeyError("theirs")

    source = Source(WEEK)
    async with gateway(tmp_path, source, on_reloaded) as running:
        await hang_up(logs, FAILED)
        assert running.runtime.rules.policy.ttl == timedelta(days=7)
        await hang_up(logs)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_run_gateway_that_reloads_ends_by_the_other_signals(
    tmp_path: Path, logs: LogRecorder, number: int
) -> None:
    """Only SIGHUP has another meaning then."""
    source = Source(WEEK)
    source.go_on.clear()
    try:
        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(run_gateway, Config(), Home(tmp_path), reload=source))
                os.kill(os.getpid(), signal.SIGHUP)
                await wait_in_thread(source.reading)
                os.kill(os.getpid(), number)
    finally:
        source.go_on.set()
    assert logs.one("Gateway stopped")
    assert logs.named(RELOADED) == []
