"""Hooks of a program that is not trio."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from miniclaw import Keep, RemovalCandidate, Remove, RemovedSession, Session, SessionKeptError, blocking
from miniclaw.blocking import BlockingSessionRuntime
from miniclaw.session.hooks.types import LoadSession
from tests.fakes.clock import WallClock
from tests.fakes.samples import write_session

ID = "telegram_1"


@pytest.mark.parametrize("answer", [Keep("not yet"), Remove()], ids=["keep", "remove"])
def test_plain_functions_are_hooks_in_threads_of_their_own(
    sessions_dir: Path, clock: WallClock, answer: Keep | Remove
) -> None:
    """A plain hook blocks neither the runtime nor its own calls of it: it loads, and reads another session."""
    path = write_session(sessions_dir, ID, clock.now)
    write_session(sessions_dir, "telegram_2", clock.now)
    runtimes: list[BlockingSessionRuntime] = []
    found: list[Session | None] = []
    told = threading.Event()
    threads = set()

    def before_remove(candidate: RemovalCandidate, load: Callable[[], Session]) -> Keep | Remove:
        threads.add(threading.current_thread().name)
        found.extend([load(), runtimes[0].get_session("telegram_2")])
        return answer

    def after_remove(removal: RemovedSession) -> None:
        told.set()

    with blocking.open_runtime(
        sessions_dir, clock=clock, cleanup_interval_seconds=None, before_remove=before_remove, after_remove=after_remove
    ) as runtime:
        runtimes.append(runtime)
        with pytest.raises(SessionKeptError, match="not yet") if answer == Keep("not yet") else nullcontext():
            runtime.delete_session(ID)
    assert [session and session.session_id for session in found] == [ID, "telegram_2"]
    assert (path.exists(), told.is_set()) == ((True, False) if answer == Keep("not yet") else (False, True))
    assert threads.isdisjoint({"miniclaw.blocking", threading.current_thread().name})


def test_async_functions_are_hooks_on_the_trio_thread(sessions_dir: Path, clock: WallClock) -> None:
    """A hook that is written for trio works unchanged, also as an object."""
    write_session(sessions_dir, ID, clock.now)
    threads: list[str] = []

    class Hook:
        async def __call__(self, candidate: RemovalCandidate, load: LoadSession) -> Any:
            threads.append(threading.current_thread().name)
            await load()
            return Remove()

    with blocking.open_runtime(
        sessions_dir, clock=clock, cleanup_interval_seconds=None, before_remove=Hook()
    ) as runtime:
        runtime.delete_session(ID)
    assert threads == ["miniclaw.blocking"]
