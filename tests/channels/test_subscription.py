"""What waits for one client: in order, bounded, and no more frames than needed."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from miniclaw.channels.subscription import (
    MAX_QUEUED_CHARS,
    MAX_QUEUED_EVENTS,
    MAX_TAKEN_CHARS,
    Delta,
    Event,
    PersonSaid,
    Replied,
    Saved,
    Subscription,
)
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.steps import Steps

DELTA = Delta("Hel", "1")
REPLY = Replied("Hello", False, "1")


async def taken(subscription: Subscription) -> list[Event]:
    """Return all that waits."""
    found: list[Event] = []
    with trio.move_on_after(PATIENCE_SECONDS):
        while (events := await subscription.next_events()) is not None:
            found += events
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


async def test_subscription_event_waits_for_others_within_its_time(mock_clock: MockClock) -> None:
    """What comes at about the same time goes together, and nothing waits longer than it may."""
    subscription = Subscription()
    found: list[list[Event] | None] = []

    async def take() -> None:
        found.append(await subscription.next_events())
        found.append(await subscription.next_events())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        subscription.put(Saved("1"), within=10)
        mock_clock.jump(7)
        subscription.put(DELTA, within=2)
        subscription.put(Saved("2"), within=10)
        await wait_all_tasks_blocked()
        mock_clock.jump(1.9)
        await wait_all_tasks_blocked()
        assert found == []
        mock_clock.jump(0.2)
        await wait_all_tasks_blocked()
        assert found == [[Saved("1"), DELTA, Saved("2")]]
        subscription.put(Saved("3"), within=10)  # nothing is due from before
        mock_clock.jump(9.9)
        await wait_all_tasks_blocked()
        assert len(found) == 1
        mock_clock.jump(0.2)
    assert found[1] == [Saved("3")]


async def test_subscription_answer_takes_all_along_that_waits(mock_clock: MockClock) -> None:
    """The whole answer waits for nothing, and what waited for company has it: the task that sends is woken once."""
    subscription = Subscription()
    steps = Steps()

    async def take() -> None:
        with steps.counted():
            assert await subscription.next_events() == [Saved("0"), PersonSaid("1", "hi"), REPLY]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take, name="take")
        await wait_all_tasks_blocked()
        for event in (Saved("0"), PersonSaid("1", "hi"), DELTA):
            subscription.put(event, within=10)
        await wait_all_tasks_blocked()
        subscription.put(REPLY)
    assert steps.of["take"] == 1


async def test_subscription_much_text_is_taken_in_parts(mock_clock: MockClock) -> None:
    """One frame does not become as large as all that waits."""
    subscription = Subscription()
    events: list[Event] = [Replied("x" * MAX_TAKEN_CHARS, False, str(number)) for number in range(3)]
    for event in events:
        subscription.put(event)
    assert [await subscription.next_events() for _ in range(3)] == [[event] for event in events]


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
    assert await subscription.next_events() is None


async def test_subscription_pieces_that_are_joined_count_as_one(autojump_clock: MockClock) -> None:
    """A model that is faster than its client costs it nothing but the frames in between."""
    subscription = Subscription()
    for _ in range(10 * MAX_QUEUED_EVENTS):
        subscription.put(Delta("x", "1"))
    assert await subscription.next_events() == [Delta("x" * 10 * MAX_QUEUED_EVENTS, "1")]
    for _ in range(3):  # what was taken or dropped does not count any more
        subscription.put(Delta("x" * (MAX_QUEUED_CHARS - 10), "1"))
        subscription.put(Replied("whole", False, "1"))
        assert await subscription.next_events() == [Replied("whole", False, "1")]


async def test_subscription_end_gives_what_waits_and_no_more(mock_clock: MockClock) -> None:
    """Who takes the events learns of the end once the last one was given, and nothing gathers any more then."""
    subscription = Subscription()
    found: list[list[Event] | None] = []

    async def take() -> None:
        while (events := await subscription.next_events()) is not None:
            found.append(events)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        subscription.put(Saved("1"), within=10)
        subscription.end()
        subscription.put(Saved("2"))
    assert found == [[Saved("1")]]
    assert not subscription.left_behind
