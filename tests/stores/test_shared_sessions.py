"""Several programs over one store: leases, lost leases, lost answers, cancellation."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio

from miniclaw.errors import RevisionConflictError, SessionBusyError, StoreUnavailableError
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.types import Message
from miniclaw.stores.hot import IDLE_SECONDS, LEASE, PATIENCE_SECONDS, RENEWAL_SECONDS
from miniclaw.stores.memory import MemoryStore
from miniclaw.stores.runtime import StoreRuntime, open_store_runtime
from tests.fakes.stores import LostAnswers, trio_time

LONG = timedelta(days=365)


def said(text: str) -> Message:
    return Message("user", text, trio_time())


async def texts(sessions: StoreRuntime, session_id: str = "web_a") -> list[str]:
    session = await sessions.read(session_id)
    assert session is not None
    return [message.content for message in session.messages]


async def test_session_in_use_is_busy_for_another_program(autojump_clock: trio.testing.MockClock) -> None:
    """The lease is renewed as long as a session is used; when it was idle, another program can have it."""
    store = MemoryStore(owner="ours", clock=trio_time)
    async with open_store_runtime(store) as ours, open_store_runtime(store.beside("theirs")) as theirs:
        async with ours.using("web_a", create=True):
            await trio.sleep(10 * LEASE.total_seconds())
            with pytest.raises(SessionBusyError) as raised:
                await theirs.get_or_create("web", "a")
            assert raised.value.owner == "ours"
            assert raised.value.remaining <= LEASE
        await trio.sleep(IDLE_SECONDS + 2 * RENEWAL_SECONDS)
        await theirs.get_or_create("web", "a")
        await theirs.add_message("web_a", said("theirs"))
        await trio.sleep(IDLE_SECONDS + 2 * RENEWAL_SECONDS)
        session = await ours.get("web_a")
        assert session is not None
        assert [message.content for message in session.messages] == ["theirs"]


async def test_lost_lease_on_an_unchanged_session_is_taken_again(autojump_clock: trio.testing.MockClock) -> None:
    """A program that paused longer than its lease goes on if nobody has changed the session."""
    store = MemoryStore(clock=trio_time)
    async with open_store_runtime(store) as sessions:
        await sessions.get_or_create("web", "a")
        store._data.leases.held.clear()
        await sessions.add_message("web_a", said("one"))
        lease = await store.acquire("web_a", LONG)  # under another token
        await store.release(lease)
        await sessions.add_message("web_a", said("two"))
        assert await texts(sessions) == ["one", "two"]


async def test_change_by_another_program_is_told(autojump_clock: trio.testing.MockClock) -> None:
    """If another program has changed the session, the call changes nothing, and memory has the present state."""
    store = MemoryStore(owner="ours", clock=trio_time)
    async with open_store_runtime(store) as ours:
        session = await ours.get_or_create("web", "a")
        store._data.leases.held.clear()
        async with open_store_runtime(store.beside("theirs")) as theirs:
            await theirs.get_or_create("web", "a")
            await theirs.add_message("web_a", said("theirs"))
        with pytest.raises(RevisionConflictError) as raised:
            await ours.add_message("web_a", said("ours"))
        assert raised.value.session_id == "web_a"
        assert [message.content for message in session.messages] == ["theirs"]
        assert await ours.add_message("web_a", said("ours")) is session
        assert await texts(ours) == ["theirs", "ours"]


async def test_removal_by_another_program_is_told(autojump_clock: trio.testing.MockClock) -> None:
    """A session that another program has deleted is not brought back by a message from memory."""
    store = MemoryStore(owner="ours", clock=trio_time)
    async with open_store_runtime(store) as ours:
        await ours.get_or_create("web", "a")
        store._data.leases.held.clear()
        async with open_store_runtime(store.beside("theirs")) as theirs:
            await theirs.delete("web_a")
        with pytest.raises(RevisionConflictError):
            await ours.add_message("web_a", said("ours"))
        with pytest.raises(LookupError):
            await ours.add_message("web_a", said("ours"))
        assert await ours.read("web_a") is None


@pytest.mark.parametrize("lost", [1, 3])
async def test_lost_answer_doubles_nothing(autojump_clock: trio.testing.MockClock, lost: int) -> None:
    """A change whose answer is lost is sent again under its name, and is made once."""
    store = LostAnswers(clock=trio_time)
    async with open_store_runtime(store, policy=RetentionPolicy(trash_for=LONG), cleanup=None) as sessions:
        session = await sessions.get_or_create("web", "a")
        store.lost = lost
        await sessions.add_messages("web_a", [said("one"), said("two")])
        store.deaf = lost
        await sessions.add_message("web_a", said("three"))
        assert await texts(sessions) == ["one", "two", "three"] == [message.content for message in session.messages]
        store.lost = lost
        gone = await sessions.delete("web_a")
        assert gone.entry_id
        store.lost = lost
        assert await sessions.restore(gone.entry_id) == "web_a"
        assert [event.event async for event in sessions.history()] == ["restored", "deleted"]


async def test_store_that_does_not_answer_is_told_in_time(autojump_clock: trio.testing.MockClock) -> None:
    """After its patience a call raises StoreUnavailableError; then memory takes over the store's state."""
    store = LostAnswers(clock=trio_time)
    async with open_store_runtime(store) as sessions:
        session = await sessions.get_or_create("web", "a")
        store.lost, began = 1_000, trio.current_time()
        with pytest.raises(StoreUnavailableError):
            await sessions.add_message("web_a", said("one"))
        assert PATIENCE_SECONDS <= trio.current_time() - began <= PATIENCE_SECONDS + 2
        store.lost = 0
        await sessions.add_message("web_a", said("two"))
        assert await texts(sessions) == ["one", "two"] == [message.content for message in session.messages]


