"""Clients that take nothing: nobody waits for them, and neither does the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from miniclaw.channels.base import InboundMessage, OutboundMessage
from miniclaw.channels.live import LiveChannel
from miniclaw.channels.subscription import MAX_QUEUED_EVENTS
from miniclaw.session.live.store import open_store
from miniclaw.session.manager import SessionManager
from miniclaw.web.chat.connection import FAREWELL_SECONDS
from miniclaw.web.chat.endpoint import ChatEndpoint
from tests.fakes.asgi_client import AsgiClient
from tests.fakes.clock import WallClock
from tests.fakes.patience import PATIENCE_SECONDS


@asynccontextmanager
async def open_endpoint(
    sessions_dir: Path, clock: WallClock
) -> AsyncIterator[tuple[ChatEndpoint, LiveChannel, trio.Event]]:
    hub, drain = LiveChannel("web"), trio.Event()
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_store(sessions_dir) as store:
            manager = SessionManager(store, clock=clock)
            yield ChatEndpoint({"web": hub}, manager, drain=drain, trusted=False, model_name="none"), hub, drain


def answer(number: int) -> OutboundMessage:
    return OutboundMessage(
        "web", "main", f"answer {number}", InboundMessage("web", "main", "", inbound_id=f"a{number}")
    )


async def test_chat_client_that_stalls_is_closed_with_1013_and_no_other(sessions_dir: Path, clock: WallClock) -> None:
    """Who does not take what it is sent is told to come again, as soon as it takes anything; the others miss nothing."""
    stalled, quick = AsgiClient(), AsgiClient()
    async with open_endpoint(sessions_dir, clock) as (endpoint, hub, _), trio.open_nursery() as nursery:
        for client in (stalled, quick):
            nursery.start_soon(client.connect, endpoint)
            assert (await client.receive() or {})["type"] == "hello"
        stalled.takes = trio.Event()
        for number in range(MAX_QUEUED_EVENTS + 2):
            await hub.send(answer(number))
            assert (await quick.receive() or {})["text"] == f"answer {number}"
        stalled.takes.set()
        while await stalled.receive():
            pass
        assert stalled.closed is not None
        assert stalled.closed[0] == 1013
        assert quick.closed is None
        quick.leave()


async def test_chat_end_does_not_wait_for_who_stalls(
    sessions_dir: Path, clock: WallClock, mock_clock: MockClock
) -> None:
    """Who takes what it is sent gets all that waited, and 1001; the others have a moment, and no more."""
    stalled, quick = AsgiClient(), AsgiClient()
    async with open_endpoint(sessions_dir, clock) as (endpoint, hub, drain), trio.open_nursery() as nursery:
        ended: list[AsgiClient] = []

        async def connect(client: AsgiClient) -> None:
            await client.connect(endpoint)
            ended.append(client)

        for client in (stalled, quick):
            nursery.start_soon(connect, client)
            assert (await client.receive() or {})["type"] == "hello"
        stalled.takes = trio.Event()  # for ever
        for number in range(20):
            await hub.send(answer(number))
        drain.set()
        assert [(await quick.receive() or {})["text"] for _ in range(20)] == [f"answer {n}" for n in range(20)]
        assert await quick.receive() is None
        assert quick.closed == (1001, "the gateway is stopping")
        assert ended == [quick]
        for _ in range(2):  # for what waits, and for the farewell itself
            mock_clock.jump(FAREWELL_SECONDS)
            await wait_all_tasks_blocked()
        assert await stalled.receive() is None
        assert stalled.closed is None
    assert ended == [quick, stalled]


async def test_chat_client_that_leaves_is_forgotten(sessions_dir: Path, clock: WallClock) -> None:
    """Of a client that has gone nothing stays."""
    client = AsgiClient("chat=a")
    async with open_endpoint(sessions_dir, clock) as (endpoint, hub, _), trio.open_nursery() as nursery:
        nursery.start_soon(client.connect, endpoint)
        await client.receive()
        client.leave()
        assert await client.receive() is None
        await wait_all_tasks_blocked()
        assert repr(hub) == "<LiveChannel web starting chats=0 clients=0>"
