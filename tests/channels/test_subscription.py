"""What waits for one client: in order, bounded, and no more frames than needed."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from miniclaw.channels.subscription import (
    GATHER_SECONDS,
    MAX_QUEUED_CHARS,
    MAX_QUEUED_EVENTS,
    Delta,
    Event,
    PersonSaid,
    Replied,
    Saved,
    Subscription,
)

DELTA = Delta("Hel", "1")
REPLY = Replied("Hello", False, "1")


async def taken(subscription: Subscription) -> list[Event]:
    """Return all that waits."""
    found: list[Event] = []
    with trio.move_on_after(60):
        while (event := await subscription.next_event()) is not None:
            found.append(event)
    return found


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([DELTA, Delta("lo", "1")], [Delta("Hello", "1")]),
        ([DELTA, REPLY], [REPLY]),
        ([DELTA, Saved("1"), Delta("lo", "1"), REPLY], [DELTA, Saved("1"), REPLY]),
        ([DELTA, Delta("another", "2")], [DELTA, Delta("another", "2")]),
        ([DELTA, Replied("another", False, "2")], [DELTA, Replied("another", False, "2")]),
        ([PersonSaid("1", "hi"), Saved("1"), REPLY], [PersonSaid("1", "hi"), Saved("1"), REPLY]),
    ],
)
async def test_subscription_pieces_that_wait_go_as_one(
    autojump_clock: MockClock, events: list[Event], expected: list[Event]
) -> None:
    """Pieces of one answer are joined, the whole stands for those that nobody has taken, and the order stays."""
    subscription = Subscription()
    for event in events:
        subscription.put(event)
    assert await taken(subscription) == expected


async def test_subscription_first_piece_waits_a_moment_and_no_longer(mock_clock: MockClock) -> None:
    """An answer that comes at once is one frame; one that takes time is shown from its first piece on."""
    subscription = Subscription()
    found: list[Event | None] = []

    async def take() -> None:
        found.append(await subscription.next_event())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        subscription.put(DELTA)
        await wait_all_tasks_blocked()
        assert found == []
        mock_clock.jump(GATHER_SECONDS)
    assert found == [DELTA]


@pytest.mark.parametrize(
    ("event", "count"),
    [(Saved("1"), MAX_QUEUED_EVENTS), (PersonSaid("1", "x" * 100_000), MAX_QUEUED_CHARS // 100_000)],
)
async def test_subscription_beyond_its_bound_is_left_behind(
    autojump_clock: MockClock, event: Event, count: int
) -> None:
    """So much may wait; with one more the client is left behind, and nothing is kept for it."""
    subscription = Subscription()
    for _ in range(count):
        subscription.put(event)
    assert repr(subscription) == f"<Subscription waiting={count} left_behind=False>"
    subscription.put(event)
    subscription.put(event)
    assert repr(subscription) == "<Subscription waiting=0 left_behind=True>"
    assert await subscription.next_event() is None


async def test_subscription_pieces_that_are_joined_count_as_one(autojump_clock: MockClock) -> None:
    """A model that is faster than its client costs it nothing but the frames in between."""
    subscription = Subscription()
    for _ in range(10 * MAX_QUEUED_EVENTS):
        subscription.put(Delta("x", "1"))
    assert await subscription.next_event() == Delta("x" * 10 * MAX_QUEUED_EVENTS, "1")
    for _ in range(3):  # what was taken or dropped does not count any more
        subscription.put(Delta("x" * (MAX_QUEUED_CHARS - 10), "1"))
        subscription.put(Replied("whole", False, "1"))
        assert await subscription.next_event() == Replied("whole", False, "1")


async def test_subscription_emptied_waits_for_the_last_event() -> None:
    """Who waits for the end of what waits is woken when it was taken, or dropped."""
    subscription = Subscription()
    await subscription.emptied()
    for drop in (False, True):
        subscription.put(Saved("1"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subscription.emptied)
            await wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            if drop:
                for _ in range(MAX_QUEUED_EVENTS):
                    subscription.put(Saved("1"))
            else:
                await subscription.next_event()