async def test_lost_answer_and_a_change_by_another_program(autojump_clock: trio.testing.MockClock) -> None:
    """If another program came in between, it is not known whether the change was made, and it is not made twice."""
    store = LostAnswers(owner="ours", clock=trio_time)
    other = store.beside("theirs")
    async with open_store_runtime(store) as ours:
        await ours.get_or_create("web", "a")
        store.lost = 1

        async def come_between() -> None:
            while await texts(ours) != ["ours"]:
                await trio.lowlevel.checkpoint()
            store._data.leases.held.clear()
            async with open_store_runtime(other) as theirs:
                await theirs.get_or_create("web", "a")
                await theirs.add_message("web_a", said("theirs"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come_between)
            with pytest.raises(StoreUnavailableError, match="another program has changed the session since"):
                await ours.add_message("web_a", said("ours"))
        assert await texts(ours) == ["ours", "theirs"]


async def test_cancelled_call_changes_all_or_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """After a cancellation at any step, the next call sees what the store has, in the same session object."""
    store = MemoryStore(clock=trio_time)
    async with open_store_runtime(store) as sessions:
        session = await sessions.get_or_create("web", "a")
        outcomes = set()
        for steps in range(12):
            before = await texts(sessions)
            with trio.CancelScope() as scope:

                async def cancel(scope: trio.CancelScope = scope, steps: int = steps) -> None:
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel)
                    await sessions.add_messages("web_a", [said(f"{steps} a"), said(f"{steps} b")])
            found = await texts(sessions)
            assert found in (before, [*before, f"{steps} a", f"{steps} b"])
            outcomes.add(found == before)
            assert await sessions.get("web_a") is session
            assert [message.content for message in session.messages] == found
        assert outcomes == {True, False}


async def test_many_sessions_leave_memory(autojump_clock: trio.testing.MockClock) -> None:
    """Beyond the bound the sessions that were used least recently are let go, and are other programs' to use."""
    store = MemoryStore(clock=trio_time)
    async with open_store_runtime(store, max_live_sessions=3) as sessions, sessions.using("web_0", create=True):
        for number in range(1, 9):
            await sessions.get_or_create("web", f"{number}")
        other = store.beside("other")
        await other.acquire("web_3", LONG)
        for number in (0, 8):
            with pytest.raises(SessionBusyError):
                await other.acquire(f"web_{number}", LONG)
