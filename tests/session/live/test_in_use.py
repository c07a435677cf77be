"""A session that a turn of the agent holds in use."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio

from miniclaw.errors import RuntimeClosedError, SessionFullError, SessionNotFoundError
from miniclaw.session.live.store import FileSessionStore
from miniclaw.session.manager import SessionManager
from miniclaw.session.types import Message
from tests.fakes.clock import WallClock
from tests.fakes.steps import Steps


def said(clock: WallClock, text: str = "hi") -> Message:
    return Message("user", text, clock())


async def test_turn_creates_its_session_and_counts_it_as_used_until_its_end(
    manager: SessionManager, clock: WallClock
) -> None:
    """The cleanup asks whether a session is in use; a turn is, from its first step to its last."""
    async with manager.turn("web_a", clock()) as session:
        assert session.session_id == "web_a"
        await manager.save_all_sessions()
        live = manager.live("web_a")
        assert live is not None
        assert live.busy
    live = manager.live("web_a")
    assert live is not None
    assert not live.busy


async def test_turn_stamps_the_session_with_its_own_times(manager: SessionManager, clock: WallClock) -> None:
    """The clock is read once for a message and the access that it is."""
    began = clock()
    async with (in_use := manager.turn("web_a", began)) as session:
        assert session.last_accessed == began
        clock.now += timedelta(hours=1)
        await in_use.add(said(clock))
        assert session.last_accessed == began + timedelta(hours=1) == session.messages[0].timestamp


async def test_turn_in_memory_takes_no_step(manager: SessionManager, clock: WallClock) -> None:
    """While nothing has to be read, a turn and its messages cost no switch of the event loop."""
    await manager.get_or_create_session("web", "a")
    steps = Steps()
    with steps.counted():
        async with (in_use := manager.turn("web_a", clock())) as session:
            await in_use.add(said(clock))
    assert not steps.of
    assert [message.content for message in session.messages] == ["hi"]


async def test_turn_of_a_session_deleted_meanwhile_refuses_its_message(
    manager: SessionManager, clock: WallClock
) -> None:
    """A deleted session does not come back through a message of the turn that it was deleted in."""
    async with (in_use := manager.turn("web_a", clock())):
        await manager.delete_session("web_a")
        with pytest.raises(SessionNotFoundError):
            await in_use.add(said(clock))


async def test_turn_at_the_end_of_the_runtime_adds_nothing(manager: SessionManager, clock: WallClock) -> None:
    """What no save would write any more is refused, also where no checkpoint is passed."""
    async with (in_use := manager.turn("web_a", clock())) as session:
        manager.close()
        with pytest.raises(RuntimeClosedError):
            await in_use.add(said(clock))
        with pytest.raises(RuntimeClosedError):
            async with manager.turn("web_a", clock()):
                pytest.fail("a turn begins after the end")
    assert session.messages == []


async def test_turn_keeps_the_bound_of_a_session(store: FileSessionStore, clock: WallClock) -> None:
    """A person's message beyond the bound is refused in a turn as anywhere else."""
    manager = SessionManager(store, clock=clock, max_session_bytes=1000)
    async with (in_use := manager.turn("web_a", clock())) as session:
        with pytest.raises(SessionFullError):
            await in_use.add(said(clock, "x" * 1000))
    assert session.messages == []


async def test_turn_cancelled_before_it_could_read_its_session_holds_nothing(
    manager: SessionManager, clock: WallClock
) -> None:
    """A turn that does not begin leaves no session that counts as in use."""
    with trio.CancelScope() as scope:
        scope.cancel()
        async with manager.turn("web_a", clock()):
            pytest.fail("it has to ask the disk first")
    assert scope.cancelled_caught
    assert manager.live("web_a") is None
