"""The calls of a program's hooks: each with a deadline, and contained.

No hook is called while a lock of a session is held: it may use the runtime as any other code, also for the session in
question. A session that it uses is kept by the removal's own last check. `before_remove` is not asked
a second time about a session that it deletes itself.

The calls of `after_remove` are made by one task, because a removal may end when no caller waits for it any more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from math import inf
from typing import Final, Literal, TypeAlias, TypeVar

import trio

from miniclaw.errors import RuntimeClosedError, SessionNotFoundError
from miniclaw.foreign import Contained, only, text_of
from miniclaw.loggers import get_logger
from miniclaw.session.calls.arguments import check_hook
from miniclaw.session.hooks.types import (
    AfterRemove,
    BeforeRemove,
    DueEntry,
    Keep,
    LoadSession,
    OnDue,
    RemovalCandidate,
    Remove,
    RemovedSession,
)

T = TypeVar("T")

HOOK_DEADLINE: Final = timedelta(seconds=30)
"""Default time for one call of a hook."""

ASKED_AT_ONCE: Final = 8
"""Most calls of `before_remove` that one removal of several sessions makes at the same time."""

HookName: TypeAlias = Literal["on_due", "before_remove", "after_remove"]

_FAILED: Final[dict[HookName, str]] = {
    "on_due": "on_due failed; the announcement stands",
    "before_remove": "before_remove failed; the session is kept, and the next run asks again",
    "after_remove": "after_remove failed; the removal stands",
}

ON_REQUEST: Final = frozenset({"deleted", "erased"})
"""The reasons of removals that a caller requests; a rule makes the others."""

_NO_ANSWER: Final = "before_remove failed; the log has its traceback"
_ENDS: Final = "the runtime ended before before_remove had answered"
_IS_ASKED: Final = "before_remove is being asked about it"
_VANISHED: Final = "it was removed while before_remove was asked"

# In a call of a hook, and in the tasks that it starts: the sessions about which `before_remove` is being asked.
_asking: ContextVar[frozenset[str] | None] = ContextVar("miniclaw_hook", default=None)

log: Final = get_logger("miniclaw.session.hooks")


def inside_hook() -> bool:
    """Return whether the caller is a hook, or a task that a hook has started."""
    return _asking.get() is not None


class Hooks:
    """The hooks of one runtime. For the trio thread, unless a method says otherwise.

    Args:
        on_due: Told of announced sessions; None: no such hook, as for the others.
        before_remove: Asked before each removal of a session.
        after_remove: Told of each removal.
        deadline: Time for one call, positive.

    Attributes:
        failures: Hook -> the calls that raised, answered wrongly or passed the deadline.
        kept: Number of removals that `before_remove` has stopped, by its answer or by its failure.

    Raises:
        TypeError: A hook cannot be called or is no async function, or `deadline` is no timedelta.
        ValueError: `deadline` is not positive.
    """

    def __init__(
        self,
        *,
        on_due: OnDue | None = None,
        before_remove: BeforeRemove | None = None,
        after_remove: AfterRemove | None = None,
        deadline: timedelta = HOOK_DEADLINE,
    ) -> None:
        given = {"on_due": on_due, "before_remove": before_remove, "after_remove": after_remove}
        for name, hook in given.items():
            check_hook(name, hook)
        if not isinstance(deadline, timedelta):
            raise TypeError(f"hook_deadline is a timedelta, not {deadline!r}")
        if deadline <= timedelta(0):
            raise ValueError(f"hook_deadline is positive, not {deadline}")
        self._on_due = on_due
        self._before_remove = before_remove
        self._after_remove = after_remove
        self._seconds = deadline.total_seconds()
        self.failures: dict[str, int] = dict.fromkeys(_FAILED, 0)
        self.kept: int = 0
        self._closed = False
        self._calls: set[trio.CancelScope] = set()  # of the calls under way
        # Removals for `after_remove`; an event is set when all before it have been told.
        self._send, self._receive = trio.open_memory_channel[RemovedSession | trio.Event](inf)
        self._telling = False
        self._told_all = trio.Event()

    @property
    def asks(self) -> bool:
        """True if the program is asked before a removal."""
        return self._before_remove is not None

    @property
    def wants_due(self) -> bool:
        """True if the program is told of announced sessions."""
        return self._on_due is not None

    # Before a removal ------------------------------------------------------------------------------------------

    async def ask(self, candidates: Sequence[tuple[RemovalCandidate, LoadSession]]) -> list[str | None]:
        """Ask the program about sessions that are about to be removed, up to `ASKED_AT_ONCE` at a time.

        The caller holds no lock, and verifies afterwards that a session was not used meanwhile.

        Returns:
            For each session, in the same order: None if it may be removed, else the reason for which it is kept.

        Cancellation: the calls are cancelled; no session may be removed.
        """
        hook = self._before_remove
        if hook is None:
            return [None] * len(candidates)
        answers: list[str | None] = [_ENDS] * len(candidates)
        limiter = trio.CapacityLimiter(ASKED_AT_ONCE)

        async def ask(place: int) -> None:
            async with limiter:
                answers[place] = await self._ask(hook, *candidates[place])

        if len(candidates) == 1:
            await ask(0)
        else:
            async with trio.open_nursery() as nursery:
                for place in range(len(candidates)):
                    nursery.start_soon(ask, place)
        self.kept += sum(answer is not None for answer in answers)
        return answers

    async def _ask(self, hook: BeforeRemove, candidate: RemovalCandidate, load: LoadSession) -> str | None:
        session_id = candidate.session_id
        if session_id in (_asking.get() or ()):
            return None if candidate.reason in ON_REQUEST else _IS_ASKED

        async def ask() -> Keep | Remove:
            answer: object = await hook(candidate, load)
            if not isinstance(answer, Keep | Remove):
                raise TypeError(
                    "before_remove has to return miniclaw.Keep(reason) or miniclaw.Remove(), "
                    f"but has returned {text_of(answer)}"
                )
            return answer

        before = _asking.set((_asking.get() or frozenset()) | {session_id})
        try:
            answer = await self._call("before_remove", ask, session_id=session_id)
        finally:
            _asking.reset(before)
        if isinstance(answer, Remove):
            return None
        return (text_of(answer.reason) or "before_remove keeps it") if isinstance(answer, Keep) else answer

    # After a removal -------------------------------------------------------------------------------------------

    def removed(self, removal: RemovedSession) -> None:
        """Tell the program of a removal; returns at once. Any thread may call, after trio has ended.

        Without effect once the hooks are closed: log and history have a removal that ends later.
        """
        if self._after_remove is not None and not self._closed:
            with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                self._send.send_nowait(removal)

    async def told(self) -> None:
        """Wait until the program has been told of all removals so far; a hook does not wait."""
        if self._telling and not inside_hook():
            all_before = trio.Event()
            with suppress(trio.ClosedResourceError):
                self._send.send_nowait(all_before)
                await all_before.wait()

    async def run(self) -> None:
        """Tell the program of removals until `finish` or `close` is called. Returns at once without `after_remove`.

        Cancellation: without effect; the end of the runtime calls `finish`, and then `close`.
        """
        hook = self._after_remove
        if hook is None or self._closed:
            return
        self._telling = True
        with trio.CancelScope(shield=True) as scope, self._receive:
            self._calls.add(scope)
            try:
                async for told in self._receive:
                    if isinstance(told, trio.Event):
                        told.set()
                    else:
                        await self._tell("after_remove", partial(hook, told), session_id=told.session_id)
            finally:
                self._calls.discard(scope)
                self._telling = False
                with suppress(trio.WouldBlock, trio.EndOfChannel):
                    while True:
                        if isinstance(left := self._receive.receive_nowait(), trio.Event):
                            left.set()
                self._told_all.set()

    # Announcements ---------------------------------------------------------------------------------------------

    async def tell_due(self, entries: Sequence[DueEntry]) -> None:
        """Tell the program of the sessions that a run announces, if there are any.

        Cancellation: the call is cancelled; the caller has to announce the sessions again.
        """
        if self._on_due is not None and entries:
            await self._tell("on_due", partial(self._on_due, tuple(entries)), sessions=len(entries))

    async def _tell(self, name: HookName, call: Callable[[], Awaitable[object]], **fields: object) -> None:
        before = _asking.set(_asking.get() or frozenset())
        try:
            await self._call(name, call, **fields)
        finally:
            _asking.reset(before)

    # The end ---------------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Wait until the program has been told of all removals so far, and tell it of no later one."""
        self._send.close()
        if self._telling:
            await self._told_all.wait()

    def close(self) -> bool:
        """Cancel the calls under way, and make none any more; return whether there was one."""
        self._closed = True
        self._send.close()
        for scope in self._calls:
            scope.cancel()
        return bool(self._calls)

    async def _call(self, name: HookName, call: Callable[[], Awaitable[T]], **fields: object) -> T | str:
        """Call a hook within the deadline; return its result, or in a sentence why it has none."""
        if self._closed:
            return _ENDS
        failed: list[str] = []
        report = partial(self._report, failed, name, fields)
        result: T | str = _ENDS
        waited: trio.Cancelled | None = None
        with trio.CancelScope() as under_way, trio.move_on_after(self._seconds) as deadline:
            self._calls.add(under_way)
            try:
                with Contained(report):
                    result = await call()
            except trio.Cancelled as cancelled:
                waited = cancelled
                raise
            finally:
                self._calls.discard(under_way)
        if under_way.cancel_called:
            return _ENDS
        if deadline.cancel_called and not failed:
            error = trio.TooSlowError(f"no answer within hook_deadline, {self._seconds:g} s")
            error.__cause__ = waited  # shows where the hook waited
            report(error)
        return failed[0] if failed else result

    def _report(self, failed: list[str], name: HookName, fields: dict[str, object], error: BaseException) -> None:
        """Log an error of a hook, unless it tells of nothing but the session's or the runtime's end."""
        missing = only(error, SessionNotFoundError)
        if only(error, RuntimeClosedError):
            failed.append(_ENDS)
        elif name == "before_remove" and missing and missing.session_id == fields["session_id"]:
            failed.append(_VANISHED)
        else:
            failed.append(_NO_ANSWER)
            self.failures[name] += 1
            log.bug(_FAILED[name], error, hook=name, **fields)
