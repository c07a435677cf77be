"""`miniclaw.open_runtime` opens a runtime over a directory or over a store, and refuses anything else."""

from __future__ import annotations

import inspect
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import miniclaw
from miniclaw.session.calls.opening import StoreOptions
from miniclaw.stores import MemoryStore, StoreRuntime, open_store_runtime


async def test_store_or_directory_makes_the_runtime(tmp_path: Path) -> None:
    """Both have the calls of `Sessions`; the options reach the runtime."""
    store = MemoryStore()

    async def keep(*_: object) -> miniclaw.Keep:
        return miniclaw.Keep("for ever")

    async with miniclaw.open_runtime(store=store, before_remove=keep, hook_deadline=timedelta(seconds=60)) as sessions:
        assert isinstance(sessions, StoreRuntime)
        await sessions.get_or_create("web", "a")
        with pytest.raises(miniclaw.SessionKeptError, match="for ever"):
            await sessions.delete("web_a")
    async with miniclaw.open_runtime(tmp_path / "sessions") as files:
        assert isinstance(files, miniclaw.SessionRuntime)
        await files.get_or_create("web", "a")
    assert (tmp_path / "sessions" / "web_a.json").exists()


@pytest.mark.parametrize(
    ("args", "options", "error", "sentence"),
    [
        ((), {}, ValueError, "either sessions_dir or store; neither was given"),
        (("sessions",), {"store": MemoryStore()}, ValueError, "either sessions_dir or store; both was given"),
        ((), {"store": MemoryStore(), "state_dir": "x"}, TypeError, "state_dir is no option of a runtime over a store"),
        ((), {"store": MemoryStore(), "on_due": 1}, TypeError, "on_due is an async function"),
    ],
)
def test_wrong_arguments_are_refused_at_the_call(
    args: tuple[Any, ...], options: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    """The error names the argument, before anything is opened."""
    with pytest.raises(error, match=sentence):
        miniclaw.open_runtime(*args, **options)


def test_options_are_those_of_the_runtime_over_a_store() -> None:
    """`open_runtime` passes on every option of `open_store_runtime`, with the hooks one by one."""
    parameters = set(inspect.signature(open_store_runtime).parameters) - {"store", "hooks"}
    assert set(StoreOptions.__annotations__) == {
        *parameters,
        "on_due",
        "before_remove",
        "after_remove",
        "hook_deadline",
    }


async def test_wrong_values_are_refused(tmp_path: Path) -> None:
    """An interval is positive, and a time of day has no zone."""
    for cleanup in (timedelta(0), timedelta(days=-1)):
        with pytest.raises(ValueError, match="cleanup"):
            async with miniclaw.open_runtime(store=MemoryStore(), cleanup=cleanup):
                pass
