"""Looking at the disk for the API: in threads, few at once, and given up when nobody waits any more."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from miniclaw.admin.context import LOOKING_THREADS
from miniclaw.config import Home
from miniclaw.session.journal import records
from miniclaw.session.journal.records import JOURNAL_NAME, Record
from miniclaw.session.types import Message
from miniclaw.workspace import workspace as looking
from miniclaw.workspace.sessions import judged_sessions
from miniclaw.workspace.workspace import Progress, Workspace
from tests.fakes.clock import WallClock
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.samples import write_session
from tests.fakes.serving import open_gateway
from tests.fakes.threads import wait_in_thread


async def test_look_is_in_a_thread_and_never_more_than_a_few(tmp_path: Path) -> None:
    """The event loop goes on meanwhile, and a crowd of clients has no crowd of threads."""
    at_once, most, lock = 0, 0, threading.Lock()
    gate = threading.Event()

    def work(_: Workspace) -> int:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        if at_once == LOOKING_THREADS:
            gate.set()
        assert gate.wait(PATIENCE_SECONDS)
        with lock:
            at_once -= 1
        return threading.get_ident()

    async with open_gateway(Home(tmp_path)) as context:
        threads: list[int] = []

        async def look() -> None:
            threads.append(await context.look(work))

        async with trio.open_nursery() as nursery:
            for _ in range(3 * LOOKING_THREADS):
                nursery.start_soon(look)
    assert most == LOOKING_THREADS
    assert threading.get_ident() not in threads


async def test_look_reads_the_journal_only_if_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that asks again and again does not have the whole journal read each time."""
    monkeypatch.setattr("miniclaw.session.journal.overlay.RACY_SECONDS", -1)
    read: list[int] = []

    def read_segment(data: bytes) -> tuple[list[Record], bool]:
        read.append(len(data))
        return records.read_segment(data)

    def texts(workspace: Workspace) -> list[str]:
        assert workspace.directory is not None
        return [message.content for message in workspace.directory.load("web_a").messages]

    monkeypatch.setattr("miniclaw.session.journal.overlay.read_segment", read_segment)
    async with open_gateway(Home(tmp_path)) as context:
        sessions, counts = context.runtime, []
        await sessions.get_or_create("web", "a")
        for text in ("one", "two"):
            await sessions.add_message("web_a", Message("user", text, sessions.now()), durable=True)
            for segment in (context.home.sessions_dir / JOURNAL_NAME).iterdir():
                os.utime(segment, (0, 0))  # the next change differs, within the same tick of the clock as well
            for _ in range(3):
                read.clear()
                assert (await context.look(texts))[-1] == text
                counts.append(len(read))
    assert counts == [1, 0, 0, 1, 0, 0]


async def test_look_that_is_cancelled_leaves_at_once_and_its_thread_ends_at_its_next_step(
    tmp_path: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing of a hundred thousand sessions does not hold up the end of the gateway."""
    monkeypatch.setattr(looking, "STEP_SECONDS", 0)
    home = Home(tmp_path / "home")
    for number in range(20):
        write_session(home.sessions_dir, f"web_{number}", clock.ago(days=1))
    began, goes_on, ended = threading.Event(), threading.Event(), threading.Event()
    steps: list[int] = []

    def work(workspace: Workspace) -> None:
        scanning = workspace.scanning

        @contextmanager
        def slowly() -> Iterator[Progress]:
            with scanning() as step:
                assert step is not None

                def on_progress(entries: int) -> None:
                    steps.append(entries)
                    began.set()
                    assert goes_on.wait(PATIENCE_SECONDS)
                    step(entries)

                yield on_progress

        workspace.scanning = slowly
        try:
            judged_sessions(workspace)
        finally:
            ended.set()

    async with open_gateway(home) as context:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(context.look, work)
            await wait_in_thread(began)
            nursery.cancel_scope.cancel()
        goes_on.set()
        await wait_in_thread(ended)
    assert len(steps) == 1
