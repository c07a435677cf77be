"""The session runtime for programs without trio: the same calls, synchronous.

A thread of its own runs trio; calls from any thread are passed to it through anyio's blocking portal::

    from miniclaw import blocking

    with blocking.open_runtime("sessions") as sessions:
        session = sessions.get_or_create("telegram", "123456789")

Sessions returned here are the live objects of the trio thread: read them, and change them only through these calls.
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypedDict, TypeVar, Unpack, overload

import anyio
from anyio.from_thread import BlockingPortal

from miniclaw.errors import RuntimeClosedError
from miniclaw.session.calls.opening import opened
from miniclaw.session.calls.rules import PlainOptions, PlainStoreOptions
from miniclaw.session.cleanup import CleanupResult
from miniclaw.session.entries import Deletion, SessionEntry, TrashedSession
from miniclaw.session.hooks.threaded import in_threads
from miniclaw.session.hooks.types import BeforeRemove, DueEntry, Keep, RemovalCandidate, Remove, RemovedSession
from miniclaw.session.live.save_job import SaveReport
from miniclaw.session.ownership.process import OpeningProcess
from miniclaw.session.records.history import HistoryEvent
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.runtime import SessionRuntime
from miniclaw.session.sessions import Sessions
from miniclaw.session.types import JSON, Message, Session

if TYPE_CHECKING:  # start-up time: most programs keep their sessions in files
    from miniclaw.stores.protocol import SessionStore

P = ParamSpec("P")
T = TypeVar("T")

_END: Final = object()


class BlockingSessions:
    """The calls of `miniclaw.Sessions`, each blocking until it is done; callable from any thread.

    They have the arguments, results and errors of the calls there, with iterators and context managers in place of
    asynchronous ones. They also raise `RuntimeClosedError` from the end of the block on, and `ForkedRuntimeError` in a
    forked child, which does not have the trio thread.
    """

    def __init__(self, portal: BlockingPortal, sessions: Sessions) -> None:
        self._portal = portal
        self._sessions = sessions
        self._ended = False
        self._process = OpeningProcess()

    def _call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._mapped():
            return self._portal.call(partial(function, *args, **kwargs))

    def _call_sync(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._mapped():
            return self._portal.call(partial(function, *args, **kwargs))

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        self._process.check()
        try:
            yield
        except RuntimeError as error:
            if self._ended:  # the runtime's thread has ended, or is ending
                raise RuntimeClosedError from error
            raise

    def end(self) -> None:
        """Note that the block is left: a call that then fails without the thread raises `RuntimeClosedError`."""
        self._ended = True

    def now(self) -> datetime:
        """Return the present, as `Sessions.now`."""
        return self._call_sync(self._sessions.now)

    def get_or_create(self, channel: str, chat_id: str) -> Session:
        """Return the session of a chat, as `Sessions.get_or_create`."""
        return self._call(self._sessions.get_or_create, channel, chat_id)

    def get(self, session_id: str) -> Session | None:
        """Return a session or None, as `Sessions.get`."""
        return self._call(self._sessions.get, session_id)

    def read(self, session_id: str) -> Session | None:
        """Return a copy of a session or None, as `Sessions.read`."""
        return self._call(self._sessions.read, session_id)

    def using(self, session_id: str, *, create: bool = False) -> AbstractContextManager[Session]:
        """Hold a session in use for a block, as `Sessions.using`."""
        return self._held(self._call_sync(self._sessions.using, session_id, create=create))

    @contextmanager
    def _held(self, session: AbstractAsyncContextManager[Session]) -> Iterator[Session]:
        with ExitStack() as resources:
            with self._mapped():
                found = resources.enter_context(self._portal.wrap_async_context_manager(session))
            yield found

    def add_message(self, session_id: str, message: Message, *, durable: bool = False) -> Session:
        """Append a message, as `Sessions.add_message`."""
        return self._call(self._sessions.add_message, session_id, message, durable=durable)

    def add_messages(self, session_id: str, messages: Iterable[Message], *, durable: bool = False) -> Session:
        """Append messages, all or none, as `Sessions.add_messages`."""
        return self._call(self._sessions.add_messages, session_id, messages, durable=durable)

    def pop_messages(self, session_id: str, count: int) -> builtins.list[Message]:
        """Remove the newest messages, as `Sessions.pop_messages`."""
        return self._call(self._sessions.pop_messages, session_id, count)

    def clear(self, session_id: str) -> int:
        """Remove all messages, as `Sessions.clear`."""
        return self._call(self._sessions.clear, session_id)

    def set_metadata(self, session_id: str, /, **values: JSON) -> Session:
        """Set keys of a session's metadata, as `Sessions.set_metadata`."""
        return self._call(self._sessions.set_metadata, session_id, **values)

    def set_pinned(self, session_id: str, pinned: bool) -> bool:
        """Pin a session or unpin it, as `Sessions.set_pinned`."""
        return self._call(self._sessions.set_pinned, session_id, pinned)

    def durable(self, session_id: str) -> None:
        """Return when a session survives a power cut, as `Sessions.durable`."""
        self._call(self._sessions.durable, session_id)

    def list(
        self,
        *,
        channel: str | None = None,
        older_than: timedelta | None = None,
        younger_than: timedelta | None = None,
        pinned: bool | None = None,
    ) -> Iterator[SessionEntry]:
        """Iterate over the sessions, as `Sessions.list`."""
        found = self._call_sync(
            self._sessions.list, channel=channel, older_than=older_than, younger_than=younger_than, pinned=pinned
        )
        return _Items(self, found)

    def trash(self) -> Iterator[TrashedSession]:
        """Iterate over the sessions in the trash, as `Sessions.trash`."""
        return _Items(self, self._call_sync(self._sessions.trash))

    def history(self) -> Iterator[HistoryEvent]:
        """Iterate over the history, as `Sessions.history`."""
        return _Items(self, self._call_sync(self._sessions.history))

    def delete(self, session_id: str, *, erase: bool = False) -> Deletion:
        """Delete a session now, as `Sessions.delete`."""
        return self._call(self._sessions.delete, session_id, erase=erase)

    def restore(self, text: str) -> str:
        """Restore a session from the trash, as `Sessions.restore`."""
        return self._call(self._sessions.restore, text)

    def plan(self) -> CleanupPlan:
        """Return the plan of a cleanup, as `Sessions.plan`."""
        return self._call(self._sessions.plan)

    def clean_up(self, *, confirmed: bool = False) -> CleanupResult:
        """Run a cleanup now, as `Sessions.clean_up`."""
        return self._call(self._sessions.clean_up, confirmed=confirmed)


