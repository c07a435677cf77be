"""The opening of a session runtime, over a directory or over another store."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Unpack, overload

import trio

from miniclaw.session import runtime as over_directory
from miniclaw.session.calls.rules import RuntimeOptions, StoreOptions
from miniclaw.session.runtime import SessionRuntime

if TYPE_CHECKING:  # start-up time: most programs keep their sessions in files
    from miniclaw.stores.protocol import SessionStore
    from miniclaw.stores.runtime import StoreRuntime

_HOOKS: Final = ("on_due", "before_remove", "after_remove")


@overload
def open_runtime(
    sessions_dir: Path | str, **options: Unpack[RuntimeOptions]
) -> AbstractAsyncContextManager[SessionRuntime]: ...


@overload
def open_runtime(
    *, store: SessionStore, **options: Unpack[StoreOptions]
) -> AbstractAsyncContextManager[StoreRuntime]: ...


def open_runtime(
    sessions_dir: Path | str | None = None, *, store: SessionStore | None = None, **options: Any
) -> AbstractAsyncContextManager[SessionRuntime] | AbstractAsyncContextManager[StoreRuntime]:
    """Run a session runtime around a block: over a directory of files, or over another store.

    Args:
        sessions_dir: The sessions directory; `miniclaw.session.runtime.open_runtime` has the options and the errors.
        store: A store in place of the directory; `miniclaw.stores.open_store_runtime` has the options and the errors.
        options: As there.

    Raises:
        ValueError: Neither `sessions_dir` nor `store` is given, or both are.
        TypeError: An option is none of this kind of runtime.
    """
    return opened(sessions_dir, store, options)


@overload
async def run_runtime(
    sessions_dir: Path | str,
    *,
    task_status: trio.TaskStatus[SessionRuntime] = trio.TASK_STATUS_IGNORED,
    **options: Unpack[RuntimeOptions],
) -> None: ...


@overload
async def run_runtime(
    *,
    store: SessionStore,
    task_status: trio.TaskStatus[StoreRuntime] = trio.TASK_STATUS_IGNORED,
    **options: Unpack[StoreOptions],
) -> None: ...


async def run_runtime(
    sessions_dir: Path | str | None = None,
    *,
    store: SessionStore | None = None,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
    **options: Any,
) -> None:
    """Run a session runtime until it is cancelled, and then end it as `open_runtime` does at the end of its block.

    ::

        sessions = await nursery.start(partial(miniclaw.run_runtime, "sessions", policy=policy))

    Args:
        sessions_dir: As for `open_runtime`.
        store: Likewise.
        task_status: Gets the runtime once it is open.
        options: As for `open_runtime`.

    Raises:
        UnsavedSessionsError: And the other errors of `open_runtime`; a nursery raises them in a group.

    Cancellation: the runtime is closed; every accepted change is saved nevertheless, within twice `GRACE_SECONDS`.
    """
    async with opened(sessions_dir, store, options) as runtime:
        task_status.started(runtime)
        await trio.sleep_forever()


def opened(
    sessions_dir: Path | str | None, store: SessionStore | None, options: dict[str, Any]
) -> AbstractAsyncContextManager[SessionRuntime] | AbstractAsyncContextManager[StoreRuntime]:
    """Return what `open_runtime` returns, for arguments that no type checker has seen; with the same errors."""
    if (sessions_dir is None) == (store is None):
        given = "neither was" if store is None else "both were"
        raise ValueError(f"a runtime has either sessions_dir or store; {given} given")
    if store is None:
        assert sessions_dir is not None  # noqa: S101 - for mypy
        return over_directory.open_runtime(sessions_dir, **options)
    return _open_store(store, dict(options))


def _open_store(store: SessionStore, options: dict[str, Any]) -> AbstractAsyncContextManager[StoreRuntime]:
    from miniclaw.session.hooks.hooks import Hooks  # noqa: PLC0415 - start-up time, as above
    from miniclaw.stores.runtime import open_store_runtime  # noqa: PLC0415 - likewise

    for name in options:
        if name not in StoreOptions.__annotations__:
            known = ", ".join(sorted(StoreOptions.__annotations__))
            raise TypeError(f"{name} is no option of a runtime over a store, which has {known}")
    hooks: dict[str, Any] = {name: options.pop(name) for name in _HOOKS if name in options}
    if "hook_deadline" in options:
        hooks["deadline"] = options.pop("hook_deadline")
    return open_store_runtime(store, hooks=Hooks(**hooks), **options)
