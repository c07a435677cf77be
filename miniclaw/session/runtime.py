"""The session runtime, whole: store, manager, and the two services as sibling tasks in one nursery."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import time, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct, field

from miniclaw.clock import Clock, Now
from miniclaw.errors import UnsavedSessionsError
from miniclaw.loggers import get_logger
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.subdirectory import EarlierFolders
from miniclaw.session.live.store import open_store
from miniclaw.session.maintenance.service import CleanupService, OnAnnounced
from miniclaw.session.maintenance.usage import UsageMeter
from miniclaw.session.maintenance.wakeup import check_interval
from miniclaw.session.manager import MAX_LIVE_BYTES, MAX_LIVE_SESSIONS
from miniclaw.session.operations.operations import SessionOperations
from miniclaw.session.operations.parts import SessionParts
from miniclaw.session.persistence import PERSISTENCE_INTERVAL_SECS, Persistence
from miniclaw.session.records.history import Actor
from miniclaw.session.retention.policy import DAILY, RetentionPolicy
from miniclaw.session.retention.schedule import CLEANUP_INTERVAL_SECS, Schedule
from miniclaw.session.timekeeper import longest_kept, open_time

GRACE_SECONDS: Final = 5
"""How long each service may take to end, and how long the last flush may take."""

_DEPRECATED: Final = "state_dir and trash_dir of open_runtime are deprecated; both lie in the sessions directory now"
_OLD_WORD: Final = "announce_first of open_runtime is deprecated; its name is notice now"
_LEAVE_OUT: Final = "leave both out; what was there is moved in, or the log says why not"

log = get_logger("miniclaw.session.runtime")


class SessionRuntime:
    """A running session runtime, from `open_runtime`.

    Attributes:
        manager: The sessions.
        time: The present, and the ages of sessions.
        persistence: The autosave service.
        cleanup: The cleanup; `run` it for one right now.
        cleanup_service: The daily one; knows when it is next.
        usage: Measures what lies on the disk.
        sessions_dir: Where the files lie.
        unsaved: After the end: the ids of sessions that even the last flush could not save; the block has raised
            `UnsavedSessionsError` then.
    """

    def __init__(
        self,
        parts: SessionParts,
        persistence: Persistence,
        cleanup_service: CleanupService,
        usage: UsageMeter,
    ) -> None:
        self._parts = parts
        self.manager = parts.manager
        self.time = parts.time
        self.persistence = persistence
        self.cleanup = parts.cleanup
        self.cleanup_service = cleanup_service
        self.usage = usage
        self.sessions_dir = parts.cleanup.sessions_dir
        self.unsaved: tuple[str, ...] = ()
        self._in_haste = False
        self._grace: trio.CancelScope | None = None  # while the services are stopping

    def operations(self, *, by: Actor = "program") -> SessionOperations:
        """Return what an administrator can do to the sessions while the runtime runs.

        Args:
            by: Who does it, for trash and history.
        """
        return SessionOperations.of(self._parts, by=by)

    @property
    def rules(self) -> RuntimeRules:
        """The rules in force."""
        return RuntimeRules(
            policy=self.manager.policy,
            schedule=self.cleanup.schedule,
            removes=self.cleanup_service.removes,
            notice=self.cleanup_service.notice,
            persistence_interval_seconds=self.persistence.interval_seconds,
        )

    def set_rules(self, rules: RuntimeRules) -> None:
        """Go by other rules from now on; on the trio thread, in one step.

        A cleanup that is going ends after the batch it is at. Where it was the daily one, it begins again at once, by
        the new rules. With `notice`, it deletes nothing that was announced by laxer ones only.

        Args:
            rules: All of them; `msgspec.structs.replace(runtime.rules, …)` makes those that differ in one.
        """
        self.manager.policy = rules.policy
        self.time.keep(longest_kept(rules.policy))
        self.persistence.set_interval(rules.persistence_interval_seconds)
        self.cleanup_service.change_rules(rules.schedule, removes=rules.removes, notice=rules.notice)

    def hurry(self) -> None:
        """Have the shutdown skip the services' grace and go on to the flush; before or during it."""
        self._in_haste = True
        if self._grace is not None:
            self._grace.cancel()

    async def say_stopping(self) -> None:
        """Let a process that wants to own the directory know that this one is going to end; it waits for that.

        Leaving the block says so as well, and what comes before that may take a while.

        Cancellation: it is said all the same.
        """
        await self._parts.store.say_stopping()

    def begin_grace(self, grace: trio.CancelScope) -> None:
        """Take the scope in which the services have their time to end."""
        self._grace = grace
        if self._in_haste:
            grace.cancel()


