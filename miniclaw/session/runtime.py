"""The complete session runtime: store, manager, and the two services as sibling tasks in one nursery."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import time, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import trio

from miniclaw.clock import Clock, Now, SystemClock, as_clock
from miniclaw.errors import NoTrioError, UnsavedSessionsError
from miniclaw.loggers import get_logger
from miniclaw.session.calls.arguments import check_bool, check_hook, check_type, checked_path
from miniclaw.session.calls.over_directory import DirectorySessions
from miniclaw.session.calls.rules import AUTOSAVE, RuntimeRules, rules_of
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.subdirectory import EarlierFolders
from miniclaw.session.format.growth import GROWTH_BYTES
from miniclaw.session.hooks.hooks import HOOK_DEADLINE, Hooks
from miniclaw.session.hooks.types import AfterRemove, BeforeRemove, OnDue
from miniclaw.session.live.memory import MAX_LIVE_BYTES, MAX_LIVE_SESSIONS
from miniclaw.session.live.store import FileSessionStore, open_store
from miniclaw.session.maintenance.announcements import OnAnnounced
from miniclaw.session.maintenance.service import CleanupService
from miniclaw.session.maintenance.usage import UsageMeter
from miniclaw.session.manager import SessionManager
from miniclaw.session.persistence import PERSISTENCE_INTERVAL_SECS, Persistence
from miniclaw.session.retention.policy import DAILY, RetentionPolicy
from miniclaw.session.retention.schedule import CLEANUP_INTERVAL_SECS
from miniclaw.session.timekeeper import Timekeeper, longest_kept, open_time

GRACE_SECONDS: Final = 5
"""Time limit for the services and operations to end, and again for the final flush."""

HANGING_SECONDS: Final = 1
"""Time for which cancelled code may take to end, before the log says that it does not."""

STOPPING_INTERVAL_SECONDS: Final = 1
"""Longest time between two saves of a program that is stopping."""

_DEPRECATED: Final = "state_dir and trash_dir of open_runtime are deprecated; both lie in the sessions directory now"
_OLD_WORD: Final = "announce_first of open_runtime is deprecated; its name is notice now"
_LEAVE_OUT: Final = "leave both out; what was there is moved in, or the log says why not"

log: Final = get_logger("miniclaw.session.runtime")


class SessionRuntime(DirectorySessions):
    """A running session runtime, made by `open_runtime`: the parts and the services that work on them.

    Attributes:
        rules: The rules in force; replaced by `set_rules`.
        persistence: The autosave service.
        cleanup_service: The daily cleanup, with the time of its next run.
        hooks: The hooks of the program.
        grace: The cancel scope of the services' grace period at the end.
        unsaved: After the end: the ids of sessions that the final flush could not save; if there are any, the block
            raises `UnsavedSessionsError`.
    """

    def __init__(
        self,
        store: FileSessionStore,
        time: Timekeeper,
        rules: RuntimeRules,
        *,
        max_live_sessions: int,
        max_live_bytes: int,
        cleanup_waits: bool,
        on_announced: OnAnnounced | None,
        hooks: Hooks,
    ) -> None:
        super().__init__(
            store, time, policy=rules.policy, by="service", schedule=rules.schedule,
            max_live_sessions=max_live_sessions, max_live_bytes=max_live_bytes,
            max_session_bytes=rules.max_session_bytes, hooks=hooks,
        )  # fmt: skip
        self.rules: RuntimeRules = rules
        self.hooks: Hooks = hooks
        self.persistence: Persistence = Persistence(
            self.manager, interval_seconds=rules.persistence_interval_seconds, time=time
        )
        self.cleanup_service: CleanupService = CleanupService(
            self.cleanup, time=time, removes=rules.removes, notice=rules.notice, waits=cleanup_waits,
            on_announced=on_announced, hooks=hooks,
        )  # fmt: skip
        self.usage: UsageMeter = UsageMeter(store, check_open=self.manager.check_open)
        self.sessions_dir: Path = store.directory.path
        self.unsaved: tuple[str, ...] = ()
        self._stopping = False
        self.grace: trio.CancelScope = trio.CancelScope()  # entered while the services are stopping

    def set_rules(self, rules: RuntimeRules) -> None:
        """Apply other rules from now on; on the trio thread, in one step. `RuntimeClosedError` after the end.

        A cleanup under way ends after its present batch. The daily one begins again at once, by the new rules. With
        `notice`, a run deletes no session that was announced only by laxer rules.

        Args:
            rules: All rules; `msgspec.structs.replace(runtime.rules, …)` changes a single one.
        """
        self.manager.check_open()
        self.rules = rules
        self.manager.policy = rules.policy
        self.manager.max_session_bytes = rules.max_session_bytes
        self.time.keep(longest_kept(rules.policy))
        self._pace_saves()
        self.cleanup_service.change_rules(rules.schedule, removes=rules.removes, notice=rules.notice)

    def hurry(self) -> None:
        """Make the shutdown skip the services' grace period and begin the flush; callable before or during it."""
        self.grace.cancel()

    async def say_stopping(self) -> None:
        """Announce that this process is stopping; a process that wants to own the directory then waits.

        The end of the block announces it as well; call this earlier if the shutdown before that may take long. From
        now on sessions are saved every `STOPPING_INTERVAL_SECONDS`: a supervisor may kill a process that does not stop.

        Cancellation: the announcement is made nevertheless.
        """
        self._stopping = True
        self._pace_saves()
        await self.manager.store.say_stopping()

    def _pace_saves(self) -> None:
        interval = self.rules.persistence_interval_seconds
        self.persistence.set_interval(min(STOPPING_INTERVAL_SECONDS, interval) if self._stopping else interval)