class _Items(Iterator[T], Generic[T]):
    """The items of an asynchronous iterator."""

    def __init__(self, sessions: BlockingSessions, items: AsyncIterator[T]) -> None:
        self._sessions = sessions
        self._items = items

    def __next__(self) -> T:
        async def following() -> T | object:
            return await anext(self._items, _END)

        item = self._sessions._call(following)
        if item is _END:
            raise StopIteration
        return item  # type: ignore[return-value]  # the end is no item


class BlockingSessionRuntime(BlockingSessions):
    """The calls of a runtime over a directory, with the earlier names of some."""

    def __init__(self, portal: BlockingPortal, runtime: SessionRuntime) -> None:
        super().__init__(portal, runtime)
        self._runtime = runtime

    def get_or_create_session(self, channel: str, chat_id: str) -> Session:
        """Return the session of a chat: the earlier name of `get_or_create`."""
        return self.get_or_create(channel, chat_id)

    def get_session(self, session_id: str) -> Session | None:
        """Return a session, or None: the earlier name of `get`."""
        return self.get(session_id)

    def is_session_expired(self, session_id: str) -> bool:
        """Return whether the policy lets a session be removed now. Does not count as an access."""
        return self._call(self._runtime.manager.is_session_expired, session_id)

    def delete_session(self, session_id: str) -> int:
        """Delete one session now, without an event in the history; return the bytes freed."""
        return self._call(self._runtime.manager.delete_session, session_id).bytes_freed

    def restore_session(self, text: str) -> str:
        """Restore a session from the trash, without an event in the history; return its id."""
        return self._call(self._runtime.manager.restore_session, text)

    def move_session(self, session_id: str, target_id: str) -> None:
        """Move a session to another chat: only its ids change, on disk."""
        self._call(self._runtime.manager.move_session, session_id, target_id)

    def save_all_sessions(self) -> SaveReport:
        """Save every dirty session."""
        return self._call(self._runtime.manager.save_all_sessions)

    def run_cleanup(self) -> CleanupResult:
        """Run one cleanup: the earlier name of `clean_up`."""
        return self.clean_up()


