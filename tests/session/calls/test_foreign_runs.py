"""Calls from another run of trio, or from a thread: refused, and without any effect on the runtime."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio

import miniclaw
from miniclaw.stores import MemoryStore
from tests.fakes.journalled import OLD

ID = "web_anna"


async def _list(sessions: miniclaw.Sessions) -> list[miniclaw.SessionEntry]:
    return [entry async for entry in sessions.list()]


async def _use(sessions: miniclaw.Sessions) -> None:
    async with sessions.using(ID):
        pass


_CALLS: dict[str, Callable[[miniclaw.Sessions], Awaitable[object]]] = {
    "get_or_create": lambda sessions: sessions.get_or_create("web", "bert"),
    "get": lambda sessions: sessions.get(ID),
    "read": lambda sessions: sessions.read(ID),
    "using": _use,
    "add_message": lambda sessions: sessions.add_message(ID, miniclaw.Message("user", "two", OLD), durable=True),
    "pop_messages": lambda sessions: sessions.pop_messages(ID, 1),
    "clear": lambda sessions: sessions.clear(ID),
    "set_metadata": lambda sessions: sessions.set_metadata(ID, title="two"),
    "set_pinned": lambda sessions: sessions.set_pinned(ID, True),
    "durable": lambda sessions: sessions.durable(ID),
    "list": _list,
    "delete": lambda sessions: sessions.delete(ID),
    "restore": lambda sessions: sessions.restore(ID),
    "plan": lambda sessions: sessions.plan(),
    "clean_up": lambda sessions: sessions.clean_up(),
}


@pytest.mark.parametrize("over_store", [False, True], ids=["directory", "store"])
async def test_call_from_another_run_of_trio_is_refused_and_harms_nothing(sessions_dir: Path, over_store: bool) -> None:
    """Each call is refused by name; the runtime goes on, and ends with all that it has accepted."""
    opened = miniclaw.open_runtime(store=MemoryStore()) if over_store else miniclaw.open_runtime(sessions_dir)
    async with opened as sessions:
        await sessions.get_or_create("web", "anna")
        await sessions.add_message(ID, miniclaw.Message("user", "one", OLD))

        def call_in_a_run_of_its_own(call: Callable[[miniclaw.Sessions], Awaitable[object]]) -> None:
            async def main() -> None:
                with pytest.raises(miniclaw.ForeignRunError, match=r"miniclaw\.blocking\.open_runtime"):
                    await call(sessions)

            trio.run(main)

        for call in _CALLS.values():
            await trio.to_thread.run_sync(partial(call_in_a_run_of_its_own, call))
        await sessions.add_message(ID, miniclaw.Message("user", "two", OLD), durable=True)
        found = await sessions.read(ID)
        assert found is not None
        assert ([each.content for each in found.messages], found.pinned, found.metadata) == (["one", "two"], False, {})
        assert [entry.session_id for entry in await _list(sessions)] == [ID]


async def test_list_in_a_thread_without_trio_is_refused(sessions_dir: Path) -> None:
    """A call that begins no wait is refused as well."""
    async with miniclaw.open_runtime(sessions_dir) as sessions:

        def call() -> None:
            with pytest.raises(miniclaw.ForeignRunError):
                sessions.list()

        await trio.to_thread.run_sync(call)
