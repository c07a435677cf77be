"""The opening of a session runtime, over a directory or over another store."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack, overload

from miniclaw.clock import Clock, Now
from miniclaw.session import runtime as over_directory
from miniclaw.session.calls.rules import RuntimeOptions
from miniclaw.session.hooks.types import AfterRemove, BeforeRemove, OnDue
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.runtime import SessionRuntime

if TYPE_CHECKING:  # start-up time: most programs keep their sessions in files
    from miniclaw.stores.protocol import SessionStore
    from miniclaw.stores.runtime import StoreRuntime

_HOOKS: Final = ("on_due", "before_remove", "after_remove")


class StoreOptions(TypedDict, total=False):
    """The options of a runtime over a store; `open_store_runtime` and `open_runtime` have their meanings."""

    policy: RetentionPolicy | None
    cleanup: timedelta | time | None
    removes: bool
    notice: bool
    on_due: OnDue | None
    before_remove: BeforeRemove | None
    after_remove: AfterRemove | None
    hook_deadline: timedelta
    max_session_bytes: int
    max_live_sessions: int
    clock: Clock | Now | None


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
    if (sessions_dir is None) == (store is None):
        given = "neither" if store is None else "both"
        raise ValueError(f"open_runtime takes either sessions_dir or store; {given} was given")
    if store is None:
        assert sessions_dir is not None  # noqa: S101 - for mypy
        return over_directory.open_runtime(sessions_dir, **options)
    return _open_store(store, options)


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
