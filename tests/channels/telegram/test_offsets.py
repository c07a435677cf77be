"""What Telegram may forget, and when a message is handed over (again)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from miniclaw.channels.base import InboundMessage
from miniclaw.channels.telegram.deliveries import FOREVER, Deliveries
from miniclaw.channels.telegram.offsets import MAX_REMEMBERED, Offsets

# Offsets --------------------------------------------------------------------------------------------------------


def test_offsets_never_pass_what_is_open() -> None:
    """Telegram keeps the first open update and all behind it; those that are closed are recognised."""
    offsets = Offsets()
    assert all(offsets.take(number) for number in (7, 8, 9))
    offsets.close(8)
    assert offsets.offset == 7
    assert not any(offsets.take(number) for number in (7, 8, 9))
    offsets.close(7)
    assert offsets.offset == 9
    offsets.close(9)
    assert offsets.offset == 10


def test_offsets_ask_for_everything_once_telegram_has_heard() -> None:
    """After a week of silence ids begin anywhere, also below the last offset."""
    offsets = Offsets()
    offsets.take(1000)
    offsets.close(1000)
    offsets.heard(1000)
    assert repr(offsets) == "<Offsets open=0 offset=1001>"
    offsets.heard(1001)
    assert repr(offsets) == "<Offsets open=0 offset=None>"
    assert offsets.take(3)
    assert offsets.offset == 3


def test_offsets_confirm_again_what_telegram_delivers_again() -> None:
    """A confirmation that got lost is said again; the update is not taken twice."""
    offsets = Offsets()
    offsets.take(5)
    offsets.close(5)
    offsets.heard(6)
    assert not offsets.take(5)
    assert offsets.offset == 6


def test_offsets_memory_is_bounded() -> None:
    """A bot that runs for years remembers the newest."""
    offsets = Offsets()
    for number in range(3 * MAX_REMEMBERED):
        offsets.take(number)
        offsets.close(number)
        offsets.heard(offsets.offset)
    assert not offsets.take(3 * MAX_REMEMBERED - 1)
    assert offsets.take(0)  # long forgotten
    assert len(offsets._closed) == MAX_REMEMBERED


ROUND = st.tuples(st.booleans(), st.lists(st.integers(0, 9), max_size=5))


@given(st.lists(ROUND, max_size=20))
def test_offsets_with_telegram_every_update_is_taken_once_and_forgotten_when_closed(
    rounds: list[tuple[bool, list[int]]],
) -> None:
    """Whatever is closed in whatever order, and whatever answers get lost: taken once, none forgotten while open."""
    offsets, queue, taken, closed = Offsets(), list(range(1, 20)), list[int](), set[int]()
    for lost, closing in [*rounds, *[(False, [0] * 10)] * 5]:
        offset = offsets.offset
        assert offset is None or all(number in closed for number in range(1, offset))
        queue = [number for number in queue if offset is None or number >= offset]
        if not lost:  # else it is not known to be heard
            offsets.heard(offset)
            taken += [number for number in queue[:10] if offsets.take(number)]
        for index in closing:
            if still_open := sorted(set(taken) - closed):
                number = still_open[index % len(still_open)]
                offsets.close(number)
                closed.add(number)
    assert taken == list(range(1, 20))
    assert closed == set(taken)
    assert queue == []


# Deliveries -----------------------------------------------------------------------------------------------------


def message(number: int, chat: str = "1") -> InboundMessage:
    return InboundMessage("telegram", chat, f"text {number}", {}, f"update-{number}")


def due(deliveries: Deliveries, now: float) -> list[int]:
    return [delivery.update_id for delivery in deliveries.due(now)]


def test_deliveries_one_of_a_chat_is_at_the_agent_at_a_time() -> None:
    """The next one of a chat waits for the first to be finished; other chats do not."""
    deliveries = Deliveries()
    for number, chat in ((1, "a"), (2, "a"), (3, "b")):
        deliveries.add(number, message(number, chat))
    assert due(deliveries, 0) == [1, 3]
    for delivery in deliveries.due(0):
        deliveries.hand_over(delivery)
    assert due(deliveries, 1e9) == []
    assert deliveries.next_due() == FOREVER
    first = deliveries.find(message(1, "a"))
    assert first is not None
    deliveries.save(first)
    deliveries.end_turn(first, 5, failed=False, told=True)
    assert due(deliveries, 1e9) == []  # answered, but the answer is not on disk
    deliveries.finish(first)
    assert due(deliveries, 5) == [2]
    assert deliveries.find(message(1, "a")) is None


def test_deliveries_what_was_refused_keeps_its_place() -> None:
    """A chat whose message the agent has no room for waits as a whole."""
    deliveries = Deliveries()
    deliveries.add(1, message(1))
    deliveries.add(2, message(2))
    (first,) = deliveries.due(0)
    deliveries.refuse(first, 10)
    assert due(deliveries, 10.5) == []
    assert deliveries.next_due() == 11
    assert due(deliveries, 11) == [1]


def test_deliveries_what_could_not_be_recorded_is_handed_over_later_and_later() -> None:
    """2, 4, 8, 16 and then every 30 seconds, and what is behind it in its chat waits."""
    deliveries = Deliveries()
    deliveries.add(1, message(1))
    deliveries.add(2, message(2))
    waits = []
    for _ in range(7):
        delivery = next(iter(deliveries.due(FOREVER)))
        assert delivery.update_id == 1
        deliveries.hand_over(delivery)
        deliveries.end_turn(delivery, 100, failed=True, told=True)
        assert delivery.told
        waits.append(deliveries.next_due() - 100)
    assert waits == [2, 4, 8, 16, 30, 30, 30]


def test_deliveries_what_is_on_disk_is_not_handed_over_again() -> None:
    """A turn that failed and left its mark will be confirmed; whether the save comes before it or after."""
    for early in (True, False):
        deliveries = Deliveries()
        deliveries.add(1, message(1))
        (delivery,) = deliveries.due(0)
        deliveries.hand_over(delivery)
        if early:
            deliveries.save(delivery)
        deliveries.end_turn(delivery, 100, failed=True, told=True)
        if not early:
            deliveries.save(delivery)
        assert deliveries.next_due() == FOREVER


def test_deliveries_failure_that_was_not_heard_is_told_again() -> None:
    """Only what reached the person counts as told."""
    deliveries = Deliveries()
    deliveries.add(1, message(1))
    (delivery,) = deliveries.due(0)
    deliveries.hand_over(delivery)
    deliveries.end_turn(delivery, 0, failed=True, told=False)
    assert not delivery.told
