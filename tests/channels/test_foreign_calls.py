"""Calls of foreign code that do not end are named, each once."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from miniclaw.channels.foreign_calls import OVERDUE_SECONDS, ForeignCalls


async def pass_time(mock_clock: MockClock, seconds: float) -> None:
    await wait_all_tasks_blocked()
    mock_clock.jump(seconds)
    await wait_all_tasks_blocked()


async def test_calls_overdue_one_is_reported_once(mock_clock: MockClock) -> None:
    """A call is reported when its time is over, and neither before nor again; one that has ended never is."""
    calls = ForeignCalls()
    reported: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(calls.watch, reported.append)
        with calls.call("web.send"):
            await pass_time(mock_clock, OVERDUE_SECONDS - 1)
            with calls.call("tty.send"):
                assert reported == []
                await pass_time(mock_clock, 1)
                assert reported == ["web.send"]
            await pass_time(mock_clock, 10 * OVERDUE_SECONDS)
        assert reported == ["web.send"]
        with calls.call("irc.send"):
            await pass_time(mock_clock, OVERDUE_SECONDS)
        assert reported == ["web.send", "irc.send"]
        nursery.cancel_scope.cancel()


async def test_calls_lasting_one_is_never_overdue(mock_clock: MockClock) -> None:
    """The method that receives messages lasts as long as the gateway."""
    calls = ForeignCalls()
    reported: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(calls.watch, reported.append)
        with calls.call("web.run", lasts=True):
            await pass_time(mock_clock, 10 * OVERDUE_SECONDS)
            assert calls.names() == ["web.run"]
        assert calls.names() == []
        nursery.cancel_scope.cancel()
    assert reported == []


async def test_calls_paused_one_is_not_blamed_and_its_time_begins_anew(mock_clock: MockClock) -> None:
    """A model is not blamed for the channel that takes a piece, and each piece gives it time for the next one."""
    calls = ForeignCalls()
    reported: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(calls.watch, reported.append)
        with calls.call("mine.stream") as asking:
            asking.pause()
            with calls.call("web.send_delta"):
                assert calls.names() == ["web.send_delta"]
                await pass_time(mock_clock, OVERDUE_SECONDS)
                assert reported == ["web.send_delta"]
            asking.go_on()
            await pass_time(mock_clock, OVERDUE_SECONDS - 1)
            assert reported == ["web.send_delta"]
            await pass_time(mock_clock, 1)
            assert reported == ["web.send_delta", "mine.stream"]
        nursery.cancel_scope.cancel()
