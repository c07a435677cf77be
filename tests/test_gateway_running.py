"""The gateway inside another program: started by a nursery, ended by that program, also in a thread of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import miniclaw.gateway
from miniclaw import DueEntry, Keep, LoadSession, RemovalCandidate, Remove, RemovedSession
from miniclaw.config import Config, parse_config
from miniclaw.gateway import Home, Running, run_gateway
from tests.fakes.agent import StreamingModel
from tests.fakes.clock import WallClock
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import write_session
from tests.fakes.threads import until
from tests.test_gateway import ScriptedChannel


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def said(home: Home) -> list[str]:
    saved = json.loads((home.sessions_dir / "script_1.json").read_text())
    return [message["content"] for message in saved["messages"]]


@pytest.mark.parametrize("name", miniclaw.gateway.__all__)
def test_gateway_module_has_each_name_that_it_offers(name: str) -> None:
    """What authors of channels and models need can be imported from one module."""
    assert hasattr(miniclaw.gateway, name)


async def test_running_stop_by_a_task_drains_and_saves(home: Home) -> None:
    """The turn in flight is completed, as after a signal; a second call, and one after the end, change nothing."""
    go_on = trio.Event()
    channel, model = ScriptedChannel(), StreamingModel("better ", go_on, "late")
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            running: Running = await nursery.start(
                partial(run_gateway, Config(), home, channels=[channel], model=model, handle_signals=False)
            )
            assert repr(running) == f"<Running gateway running {home.sessions_dir}>"
            assert running.addresses == ()
            await channel.say.send("hello")
            await model.waiting.wait()
            running.stop()
            running.stop()
            await until(lambda: "stopping" in repr(running))
            go_on.set()
            assert (await channel.replies.receive()).content == "better late"
    running.stop()
    assert said(home) == ["hello", "better late"]


async def test_running_stop_with_haste_skips_the_grace_and_saves(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn that never ends is cut at once; its question and its beginning are saved."""
    monkeypatch.setattr(miniclaw.gateway, "GRACE_SECONDS", 100 * PATIENCE_SECONDS)
    channel, model = ScriptedChannel(), StreamingModel("as far as", trio.Event())
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            running = await nursery.start(partial(run_gateway, Config(), home, channels=[channel], model=model))
            await channel.say.send("hello")
            await model.waiting.wait()
            running.stop(haste=True)
    assert said(home)[:2] == ["hello", "as far as"]


async def test_gateway_without_signals_touches_no_handler(home: Home) -> None:
    """A program that has handlers of its own keeps them."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)]
    async with trio.open_nursery() as nursery:
        running = await nursery.start(partial(run_gateway, Config(), home, handle_signals=False))
        assert before == [
            signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
        ]
        running.stop()


async def test_gateway_reload_without_signals_is_refused(home: Home) -> None:
    """It would never be called."""
    with pytest.raises(ValueError, match="reload is called at SIGHUP"):
        await run_gateway(Config(), home, handle_signals=False, reload=Config)
    assert not home.workspace.exists()


async def test_gateway_has_the_hooks_of_the_program(home: Home, clock: WallClock) -> None:
    """The daily run tells them, and the removal of a command asks them and tells its outcome."""
    write_session(home.sessions_dir, "web_kept", clock.ago(days=31))
    write_session(home.sessions_dir, "web_old", clock.ago(days=32))
    due: list[str] = []
    heard: list[str] = []
    told = trio.Event()

    async def on_due(entries: tuple[DueEntry, ...]) -> None:
        due.extend(entry.session_id for entry in entries)
        told.set()

    async def before_remove(candidate: RemovalCandidate, load: LoadSession) -> Keep | Remove:
        return Keep("a lawyer wants it") if candidate.session_id == "web_kept" else Remove()

    async def after_remove(removal: RemovedSession) -> None:
        heard.append(removal.session_id)

    options: dict[str, Any] = {"on_due": on_due, "before_remove": before_remove, "after_remove": after_remove}
    options["hook_deadline"] = timedelta(seconds=PATIENCE_SECONDS)
    config = parse_config({"web": {"enabled": False}})
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            run = partial(run_gateway, config, home, clock=clock, serves=True, handle_signals=False, **options)
            running = await nursery.start(run)
            await told.wait()
            command = [sys.executable, "-m", "miniclaw", "sessions", "cleanup", "--yes"]
            done = await trio.run_process(
                command, capture_stdout=True, env={**os.environ, "MINICLAW_HOME": str(home.path)}
            )
            running.stop()
    assert sorted(due) == ["web_kept", "web_old"]
    assert heard == ["web_old"]
    first, *rest = done.stdout.decode().splitlines()
    assert first.startswith("2 sessions scanned, 1 removed, ")
    assert "1 kept: by a hook of the gateway's program; the gateway's log says why." in rest
    assert (home.sessions_dir / "web_kept.json").exists()


async def test_gateway_with_a_wrong_hook_deadline_is_refused(home: Home) -> None:
    """The deadline reaches the hooks, which check it."""
    with pytest.raises(ExceptionGroup) as raised:
        await run_gateway(Config(), home, handle_signals=False, hook_deadline=timedelta(0))
    assert "hook_deadline is positive" in str(raised.value.exceptions[0])
    assert not home.workspace.exists()


# In a thread ----------------------------------------------------------------------------------------------------


def run_in_thread(config: Config, home: Home, started: Future[Running], **options: Any) -> None:
    """Run a gateway in this thread, and pass on that it runs, or the error that it did not start with."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            started.set_result(await nursery.start(partial(run_gateway, config, home, **options)))

    try:
        trio.run(main)
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)


@pytest.mark.parametrize("serves", [False, True], ids=["alone", "serves"])
def test_gateway_in_a_thread_is_stopped_by_another_one(home: Home, serves: bool) -> None:
    """It starts, answers its address and ends, with all saved, outside of the main thread."""
    started: Future[Running] = Future()
    options: dict[str, Any] = {"serves": serves, "handle_signals": False}
    config = parse_config({"web": {"port": 0}})
    thread = threading.Thread(target=partial(run_in_thread, config, home, started, **options))
    thread.start()
    running = started.result(PATIENCE_SECONDS)
    assert bool(running.addresses) == serves
    stopper = threading.Thread(target=running.stop)
    stopper.start()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    stopper.join()
    running.stop()  # its trio has ended
    assert home.sessions_dir.exists()


def test_gateway_in_a_thread_that_would_receive_signals_is_refused(home: Home) -> None:
    """The error names the argument, before anything is opened."""
    started: Future[Running] = Future()
    thread = threading.Thread(target=run_in_thread, args=(Config(), home, started))
    thread.start()
    error = started.exception(PATIENCE_SECONDS)
    thread.join()
    assert isinstance(error, ExceptionGroup)
    assert "handle_signals is False" in str(error.exceptions[0])
    assert not home.workspace.exists()
