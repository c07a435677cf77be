"""The hub of the clients that are connected: what they are told, what it keeps, and whom it makes wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from miniclaw.agent.inbox import MAX_WAITING_PER_CHAT, Inbox
from miniclaw.channels.base import (
    ConfirmingChannel,
    InboundMessage,
    OutboundDelta,
    OutboundMessage,
    RefusingChannel,
    StreamingChannel,
)
from miniclaw.channels.live import AnswerSoFar, LiveChannel, UnderWay
from miniclaw.channels.subscription import Delta, Event, PersonSaid, Refused, Replied, Saved, Subscription
from miniclaw.errors import ChannelNotRunningError
from tests.fakes.logs import LogRecorder

HELLO = InboundMessage("web", "a", "hello", inbound_id="1")


@asynccontextmanager
async def open_hub() -> AsyncIterator[tuple[LiveChannel, Inbox]]:
    """Give a hub that runs, with its inbox."""
    hub, inbox = LiveChannel("web"), Inbox()
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run, inbox)
        yield hub, inbox
        nursery.cancel_scope.cancel()


async def told(subscription: Subscription) -> list[Event]:
    """Return what waits for a client."""
    events: list[Event] = []
    while not repr(subscription).startswith("<Subscription waiting=0"):
        found = await subscription.next_events()
        assert found is not None
        events += found
    return events


def delta(text: str, message: InboundMessage = HELLO) -> OutboundDelta:
    return OutboundDelta("web", message.chat_id, text, message)


def reply(text: str, message: InboundMessage = HELLO, *, failed: bool = False) -> OutboundMessage:
    return OutboundMessage("web", message.chat_id, text, message, failed)


def test_live_channel_is_all_that_a_channel_can_be() -> None:
    """It streams and confirms; a name that cannot be a channel's is refused."""
    hub = LiveChannel("web")
    assert isinstance(hub, StreamingChannel)
    assert isinstance(hub, ConfirmingChannel)
    assert isinstance(hub, RefusingChannel)
    with pytest.raises(ValueError, match="a channel is"):
        LiveChannel("Web Chat")


async def test_live_message_is_told_to_all_of_its_chat_and_to_nobody_else(autojump_clock: MockClock) -> None:
    """Everybody in a chat sees the message, the answer and that it is saved; other chats see nothing."""
    async with open_hub() as (hub, inbox), hub.attach("a") as one, hub.attach("a") as two, hub.attach("b") as other:
        await hub.post("a", "1", "hello")
        assert await inbox.next_message() == HELLO
        await hub.send_delta(delta("Hel"))
        hub.confirm(HELLO, answered=False)
        await hub.send(reply("Hello"))
        hub.confirm(HELLO, answered=True)
        expected = [PersonSaid("1", "hello"), Delta("Hel", "1"), Saved("1"), Replied("Hello", False, "1")]
        assert await told(one) == expected
        assert await told(two) == expected
        assert await told(other) == []


async def test_live_message_posted_again_while_it_is_under_way_is_the_same(autojump_clock: MockClock) -> None:
    """A client that sends again what waits, or is being answered, changes nothing."""
    async with open_hub() as (hub, inbox), hub.attach("a") as client:
        await hub.post("a", "1", "hello")
        await hub.post("a", "1", "hello")
        assert inbox.waiting() == 1
        await inbox.next_message()
        await hub.send_delta(delta("Hel"))
        await hub.post("a", "1", "hello")
        assert inbox.waiting() == 0
        assert await told(client) == [PersonSaid("1", "hello"), Delta("Hel", "1")]


async def test_live_who_comes_later_is_told_what_is_under_way() -> None:
    """Whoever attaches sees what waits, in order, and how far the answer is; the rest follows."""
    async with open_hub() as (hub, _):
        assert hub.under_way("a") == UnderWay()
        for inbound_id in ("1", "2"):
            await hub.post("a", inbound_id, "hello")
        await hub.send_delta(delta("Hel"))
        await hub.send_delta(delta("lo"))
        async with hub.attach("a") as client:
            waiting = (PersonSaid("1", "hello"), PersonSaid("2", "hello"))
            assert hub.under_way("a") == UnderWay(waiting, AnswerSoFar("1", "Hello"))
            assert hub.is_in_flight("a", "1")
            await hub.send(reply("Hello you"))
            assert hub.under_way("a") == UnderWay(waiting[1:])
            assert not hub.is_in_flight("a", "1")
            assert await told(client) == [Replied("Hello you", False, "1")]


