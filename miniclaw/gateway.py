"""The gateway: one process, one root nursery.

This module is its public API, for programs that embed it and for authors of channels and models;
docs/channel-authors.md and docs/model-authors.md have examples.

The gateway opens its parts in one order and closes them in reverse, which *is* the order of shutdown::

    model
        session runtime (owns the workspace)      flushes last
            page, API, health, metrics            end their connections
                agent loop                        drains the turns in flight
                    channels                      stop accepting first
                        wait for a signal, or for the channels to end

Each level stops under its own deadline. A second signal skips the remaining deadlines and proceeds to the flush. A
channel or model that does not let itself be cancelled holds up the levels above it, and the log names it; meanwhile the
runtime saves every second.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from miniclaw.agent.inbox import Inbox
from miniclaw.agent.loop import AgentLoop
from miniclaw.agent.models import Model, ModelEvent
from miniclaw.agent.providers import open_model
from miniclaw.channels.base import (
    Channel,
    ConfirmingChannel,
    InboundMessage,
    InboundSender,
    OutboundDelta,
    OutboundMessage,
    RefusingChannel,
    StreamingChannel,
)
from miniclaw.channels.foreign_calls import ForeignCalls
from miniclaw.channels.supervisor import channels_by_name, raise_ended, run_channels
from miniclaw.clock import Clock, Now
from miniclaw.config import Config, Home, SessionConfig, find_home, load_config, parse_config
from miniclaw.config.in_force import ConfigInForce
from miniclaw.daemon.notify import teller
from miniclaw.daemon.reload import Reload
from miniclaw.daemon.shutdown import Shutdown
from miniclaw.errors import ChannelEndedError, ChannelError, ConfigError, ForeignMessageError, ModelError, StoreError
from miniclaw.extras import check_gateway
from miniclaw.formats import format_duration
from miniclaw.loggers import get_logger
from miniclaw.session.calls.rules import RuntimeRules
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.hooks.hooks import HOOK_DEADLINE
from miniclaw.session.hooks.types import AfterRemove, BeforeRemove, OnDue
from miniclaw.session.retention.schedule import Schedule
from miniclaw.session.runtime import GRACE_SECONDS, HANGING_SECONDS, SessionRuntime, open_runtime
from miniclaw.session.threads import run_in_thread
from miniclaw.session.types import Message, ToolCall
from miniclaw.workspace.channels import CHANNELS, strange_channels

if TYPE_CHECKING:
    from miniclaw.daemon.frontend import Front

check_gateway("miniclaw.gateway")

log: Final = get_logger("miniclaw.gateway")


__all__ = [
    "Channel",
    "ChannelEndedError",
    "ChannelError",
    "Config",
    "ConfigError",
    "ConfirmingChannel",
    "ForeignMessageError",
    "Home",
    "InboundMessage",
    "InboundSender",
    "Message",
    "Model",
    "ModelError",
    "ModelEvent",
    "OutboundDelta",
    "OutboundMessage",
    "RefusingChannel",
    "Running",
    "StreamingChannel",
    "ToolCall",
    "find_home",
    "load_config",
    "parse_config",
    "run_gateway",
]


class Running:
    """A running gateway, which `run_gateway` passes to ``task_status.started``.

    Attributes:
        runtime: The sessions.
        front: The HTTP server; None without `serves`.
    """

    def __init__(self, runtime: SessionRuntime, front: Front | None, shutdown: Shutdown) -> None:
        self.runtime = runtime
        self.front = front
        self._shutdown = shutdown
        self._token = trio.lowlevel.current_trio_token()

    def __repr__(self) -> str:
        state = "stopping" if self._shutdown.requested.is_set() else "running"
        return f"<Running gateway {state} {self.runtime.sessions_dir}>"

    @property
    def addresses(self) -> tuple[str, ...]:
        """The URLs of the HTTP server, with the real ports."""
        return self.front.addresses if self.front else ()

    def stop(self, *, haste: bool = False) -> None:
        """Request the end, as a signal does, and return at once: `run_gateway` returns when the gateway has ended.

        Callable from any task and from any thread, more than once, and after the end.

        Args:
            haste: If true, the grace periods are skipped, as by a second signal; the flush is not.
        """
        with suppress(trio.RunFinishedError):  # then it has ended
            self._token.run_sync_soon(partial(self._shutdown.request, haste=haste))


async def run_gateway(
    config: Config,
    home: Home,
    *,
    channels: Sequence[Channel] = (),
    model: Model | None = None,
    clock: Clock | Now | None = None,
    before: Callable[[SessionRuntime], Awaitable[None]] | None = None,
    cleans_up: bool = True,
    serves: bool = False,
    reload: Callable[[], Config] | None = None,
    on_reloaded: Callable[[Config], None] | None = None,
    handle_signals: bool = True,
    on_due: OnDue | None = None,
    before_remove: BeforeRemove | None = None,
    after_remove: AfterRemove | None = None,
    hook_deadline: timedelta = HOOK_DEADLINE,
    task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the gateway until a signal or `Running.stop` requests the end, or until all of its channels have ended.

    Args:
        config: The configuration.
        home: The paths of the workspace.
        channels: The channels of the embedding program. Without any the gateway waits for a request to end. A channel
            that fails is restarted, and ends neither the gateway nor the others; see docs/channel-authors.md.
        model: The model that answers; None: the one that the configuration names.
        clock: The clocks, as in `open_runtime`.
        cleans_up: If true, the daily cleanup runs; false for a short-lived process.
        before: Called once the sessions are available and before the channels accept anything. An exception from it
            refuses the start.
        serves: If true, the gateway has the channels of the configuration (page, Telegram, plugins) and an HTTP server.
        reload: Reads the configuration again, in a thread, at SIGHUP; raises `ConfigError` if it is invalid. See
            `miniclaw.daemon.reload`. None: SIGHUP requests the end.
        on_reloaded: Called on the trio thread with a configuration that is in force from now on.
        handle_signals: If true, the signals of the process are received from here on, as `miniclaw.daemon.signals`
            describes; that needs the main thread. If false, no handler is touched, and the program ends the gateway.
        on_due: A hook of the sessions, as in `open_runtime`; requests of commands and of the page reach the hooks too.
        before_remove: Likewise.
        after_remove: Likewise.
        hook_deadline: Time for one call of one of these three, positive.
        task_status: Started with a `Running` once all parts run.

    Raises:
        ConfigError: The name of a channel is malformed, or is taken; nothing was opened.
        ValueError: `reload` is given without `handle_signals`; likewise.
        RuntimeError: This is not the main thread, and `handle_signals` is true; likewise.
        ChannelEndedError: All channels have ended, one of them with this error; for several, a group.
        ExceptionGroup: With a `MiniclawError`: it could not start; with `UnsavedSessionsError`: it has ended, and not
            everything could be saved.

    Cancellation: as a signal, but without grace for the turns in flight.
    """
    _check_signals(handle_signals=handle_signals, reloads=reload is not None)
    by_name = channels_by_name(channels, taken=CHANNELS.union(config.channels) if serves else ())
    in_force = ConfigInForce(config)
    reloading = None if reload is None else Reload(in_force, reload)
    shutdown = Shutdown(None if reloading is None else reloading.request)
    if serves:
        from miniclaw.daemon import frontend  # noqa: PLC0415 - start-up time: needed only to serve
    async with (
        # Closed last, so that it cannot delay the flush.
        nullcontext(model) if model is not None else open_model(config.model, home.workspace) as answering,
        frontend.open_channels(config) if serves else nullcontext() as own,
        trio.open_nursery() as nursery,
    ):
        if handle_signals:
            await nursery.start(shutdown.watch)
        async with open_runtime(
            home.sessions_dir,
            rules=_rules(config.session, cleans_up=cleans_up),
            on_announced=teller(in_force, home),
            on_due=on_due,
            before_remove=before_remove,
            after_remove=after_remove,
            hook_deadline=hook_deadline,
            cleanup_waits=True,  # a start that is refused deletes nothing
            clock=clock,
            earlier=home.earlier,
        ) as runtime:
            shutdown.on_haste(runtime.hurry)
            await _warn_of_strange_channels(config, home, channels)
            if before is not None:
                await before(runtime)
            by_name |= {channel.name: channel for channel in own.all} if own else {}

            async def put_in_force(new: Config) -> None:
                before, rules = in_force.config.session, _rules(new.session, cleans_up=cleans_up)
                in_force.config = new
                if new.session != before:
                    runtime.set_rules(rules)
                if own is not None and front is not None:
                    own.change(new)
                    front.change(new.web)
                if on_reloaded is not None:
                    on_reloaded(new)
                await _warn_of_strange_channels(new, home, list(by_name.values()))

            inbox = Inbox()
            loop = AgentLoop(runtime.manager, answering, by_name)
            nursery.start_soon(_name_hanging, loop.calls, shutdown)
            async with (
                frontend.open_front(in_force, home, runtime, channels=own, inbox=inbox, loop=loop)
                if own
                else nullcontext() as front,
                _serving(loop, inbox, shutdown),
                _reloading(reloading, put_in_force),
            ):
                if front:
                    front.health.phase = "running"
                runtime.cleanup_service.release()
                _log_started(runtime, home, config, answering, front)
                task_status.started(Running(runtime, front, shutdown))
                await shutdown.requested.wait()
                if front:
                    front.health.phase = "draining"
                await runtime.say_stopping()
            log.info("Gateway stopping", unsaved=len(runtime.manager.dirty_sessions()))
        log.info("Gateway stopped")
        nursery.cancel_scope.cancel()
    raise_ended(loop.ports)


