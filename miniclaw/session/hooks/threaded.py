"""Hooks of a program that is not trio: plain functions, each called in a worker thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from inspect import iscoroutinefunction
from typing import Any

import trio

from miniclaw.session.hooks.types import LoadSession, RemovalCandidate
from miniclaw.session.types import Session


def in_threads(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `open_runtime`, with hooks that are plain functions as async ones.

    A plain `before_remove` gets a plain `load`. An async function stays as it is, and is called on the trio thread.

    Cancellation of a hook, as by its deadline: the answer of the thread is ignored. The thread ends when its function
    returns.
    """
    wrapped = dict(options)
    for name, wrap in (("before_remove", _asking), ("after_remove", _telling), ("on_due", _telling)):
        hook = options.get(name)
        if callable(hook) and not (iscoroutinefunction(hook) or iscoroutinefunction(type(hook).__call__)):
            wrapped[name] = wrap(hook)
    return wrapped


def _asking(hook: Callable[..., object]) -> Callable[[RemovalCandidate, LoadSession], Awaitable[object]]:
    async def ask(candidate: RemovalCandidate, load: LoadSession) -> object:
        def load_from_thread() -> Session:
            return trio.from_thread.run(load)

        return await trio.to_thread.run_sync(hook, candidate, load_from_thread, abandon_on_cancel=True)

    return ask


def _telling(hook: Callable[..., object]) -> Callable[[object], Awaitable[object]]:
    async def tell(told: object) -> object:
        return await trio.to_thread.run_sync(hook, told, abandon_on_cancel=True)

    return tell