@asynccontextmanager
async def open_runtime(
    sessions_dir: Path | str,
    *,
    policy: RetentionPolicy | None = None,
    rules: RuntimeRules | None = None,
    state_dir: Path | str | None = None,
    trash_dir: Path | str | None = None,
    persistence_interval_seconds: float = PERSISTENCE_INTERVAL_SECS,
    cleanup_interval_seconds: float | None = CLEANUP_INTERVAL_SECS,
    cleanup_at: time | None = None,
    removes: bool = True,
    announce_first: bool | None = None,
    notice: bool = True,
    on_announced: OnAnnounced | None = None,
    cleanup_waits: bool = False,
    max_live_sessions: int = MAX_LIVE_SESSIONS,
    max_live_bytes: int = MAX_LIVE_BYTES,
    clock: Clock | Now | None = None,
    earlier: EarlierFolders | None = None,
    fs: OsCalls | None = None,
) -> AsyncIterator[SessionRuntime]:
    """Run the session runtime around a block, in anyone's trio program.

    The directory is owned for that long, sessions are saved and cleaned up in the background. On leaving, however
    that comes about, no operation begins any more; those that wait for the disk and both services have
    `GRACE_SECONDS` to end; then all that is unsaved is flushed, within `GRACE_SECONDS`. So whatever the manager has
    accepted without an error is on disk when the block is left, or the block raises `UnsavedSessionsError`.

    Args:
        sessions_dir: Made where it is missing, mode 0700; its last component may not be a link.
        policy: How long sessions are kept; 30 days where None.
        rules: All rules in one, in place of `policy`, the intervals, `cleanup_at`, `removes` and `notice`.
        state_dir: Deprecated: where an earlier version kept the state. Its content is moved into `sessions_dir`.
        trash_dir: Deprecated: where an earlier version kept the trash. The entries of which the history says that they
            were removed here are moved into `sessions_dir`; see `miniclaw.session.records.migration`.
        persistence_interval_seconds: Between two saves, positive.
        cleanup_interval_seconds: Between two cleanups, positive; None: none run by themselves.
        cleanup_at: A time of day, naive, in the machine's zone, at which the cleanup runs instead.
        removes: False: the cleanup never removes, it only announces what it would.
        announce_first: Deprecated: the earlier name of `notice`.
        notice: Delete only what an earlier run has announced, a notice period ago; see
            `miniclaw.session.retention.notice`. Off, a run deletes what it finds.
        on_announced: Told what was announced after it had expired, as after a restored backup; see `OnAnnounced`.
        cleanup_waits: No cleanup runs by itself before `runtime.cleanup_service.release()`: for a program that may
            still refuse to start.
        max_live_sessions: How many saved sessions may stay in memory, at least 1.
        max_live_bytes: How many bytes of memory these may take, about, at least 1; the one used last may take more.
        clock: The clocks of the machine, see `miniclaw.clock.Clock`; None: the real ones. A plain function is
            taken for the wall clock, with trio's clock for the time that passes. Waiting is done on trio's in any case.
        earlier: The folders of an earlier version that belong to this sessions directory alone, in place of `state_dir`
            and `trash_dir`: all that is theirs is moved into `sessions_dir`.
        fs: The system calls, for tests.

    Raises:
        ValueError: `cleanup_interval_seconds` or `cleanup_at` makes no sense; nothing is opened.
        SessionsDirectoryError: The directory cannot be used.
        WorkspaceHeldError: Another process owns it; one that is stopping is waited for, 25 s at the most.
        StoreError: What an earlier process left unfinished cannot be resolved.
        UnsavedSessionsError: On leaving: some sessions could not be saved; it names them. Where the block raised as
            well, or was cancelled, a group of both leaves it.

    Cancellation: the block is cancelled, batches that have begun are completed, the flush is done all the same.
    """
    sessions_dir = _absolute(sessions_dir)
    if state_dir or trash_dir:
        log.warning(_DEPRECATED, sessions_dir=str(sessions_dir), what_to_do=_LEAVE_OUT)
        earlier = EarlierFolders(
            _absolute(state_dir) if state_dir else None, _absolute(trash_dir) if trash_dir else None, may_be_shared=True
        )
    if announce_first is not None:
        log.warning(_OLD_WORD, what_to_do=f"write notice={announce_first}")
        notice = announce_first
    rules = rules or RuntimeRules(
        policy=policy or RetentionPolicy(),
        schedule=Schedule(_duration(cleanup_interval_seconds), cleanup_at),
        removes=removes,
        notice=notice,
        persistence_interval_seconds=persistence_interval_seconds,
    )
    async with open_store(sessions_dir, earlier=earlier, fs=fs) as store:
        keeper = await open_time(store, clock, rules.policy)
        await keeper.tick()
        parts = SessionParts(
            store,
            policy=rules.policy,
            by="service",
            time=keeper,
            schedule=rules.schedule,
            max_live_sessions=max_live_sessions,
            max_live_bytes=max_live_bytes,
        )
        manager = parts.manager
        runtime = SessionRuntime(
            parts,
            Persistence(manager, interval_seconds=rules.persistence_interval_seconds, time=keeper),
            CleanupService(
                parts.cleanup,
                time=keeper,
                removes=rules.removes,
                notice=rules.notice,
                waits=cleanup_waits,
                on_announced=on_announced,
            ),
            UsageMeter(store),
        )
        errors: list[BaseException] = []
        try:
            async with _running_services(runtime):
                try:
                    yield runtime
                finally:
                    await store.say_stopping()  # noqa: ASYNC102 - it has a shield and a deadline of its own
        except BaseException as error:  # noqa: BLE001, ASYNC103 - raised below, with what the end adds to it
            errors.append(error)
        store.check_process()  # a forked child has neither the threads nor the right to flush
        try:
            with trio.move_on_after(GRACE_SECONDS, shield=True):
                await manager.flush()
                await keeper.save()
                await manager.check_place()
        except Exception as error:  # noqa: BLE001 - likewise
            errors.append(error)
        runtime.unsaved = unsaved = manager.seal()
        if unsaved:
            log.error("Sessions could not be saved before the end", sessions=len(unsaved), session_ids=unsaved[:100])
            errors.append(UnsavedSessionsError(unsaved))
        _raise(errors)


