"""The session runtime for programs without trio: the same calls, synchronous.

A thread of its own runs trio; calls from any thread are passed to it through anyio's blocking portal::

    from miniclaw import blocking

    with blocking.open_runtime("sessions") as runtime:
        session = runtime.get_or_create_session("telegram", "123456789")

Sessions returned here are the live objects of the trio thread: read them, and change them only through these calls.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from miniclaw.errors import RuntimeClosedError
from miniclaw.session import runtime as trio_runtime
from miniclaw.session.cleanup import CleanupResult
from miniclaw.session.hooks.threaded import in_threads
from miniclaw.session.live.save_job import SaveReport
from miniclaw.session.ownership.process import OpeningProcess
from miniclaw.session.types import Message, Session

P = ParamSpec("P")
T = TypeVar("T")


class BlockingSessionRuntime:
    """The calls of `miniclaw.session.manager.SessionManager` and `Cleanup`, each blocking until it is done.

    They raise the same errors; also `RuntimeClosedError` from the end of the block on, and `ForkedRuntimeError` in a
    forked child, which does not have the trio thread.
    """

    def __init__(self, portal: BlockingPortal, runtime: trio_runtime.SessionRuntime) -> None:
        self._portal = portal
        self._runtime = runtime
        self._ended = False
        self._process = OpeningProcess()

    def _call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        self._process.check()
        try:
            return self._portal.call(partial(function, *args, **kwargs))
        except RuntimeError as error:
            if self._ended:  # the runtime's thread has ended, or is ending
                raise RuntimeClosedError from error
            raise

    def end(self) -> None:
        """Note that the block is left: a call that then fails without the thread raises `RuntimeClosedError`."""
        self._ended = True

    def get_or_create_session(self, channel: str, chat_id: str) -> Session:
        """Return the session of a chat; create one if there is none. Counts as an access."""
        return self._call(self._runtime.manager.get_or_create_session, channel, chat_id)

    def get_session(self, session_id: str) -> Session | None:
        """Return a session, or None if there is none. Counts as an access."""
        return self._call(self._runtime.manager.get_session, session_id)

    def add_message(self, session_id: str, message: Message, *, durable: bool = False) -> Session:
        """Append a message to a session. Counts as an access. With `durable`, it is on disk when this returns."""
        return self._call(self._runtime.manager.add_message, session_id, message, durable=durable)

    def is_session_expired(self, session_id: str) -> bool:
        """Return whether the policy lets a session be removed now. Does not count as an access."""
        return self._call(self._runtime.manager.is_session_expired, session_id)

    def delete_session(self, session_id: str) -> int:
        """Delete one session now, whatever its age; return the bytes freed."""
        return self._call(self._runtime.manager.delete_session, session_id).bytes_freed

    def restore_session(self, text: str) -> str:
        """Restore a session from the trash, by its id or by that of an entry; return the session's id."""
        return self._call(self._runtime.manager.restore_session, text)

    def move_session(self, session_id: str, target_id: str) -> None:
        """Move a session to another chat: only its ids change, on disk."""
        self._call(self._runtime.manager.move_session, session_id, target_id)

    def set_pinned(self, session_id: str, pinned: bool) -> bool:
        """Pin or unpin a session; return whether that changed anything. Does not count as an access."""
        return self._call(self._runtime.manager.set_pinned, session_id, pinned)

    def save_all_sessions(self) -> SaveReport:
        """Save every dirty session."""
        return self._call(self._runtime.manager.save_all_sessions)

    def run_cleanup(self) -> CleanupResult:
        """Run one cleanup: scan, and remove sessions as the policy says."""
        return self._call(self._runtime.cleanup.run)


@contextmanager
def open_runtime(sessions_dir: Path | str, **options: Any) -> Iterator[BlockingSessionRuntime]:
    """Run the session runtime around a block, with the arguments of `miniclaw.session.runtime.open_runtime`.

    The hooks `before_remove`, `after_remove` and `on_due` are plain functions, as is `load`. Each is called in a worker
    thread, and may call the runtime.

    Raises:
        MiniclawError: As `miniclaw.session.runtime.open_runtime`, at the beginning and on leaving.
        ForkedRuntimeError: The block was left in a forked child. The runtime continues in the process that opened it.
    """
    process = OpeningProcess()
    with ExitStack() as resources:
        portal = resources.enter_context(_PortalThread())
        opening = partial(trio_runtime.open_runtime, sessions_dir, **in_threads(options))
        runtime = resources.enter_context(portal.wrap_async_context_manager(portal.call(opening)))
        blocking = BlockingSessionRuntime(portal, runtime)
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
