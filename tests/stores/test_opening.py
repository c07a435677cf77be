"""`miniclaw.open_runtime` opens a runtime over a directory or over a store, and refuses anything else."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import miniclaw
from miniclaw import blocking
from miniclaw.session.calls.rules import StoreOptions
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
        (("sessions",), {"store": MemoryStore()}, ValueError, "either sessions_dir or store; both were given"),
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


@pytest.mark.parametrize(
    ("args", "options", "error", "sentence"),
    [
        ((), {}, ValueError, "either sessions_dir or store; neither was given"),
        (("sessions",), {"store": MemoryStore()}, ValueError, "either sessions_dir or store; both were given"),
        ((), {"store": MemoryStore(), "state_dir": "x"}, TypeError, "state_dir is no option of a runtime over a store"),
        (("sessions",), {"polcy": None}, TypeError, "polcy"),
    ],
)
def test_wrong_arguments_of_the_others_are_refused_alike(
    args: tuple[Any, ...], options: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    """The same errors, from the call of `blocking.open_runtime` and in the nursery of `run_runtime`."""
    with pytest.raises(error, match=sentence):
        blocking.open_runtime(*args, **options)
    with pytest.raises(error, match=sentence):
        trio.run(partial(miniclaw.run_runtime, *args, **options))


async def test_run_runtime_over_a_store_runs_until_it_is_cancelled() -> None:
    """The nursery gets the runtime of the store, with its options; the leases are released at the end."""
    store = MemoryStore()
    async with trio.open_nursery() as nursery:
        run = partial(miniclaw.run_runtime, store=store, cleanup=None)
        sessions: StoreRuntime = await nursery.start(run)
        assert isinstance(sessions, StoreRuntime)
        await sessions.get_or_create("web", "a")
        nursery.cancel_scope.cancel()
    with pytest.raises(miniclaw.RuntimeClosedError):
        await sessions.get("web_a")
    async with miniclaw.open_runtime(store=store, cleanup=None) as after:
        assert await after.get("web_a") is not None


def test_blocking_runtime_over_a_store_has_the_calls_and_the_hooks() -> None:
    """A program without trio keeps its sessions in a store, and its plain hooks are asked."""
    store = MemoryStore()
    asked = []

    def keep(candidate: miniclaw.RemovalCandidate, load: Callable[[], miniclaw.Session]) -> miniclaw.Keep:
        asked.append((candidate.session_id, [message.content for message in load().messages]))
        return miniclaw.Keep("for ever")

    for _ in range(2):
        with blocking.open_runtime(store=store, cleanup=None, before_remove=keep) as sessions:
            sessions.get_or_create("web", "a")
            sessions.add_message("web_a", miniclaw.Message("user", "hello", sessions.now()))
            with pytest.raises(miniclaw.SessionKeptError, match="for ever"):
                sessions.delete("web_a")
            assert [entry.session_id for entry in sessions.list()] == ["web_a"]
        with pytest.raises(miniclaw.RuntimeClosedError):
            sessions.get("web_a")
    assert asked == [("web_a", ["hello"]), ("web_a", ["hello", "hello"])]


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