def _check_signals(*, handle_signals: bool, reloads: bool) -> None:
    if handle_signals and threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "run_gateway: only the main thread receives signals; in other threads, handle_signals is False"
        )
    if reloads and not handle_signals:
        raise ValueError("run_gateway: reload is called at SIGHUP, and handle_signals=False receives no signal")


def _rules(session: SessionConfig, *, cleans_up: bool) -> RuntimeRules:
    """Return the rules of the runtime that a table defines."""
    return RuntimeRules(
        policy=session.retention_policy(),
        schedule=session.schedule if cleans_up else Schedule(None),
        removes=session.mode == "enforce",
        notice=session.notice == "on",
        persistence_interval_seconds=session.persistence_interval.total_seconds(),
        max_session_bytes=session.max_session_bytes,
    )


async def _warn_of_strange_channels(config: Config, home: Home, channels: Sequence[Channel]) -> None:
    """Log keys of ``ttl_by_channel`` that name no channel and fit no session: their TTL has no effect."""
    names = [*config.channels, *(channel.name for channel in channels)]

    def find() -> dict[str, str]:
        with SessionDirectory.open(home.sessions_dir) as directory:
            return strange_channels(config.session, directory, names)

    try:
        found = await run_in_thread(find, limiter=trio.CapacityLimiter(1)) if config.session.ttl_by_channel else {}
    except StoreError as error:
        log.warning("Channels of the sessions could not be listed", error=str(error))
        return
    for key, problem in found.items():
        log.warning("TTL of an unknown channel", key=key, problem=problem)