async def test_live_saved_is_told_once_also_to_who_sends_again_what_was_answered(autojump_clock: MockClock) -> None:
    """However often the loop confirms, clients hear it once for each time that it was sent; then nothing is in flight."""
    async with open_hub() as (hub, _), hub.attach("a") as client:
        await hub.post("a", "1", "hello")
        hub.confirm(HELLO, answered=False)
        await hub.send(reply("Hello"))
        hub.confirm(HELLO, answered=True)
        await hub.post("a", "1", "hello")  # its `saved` was lost on the way
        assert hub.is_in_flight("a", "1")
        hub.confirm(HELLO, answered=False)
        hub.confirm(HELLO, answered=True)
        assert not hub.is_in_flight("a", "1")
        said, saved = PersonSaid("1", "hello"), Saved("1")
        assert await told(client) == [said, saved, Replied("Hello", False, "1"), said, saved]


async def test_live_who_sends_again_what_is_being_answered_hears_that_it_is_saved(autojump_clock: MockClock) -> None:
    """Whoever was away when a message was told to be saved learns it when they send it again, and not only next time."""
    async with open_hub() as (hub, _):
        async with hub.attach("a"):
            await hub.post("a", "1", "hello")
            hub.confirm(HELLO, answered=False)
        async with hub.attach("a") as client:
            await hub.post("a", "1", "hello")
            assert await told(client) == [Saved("1")]


async def test_live_message_that_was_not_recorded_can_be_posted_again() -> None:
    """What failed and was never confirmed is taken as new."""
    async with open_hub() as (hub, inbox), hub.attach("a"):
        await hub.post("a", "1", "hello")
        await hub.send(reply("not recorded", failed=True))
        await hub.post("a", "1", "hello")
        assert inbox.waiting() == 2


async def test_live_chat_that_floods_waits_and_no_other(autojump_clock: MockClock) -> None:
    """Beyond what may wait of a chat its sender waits, until there is room; other chats go on."""
    async with open_hub() as (hub, inbox), trio.open_nursery() as nursery:
        for number in range(MAX_WAITING_PER_CHAT):
            await hub.post("a", str(number), "hello")
        nursery.start_soon(hub.post, "a", "next", "hello")
        await wait_all_tasks_blocked()
        assert inbox.waiting() == MAX_WAITING_PER_CHAT
        assert len(hub.under_way("a").waiting) == MAX_WAITING_PER_CHAT
        await hub.post("b", "1", "hello")
        await inbox.next_message()
        await wait_all_tasks_blocked()
        assert hub.under_way("a").waiting[-1] == PersonSaid("next", "hello")


async def test_live_message_whose_sender_leaves_while_it_waits_for_room_is_taken_from_who_sent_it_again(
    autojump_clock: MockClock,
) -> None:
    """A message that two connections want to post is posted once, whichever of them stays."""
    async with open_hub() as (hub, inbox), trio.open_nursery() as nursery:
        for number in range(MAX_WAITING_PER_CHAT):
            await hub.post("a", str(number), "hello")
        leaving = trio.CancelScope()

        async def leave() -> None:
            with leaving:
                await hub.post("a", "next", "hello")

        nursery.start_soon(leave)
        await wait_all_tasks_blocked()
        nursery.start_soon(hub.post, "a", "next", "hello")
        await wait_all_tasks_blocked()
        leaving.cancel()
        await wait_all_tasks_blocked()
        await inbox.next_message()
        await wait_all_tasks_blocked()
        assert [said.id for said in hub.under_way("a").waiting].count("next") == 1
        assert inbox.waiting() == MAX_WAITING_PER_CHAT