class BlockingHooks(TypedDict, total=False):
    """The hooks of a program without trio: plain functions."""

    on_due: Callable[[tuple[DueEntry, ...]], object] | None
    before_remove: Callable[[RemovalCandidate, Callable[[], Session]], Keep | Remove] | BeforeRemove | None
    after_remove: Callable[[RemovedSession], object] | None


class BlockingOptions(PlainOptions, BlockingHooks):
    """The keyword arguments of `open_runtime` over a directory."""


class BlockingStoreOptions(PlainStoreOptions, BlockingHooks):
    """The keyword arguments of `open_runtime` over a store."""


@overload
def open_runtime(
    sessions_dir: Path | str, **options: Unpack[BlockingOptions]
) -> AbstractContextManager[BlockingSessionRuntime]: ...


@overload
def open_runtime(
    *, store: SessionStore, **options: Unpack[BlockingStoreOptions]
) -> AbstractContextManager[BlockingSessions]: ...


def open_runtime(
    sessions_dir: Path | str | None = None, *, store: SessionStore | None = None, **options: Any
) -> AbstractContextManager[BlockingSessions]:
    """Run a session runtime around a block, with the arguments and the errors of `miniclaw.open_runtime`.

    The hooks `before_remove`, `after_remove` and `on_due` are plain functions, as is `load`. Each is called in a worker
    thread, and may call the runtime. The methods of a store are called on the trio thread.

    Raises:
        MiniclawError: As `miniclaw.open_runtime`, at the beginning and on leaving.
        ForkedRuntimeError: The block was left in a forked child. The runtime continues in the process that opened it.
    """
    return _run(opened(sessions_dir, store, in_threads(options)))


@contextmanager
def _run(opening: AbstractAsyncContextManager[Sessions]) -> Iterator[BlockingSessions]:
    process = OpeningProcess()
    with ExitStack() as resources:
        portal = resources.enter_context(_PortalThread())
        sessions = resources.enter_context(portal.wrap_async_context_manager(opening))
        blocking = (
            BlockingSessionRuntime(portal, sessions)
            if isinstance(sessions, SessionRuntime)
            else BlockingSessions(portal, sessions)
        )
        try:
            yield blocking
        finally:
            blocking.end()
            if not process.is_this_one:
                resources.pop_all()  # closing them would wait for the thread, which this process does not have
        process.check()


class _PortalThread:
    """A thread that runs trio, and anyio's portal to it, for a block.

    anyio's `start_blocking_portal` is a generator. Its end waits for the thread even when the garbage collector causes
    it: in a forked child, for ever.
    """

    def __enter__(self) -> BlockingPortal:
        started: Future[BlockingPortal] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="miniclaw.blocking")
        self._thread.start()
        self._portal = started.result()
        return self._portal

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._portal.call(self._portal.stop, kind is not None)
        self._thread.join()

    def _run(self, started: Future[BlockingPortal]) -> None:
        async def serve() -> None:
            async with BlockingPortal() as portal:
                started.set_result(portal)
                await portal.sleep_until_stopped()

        try:
            anyio.run(serve, backend="trio")
        except BaseException as error:  # noqa: ASYNC103 - the loop has ended; raised in the caller's thread
            if started.done():
                raise
            started.set_exception(error)