@asynccontextmanager
async def open_runtime(
    sessions_dir: Path | str,
    *,
    policy: RetentionPolicy | None = None,
    autosave: timedelta = AUTOSAVE,
    cleanup: timedelta | time | None = DAILY,
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
    on_due: OnDue | None = None,
    before_remove: BeforeRemove | None = None,
    after_remove: AfterRemove | None = None,
    hook_deadline: timedelta = HOOK_DEADLINE,
    cleanup_waits: bool = False,
    max_live_sessions: int = MAX_LIVE_SESSIONS,
    max_live_bytes: int = MAX_LIVE_BYTES,
    max_session_bytes: int = GROWTH_BYTES,
    clock: Clock | Now | None = None,
    earlier: EarlierFolders | None = None,
    fs: OsCalls | None = None,
) -> AsyncIterator[SessionRuntime]:
    """Run the session runtime around a block, in any trio program.

    During the block the directory is owned, and sessions are saved and cleaned up in the background. When the block
    ends, for any reason, no operation begins any more; those that wait for the disk and both services have
    `GRACE_SECONDS` to end; then all dirty sessions are flushed, within `GRACE_SECONDS`. Every change that the manager
    has accepted without an error is then on disk, or the block raises `UnsavedSessionsError`.

    Args:
        sessions_dir: The sessions directory; a missing one is created with mode 0700. Its last component may not be a
            link.
        policy: The retention policy; None: 30 days, and no trash.
        autosave: Time between two saves, positive.
        cleanup: Time between two daily cleanups, positive; or a naive time of day, in the machine's zone, at which it
            runs; or None: no daily cleanup.
        rules: All rules in one, in place of `policy`, `autosave`, `cleanup`, `removes`, `notice` and
            `max_session_bytes`, which are left out then.
        state_dir: Deprecated: the state folder of an earlier version. Its content is moved into `sessions_dir`.
        trash_dir: Deprecated: the trash folder of an earlier version. The entries that were removed here according to
            the history are moved into `sessions_dir`, by the rules of `miniclaw.session.records.migration`.
        persistence_interval_seconds: The earlier name of `autosave`, in seconds.
        cleanup_interval_seconds: The earlier name of `cleanup`, in seconds; None: no daily cleanup.
        cleanup_at: The earlier name of `cleanup` as a time of day.
        removes: If false, the cleanup never removes sessions, and only announces them.
        announce_first: Deprecated: the earlier name of `notice`.
        notice: If true, a run deletes only sessions that an earlier run announced, a notice period ago
            (`miniclaw.session.retention.notice`). If false, a run deletes expired sessions at once.
        on_announced: Called with announcements of sessions that had already expired, as after a restored backup.
        on_due: Called by a run with the sessions that it announces (`DueEntry`), before it removes any.
        before_remove: Called with a `RemovalCandidate`, and a function that loads the session, before each removal of a
            session; it returns `Keep` or `Remove`. If it fails, the session is kept.
        after_remove: Called with a `RemovedSession` after each removal, in order, also after one that ends late.
        hook_deadline: Time for one call of one of these three, positive.
        cleanup_waits: If true, no daily cleanup runs before `runtime.cleanup_service.release()`: for a program that may
            still refuse to start.
        max_live_sessions: Bound on the sessions in memory, at least 1; unsaved ones may exceed it.
        max_live_bytes: Approximate bound on the bytes of memory that they take, at least 1; the session used last may
            take more.
        max_session_bytes: Bound on the size to which people's messages let a session's file grow
            (`miniclaw.session.format.growth`), from 1 to 192 MiB. A larger session from before is loaded and kept.
        clock: The clocks of the machine (`miniclaw.clock.Clock`); None: the real ones. A plain function serves as the
            wall clock, and trio's clock measures the time that passes. All waits are on trio's clock in any case.
        earlier: The folders of an earlier version that belong to this sessions directory alone, in place of `state_dir`
            and `trash_dir`: their whole content is moved into `sessions_dir`.
        fs: The system calls, for tests.

    Raises:
        NoTrioError: The program does not run on trio.
        ValueError: A path, a duration, a time or a bound is invalid, or a rule is given twice; nothing is opened.
        TypeError: An argument has the wrong type; likewise.
        SessionsDirectoryError: The directory cannot be used.
        WorkspaceHeldError: Another process owns the directory. The caller waits up to 25 s for an owner that is
            stopping, before this is raised.
        StoreError: Unfinished work of an earlier process cannot be recovered.
        UnsavedSessionsError: At the end some sessions could not be saved; it names them. If the block raised as well,
            or was cancelled, a group of both is raised.

    Cancellation: the block is cancelled, batches that have begun are completed, and the flush takes place nevertheless.
    """
    if not trio.lowlevel.in_trio_task():
        raise NoTrioError
    sessions_dir = _absolute("sessions_dir", sessions_dir)
    hooks = Hooks(on_due=on_due, before_remove=before_remove, after_remove=after_remove, deadline=hook_deadline)
    check_hook("on_announced", on_announced)
    check_type("earlier", earlier, EarlierFolders)
    check_bool("cleanup_waits", cleanup_waits)
    clock = SystemClock() if clock is None else as_clock(clock)
    if state_dir or trash_dir:
        log.warning(_DEPRECATED, sessions_dir=str(sessions_dir), what_to_do=_LEAVE_OUT)
        earlier = EarlierFolders(
            _absolute("state_dir", state_dir) if state_dir else None,
            _absolute("trash_dir", trash_dir) if trash_dir else None,
            may_be_shared=True,
        )
    if announce_first is not None:
        log.warning(_OLD_WORD, what_to_do=f"write notice={announce_first}")
        notice = announce_first
    rules = rules_of(
        rules, policy=policy, autosave=autosave, cleanup=cleanup, removes=removes, notice=notice,
        max_session_bytes=max_session_bytes, persistence_interval_seconds=persistence_interval_seconds,
        cleanup_interval_seconds=cleanup_interval_seconds, cleanup_at=cleanup_at,
    )  # fmt: skip
    async with open_store(sessions_dir, earlier=earlier, fs=fs) as store:
        keeper = await open_time(store, clock, rules.policy)
        await keeper.tick()
        runtime = SessionRuntime(
            store, keeper, rules, max_live_sessions=max_live_sessions, max_live_bytes=max_live_bytes,
            cleanup_waits=cleanup_waits, on_announced=on_announced, hooks=hooks,
        )  # fmt: skip
        errors: list[BaseException] = []
        async with trio.open_nursery() as nursery:
            try:
                nursery.start_soon(runtime.manager.saver.committer.run)
                try:
                    async with _running_services(runtime):
                        try:
                            yield runtime
                        finally:
                            await store.say_stopping()  # noqa: ASYNC102 - it has a shield and a deadline of its own
                except BaseException as error:  # noqa: BLE001, ASYNC103 - raised below, with the errors of the end
                    errors.append(error)
                try:
                    await _end(runtime)
                except Exception as error:  # noqa: BLE001 - raised below
                    errors.append(error)
            finally:
                runtime.manager.saver.committer.stop()
        _raise(errors)