async def test_live_channel_that_does_not_run_refuses() -> None:
    """Before it runs and after, what is posted is refused with the reason, also what waits for room at that moment."""
    hub, inbox = LiveChannel("web"), Inbox()
    with pytest.raises(ChannelNotRunningError, match="'web' is starting; send the message again"):
        await hub.post("a", "1", "hello")
    refusals: list[str] = []
    async with trio.open_nursery() as nursery, trio.open_nursery() as running:
        await running.start(hub.run, inbox)
        for number in range(MAX_WAITING_PER_CHAT):
            await hub.post("a", str(number), "hello")

        async def wait_for_room() -> None:
            try:
                await hub.post("a", "next", "hello")
            except ChannelNotRunningError as refusal:
                refusals.append(refusal.phase)

        nursery.start_soon(wait_for_room)
        await wait_all_tasks_blocked()
        running.cancel_scope.cancel()
    assert refusals == ["stopping"]
    with pytest.raises(ChannelNotRunningError, match="stopping"):
        await hub.post("b", "1", "hello")
    assert inbox.waiting() == MAX_WAITING_PER_CHAT


async def test_live_inbox_that_is_closed_is_the_end(autojump_clock: MockClock) -> None:
    """An agent that takes no more is as good as a channel that has ended."""
    async with open_hub() as (hub, inbox):
        inbox.close()
        with pytest.raises(ChannelNotRunningError, match="stopping"):
            await hub.post("a", "1", "hello")
        assert repr(hub) == "<LiveChannel web running chats=0 clients=0>"


async def test_live_client_that_takes_nothing_is_left_behind_and_no_other(
    autojump_clock: MockClock, logs: LogRecorder
) -> None:
    """Neither the model nor the other clients wait for one that does not read."""
    async with open_hub() as (hub, _), hub.attach("a") as stalled, hub.attach("a") as quick:
        for number in range(300):
            message = InboundMessage("web", "a", "hello", inbound_id=str(number))
            await hub.send(reply(f"answer {number}", message))
            assert await quick.next_events() == [Replied(f"answer {number}", False, str(number))]
        assert await stalled.next_events() is None
        assert repr(hub) == "<LiveChannel web running chats=1 clients=1>"
        assert logs.one("Client left behind; it does not take what it is sent")["level"] == "warning"


async def test_live_loop_faster_than_the_post_changes_no_order(autojump_clock: MockClock) -> None:
    """Where the answer begins before the sender has come to itself, the message is still told first."""
    hub = LiveChannel("web")

    class Hasty:
        async def send(self, message: InboundMessage, /) -> None:
            await hub.send(reply("Hello", message))

        def send_nowait(self, message: InboundMessage, /) -> None:
            raise trio.WouldBlock

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(hub.run, Hasty()))
        async with hub.attach("a") as client:
            await hub.post("a", "1", "hello")
            assert await told(client) == [PersonSaid("1", "hello"), Replied("Hello", False, "1")]
        assert repr(hub) == "<LiveChannel web running chats=0 clients=0>"
        nursery.cancel_scope.cancel()


async def test_live_chat_where_nothing_is_going_on_is_forgotten(autojump_clock: MockClock) -> None:
    """A thousand chats that have come and gone leave nothing behind, whether anybody was there for the answer or not."""
    async with open_hub() as (hub, inbox):
        for number in range(1000):
            chat = f"chat {number}"
            message = InboundMessage("web", chat, "hello", inbound_id="1")
            async with hub.attach(chat):
                await hub.post(chat, "1", "hello")
            inbox.done(await inbox.next_message() or message)
            await hub.send_delta(delta("Hel", message))
            hub.confirm(message, answered=False)
            await hub.send(reply("Hello", message))
            hub.confirm(message, answered=True)
        assert repr(hub) == "<LiveChannel web running chats=0 clients=0>"


async def test_live_refused_is_told_once_and_never_as_saved(autojump_clock: MockClock) -> None:
    """Clients hear that a message is not kept, also one that sends it again; that its turn ends makes it no saved one."""
    async with open_hub() as (hub, _), hub.attach("a") as subscription:
        await hub.post("a", "1", "hello")
        hub.refuse(HELLO, "deleted")
        hub.refuse(HELLO, "deleted")
        await hub.post("a", "1", "hello")
        hub.confirm(HELLO, answered=True)
        assert await told(subscription) == [PersonSaid("1", "hello"), Refused("deleted", "1"), Refused("deleted", "1")]


async def test_live_refused_of_a_chat_where_nobody_is_leaves_nothing_behind() -> None:
    """A message whose people have left is refused to nobody."""
    async with open_hub() as (hub, _):
        hub.refuse(HELLO, "deleted")
        assert "chats=0" in repr(hub)
