"""The inbox: order within a chat, turns between chats, and who has to wait when somebody floods."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from miniclaw.agent.inbox import MAX_TURNS_PER_CHANNEL, MAX_WAITING_PER_CHANNEL, MAX_WAITING_PER_CHAT, Inbox
from miniclaw.channels.base import InboundMessage
from tests.fakes.patience import PATIENCE_SECONDS


def message(content: str, chat_id: str = "a", channel: str = "web") -> InboundMessage:
    return InboundMessage(channel, chat_id, content)


async def take(inbox: Inbox) -> str:
    """Take the next message and answer it at once."""
    with trio.fail_after(PATIENCE_SECONDS):
        taken = await inbox.next_message()
    assert taken is not None
    inbox.done(taken)
    return taken.content


async def test_inbox_chats_take_turns() -> None:
    """However much one chat has waiting, each chat has its turn before anybody has a second one."""
    inbox = Inbox()
    for content in ("a1", "a2", "a3", "b1", "c1", "c2"):
        inbox.send_nowait(message(content, content[0]))
    assert [await take(inbox) for _ in range(6)] == ["a1", "b1", "c1", "a2", "c2", "a3"]


async def test_inbox_chat_that_is_being_answered_gives_nothing_more() -> None:
    """The next message of a chat comes once the one before is done, and not before."""
    inbox = Inbox()
    first, second = message("1"), message("2")
    inbox.send_nowait(first)
    inbox.send_nowait(second)
    got: list[InboundMessage | None] = [await inbox.next_message()]
    async with trio.open_nursery() as nursery:

        async def next_one() -> None:
            got.append(await inbox.next_message())

        nursery.start_soon(next_one)
        await wait_all_tasks_blocked()
        assert got == [first]
        inbox.done(first)
    assert got == [first, second]


async def test_inbox_flooding_chat_waits_and_holds_up_nobody() -> None:
    """A chat beyond its bound waits, in order; another chat of the same channel goes on as if nothing were."""
    inbox = Inbox()
    sent = []
    async with trio.open_nursery() as nursery:

        async def flood() -> None:
            for number in range(MAX_WAITING_PER_CHAT + 3):
                await inbox.send(message(str(number), "loud"))
                sent.append(number)

        nursery.start_soon(flood)
        await wait_all_tasks_blocked()
        assert len(sent) == MAX_WAITING_PER_CHAT
        with pytest.raises(trio.WouldBlock):
            inbox.send_nowait(message("no", "loud"))
        with trio.fail_after(PATIENCE_SECONDS):
            await inbox.send(message("quiet", "quiet"))
        assert [await take(inbox) for _ in range(2)] == ["0", "quiet"]
        got = [await take(inbox) for _ in range(MAX_WAITING_PER_CHAT + 2)]
    assert got == [str(number) for number in range(1, MAX_WAITING_PER_CHAT + 3)]
    assert repr(inbox) == "<Inbox chats=0 ready=0 waiting=0>"


async def test_inbox_flooding_channel_waits_and_holds_up_no_other_channel() -> None:
    """A channel with many chats that write fills its own share only."""
    inbox = Inbox()
    for number in range(MAX_WAITING_PER_CHANNEL):
        inbox.send_nowait(message("x", str(number), "loud"))
    with pytest.raises(trio.WouldBlock):
        inbox.send_nowait(message("x", "one more", "loud"))
    inbox.send_nowait(message("x", "a", "quiet"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.send, message("late", "late", "loud"))
        await wait_all_tasks_blocked()
        assert inbox.waiting() == MAX_WAITING_PER_CHANNEL + 1
        await take(inbox)
    assert inbox.waiting() == MAX_WAITING_PER_CHANNEL + 1


async def test_inbox_channel_with_all_its_turns_taken_holds_up_no_other_channel() -> None:
    """A channel whose turns do not end keeps its own chats waiting, until one of them ends."""
    inbox = Inbox()
    for number in range(MAX_TURNS_PER_CHANNEL + 1):
        inbox.send_nowait(message(str(number), str(number), "stuck"))
    inbox.send_nowait(message("hello", "a", "good"))
    taken = [await inbox.next_message() for _ in range(MAX_TURNS_PER_CHANNEL)]
    assert await take(inbox) == "hello"
    with trio.move_on_after(0) as waiting:
        await inbox.next_message()
    assert waiting.cancelled_caught
    assert taken[0] is not None
    inbox.done(taken[0])
    assert await take(inbox) == str(MAX_TURNS_PER_CHANNEL)


async def test_inbox_senders_that_give_up_leave_nothing_behind() -> None:
    """A sender that is cancelled while it waits took no room and leaves none taken, in its chat and its channel."""
    inbox = Inbox()
    for number in range(MAX_WAITING_PER_CHANNEL - 1):
        inbox.send_nowait(message("x", str(number)))
    for content in ("kept", "cancelled for the channel"):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(inbox.send, message(content, "chat"))
                await wait_all_tasks_blocked()
                scope.cancel()
    got = [await take(inbox) for _ in range(MAX_WAITING_PER_CHANNEL)]
    assert got[-1] == "kept"
    for number in range(MAX_WAITING_PER_CHAT):
        inbox.send_nowait(message(str(number), "chat"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await inbox.send(message("cancelled for the chat", "chat"))
    assert [await take(inbox) for _ in range(MAX_WAITING_PER_CHAT)] == [str(n) for n in range(MAX_WAITING_PER_CHAT)]
    assert repr(inbox) == "<Inbox chats=0 ready=0 waiting=0>"


async def test_inbox_closed_gives_what_waits_and_then_none() -> None:
    """Closing takes no more, loses nothing, and ends the wait for more."""
    inbox = Inbox()
    first = message("1")
    inbox.send_nowait(first)
    inbox.send_nowait(message("2"))
    assert await inbox.next_message() == first
    inbox.close()
    with pytest.raises(trio.ClosedResourceError):
        inbox.send_nowait(message("3"))
    with pytest.raises(trio.ClosedResourceError):
        await inbox.send(message("3", "b"))
    inbox.done(first)
    assert await take(inbox) == "2"
    assert await inbox.next_message() is None
    assert repr(inbox) == "<Inbox chats=0 ready=0 waiting=0>"


async def test_inbox_rest_is_all_that_waits_in_order() -> None:
    """At the end everything that waits can be taken, also of the chats that are being answered."""
    inbox = Inbox()
    for content in ("a1", "a2", "b1", "a3"):
        inbox.send_nowait(message(content, content[0]))
    await inbox.next_message()
    assert [rest.content for rest in inbox.take_rest()] == ["a2", "a3", "b1"]
    assert inbox.waiting() == 0