async def _end(runtime: SessionRuntime) -> None:
    """Flush within `GRACE_SECONDS`, and seal the manager.

    Raises:
        UnsavedSessionsError: Some sessions are neither in their files nor in the journal.
        ForkedRuntimeError: This is a forked child, which has neither the threads nor the right to flush.
    """
    manager = runtime.manager
    manager.store.check_caller()
    try:
        with trio.move_on_after(GRACE_SECONDS, shield=True):
            await manager.saver.flush()
            await runtime.time.save()
            await manager.saver.check_place()
        if manager.dirty_sessions():  # the journal remains; it has to tell which files are written
            with trio.move_on_after(HANGING_SECONDS, shield=True):
                await manager.saver.committer.tidy()
    finally:
        runtime.unsaved = manager.seal()
    if left := len(manager.dirty_sessions()) - len(runtime.unsaved):
        log.info("Session files could not be written; the next start takes them from the journal", sessions=left)
    if runtime.unsaved:
        log.error(
            "Sessions could not be saved before the end",
            sessions=len(runtime.unsaved), session_ids=runtime.unsaved[:100],
        )  # fmt: skip
        raise UnsavedSessionsError(runtime.unsaved)


def _raise(errors: Sequence[BaseException]) -> None:
    """Raise a single error as itself, and several as a group; without errors return."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup("the session runtime did not end well", errors)


def _absolute(name: str, path: Path | str) -> Path:
    """Return an argument as an absolute path, which a change of the working directory does not affect."""
    return Path(os.path.abspath(checked_path(name, path)))


@asynccontextmanager
async def _running_services(runtime: SessionRuntime) -> AsyncIterator[None]:
    services: list[Persistence | CleanupService] = [runtime.persistence, runtime.cleanup_service]
    # The nursery is an internal detail: an error of the block is raised as itself, not in its group.
    error_of_block: BaseException | None = None
    async with trio.open_nursery() as nursery:
        ended = [trio.Event() for _ in services]
        nursery.start_soon(runtime.hooks.run)
        for service, event in zip(services, ended, strict=True):
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
            with trio.move_on_after(GRACE_SECONDS, shield=True), runtime.grace:
                for event in ended:
                    await event.wait()
                await runtime.manager.drain()
                await runtime.hooks.finish()
            if runtime.hooks.close():  # then removals that wait for an answer are refused
                with trio.move_on_after(HANGING_SECONDS, shield=True):
                    await runtime.manager.drain()
            nursery.cancel_scope.cancel()
            await _flush_beside(runtime.manager, ended)  # noqa: ASYNC102 - it has shields and deadlines of its own
    if error_of_block is not None:
        raise error_of_block


async def _flush_beside(manager: SessionManager, ended: Sequence[trio.Event]) -> None:
    """Flush now if a cancelled service does not end: the flush after its end may never come."""
    with trio.move_on_after(HANGING_SECONDS, shield=True) as waiting:
        for event in ended:
            await event.wait()
    if waiting.cancelled_caught:
        log.warning("Session services do not end; a removal, or a hook of the program, holds them up")
        with trio.move_on_after(GRACE_SECONDS, shield=True):
            await manager.saver.flush()


async def _run_service(
    service: Persistence | CleanupService, ended: trio.Event, *, task_status: trio.TaskStatus[None]
) -> None:
    try:
        await service.run(task_status=task_status)
    finally:
        ended.set()