@asynccontextmanager
async def _reloading(reload: Reload | None, put_in_force: Callable[[Config], Awaitable[None]]) -> AsyncIterator[None]:
    """Run the reload task around a block."""
    async with trio.open_nursery() as nursery:
        if reload is not None:
            nursery.start_soon(reload.run, put_in_force)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _serving(loop: AgentLoop, inbox: Inbox, shutdown: Shutdown) -> AsyncIterator[None]:
    """Run the agent loop and the channels around a block; on leaving, stop accepting, then drain."""
    async with trio.open_nursery() as agent:
        await agent.start(loop.run, inbox)
        async with trio.open_nursery() as accepting:
            await accepting.start(_run_channels, loop, inbox, shutdown)
            yield
            accepting.cancel_scope.cancel()
            # Set before the channels have ended: foreign code may keep one of them from it.
            agent.cancel_scope.deadline = trio.current_time() + GRACE_SECONDS
            shutdown.on_haste(agent.cancel_scope.cancel)
        inbox.close()


async def _run_channels(
    loop: AgentLoop, inbox: Inbox, shutdown: Shutdown, *, task_status: trio.TaskStatus[None]
) -> None:
    """Run all channels; when the last has ended, request the end of the program."""
    await run_channels(loop.ports, inbox, task_status=task_status)
    shutdown.requested.set()


async def _name_hanging(calls: ForeignCalls, shutdown: Shutdown) -> None:
    """Log once which channels, and which model, hold up the end after their deadline."""
    await shutdown.requested.wait()
    with trio.move_on_after(GRACE_SECONDS):
        await shutdown.in_haste.wait()
    await trio.sleep(HANGING_SECONDS)
    if names := calls.names():
        log.warning("Gateway cannot end: a channel or model does not return", calls=names)


def _log_started(runtime: SessionRuntime, home: Home, config: Config, model: Model, front: Front | None) -> None:
    next_run = runtime.cleanup_service.next_run_at
    log.info(
        "Gateway started",
        workspace=str(home.workspace),
        sessions_dir=str(home.sessions_dir),
        model=model.name,
        ttl=format_duration(config.session.ttl),
        next_cleanup=next_run.isoformat(timespec="seconds") if next_run else "never",
        **({"addresses": front.addresses} if front else {}),
    )