def _raise(errors: Sequence[BaseException]) -> None:
    """Raise an error as itself, several as a group."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup("the session runtime did not end well", errors)


def _duration(seconds: float | None) -> timedelta | None:
    """Return how long an interval is.

    Raises:
        ValueError: It is none.
    """
    if seconds is None:
        return None
    check_interval(seconds)
    return timedelta(seconds=seconds)


def _absolute(path: Path | str) -> Path:
    """Return a path that stays the same when the program changes its working directory."""
    return Path(os.path.abspath(path))


@asynccontextmanager
async def _running_services(runtime: SessionRuntime) -> AsyncIterator[None]:
    services: list[Persistence | CleanupService] = [runtime.persistence, runtime.cleanup_service]
    # The nursery is nobody's business outside: an error of the block is raised as itself, not as a group.
    error_of_block: BaseException | None = None
    async with trio.open_nursery() as nursery:
        ended = []
        for service in services:
            event = trio.Event()
            ended.append(event)
            await nursery.start(partial(_run_service, service, event))
        try:
            yield
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - raised below
            error_of_block = error
        finally:
            runtime.manager.close()
            for service in services:
                service.stop()
            with trio.move_on_after(GRACE_SECONDS, shield=True) as grace:
                runtime.begin_grace(grace)
                for event in ended:
                    await event.wait()
                await runtime.manager.drain()
            nursery.cancel_scope.cancel()
    if error_of_block is not None:
        raise error_of_block


async def _run_service(
    service: Persistence | CleanupService, ended: trio.Event, *, task_status: trio.TaskStatus[None]
) -> None:
    try:
        await service.run(task_status=task_status)
    finally:
        ended.set()


class RuntimeRules(Struct, frozen=True, kw_only=True):
    """All rules of a runtime; see `open_runtime`.

    Attributes:
        policy: How long sessions are kept.
        schedule: When the daily cleanup runs.
        removes: False: it only announces.
        notice: Whether it deletes only what an earlier run has announced.
        persistence_interval_seconds: Between two saves, positive.

    Raises:
        ValueError: `persistence_interval_seconds` is no such number.
    """

    policy: RetentionPolicy = field(default_factory=RetentionPolicy)
    schedule: Schedule = field(default_factory=lambda: Schedule(DAILY))
    removes: bool = True
    notice: bool = True
    persistence_interval_seconds: float = PERSISTENCE_INTERVAL_SECS

    def __post_init__(self) -> None:
        check_interval(self.persistence_interval_seconds)
