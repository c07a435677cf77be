"""Locks around files: handed over in turn, never taken by who gave up, forgotten when free."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from miniclaw.session.live.locks import FileLocks
from tests.fakes.patience import PATIENCE_SECONDS


async def test_file_locks_hand_over_in_order_of_waiting() -> None:
    """Who waits longest has the lock next, and between two holders it is never free."""
    locks = FileLocks()
    order: list[int] = []

    async def worker(number: int) -> None:
        async with locks.hold("web_1"):
            order.append(number)
            assert not locks.acquire_nowait("web_1")
            await trio.testing.wait_all_tasks_blocked()
            assert order[-1] == number

    assert locks.acquire_nowait("web_1")
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(worker, number)
            await trio.testing.wait_all_tasks_blocked()
        assert order == []
        locks.release("web_1")
        assert not locks.acquire_nowait("web_1")
    assert order == [0, 1, 2, 3, 4]
    assert not locks.is_held("web_1")


async def test_file_locks_release_to_waiter_cannot_be_overtaken() -> None:
    """After a release with somebody waiting, the lock is theirs before they have even run."""
    locks = FileLocks()
    got = trio.Event()

    async def waiter() -> None:
        await locks.acquire("web_1")
        got.set()

    locks.acquire_nowait("web_1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter)
        await trio.testing.wait_all_tasks_blocked()
        locks.release("web_1")
        assert locks.is_held("web_1")
        assert not locks.acquire_nowait("web_1")
        with trio.fail_after(PATIENCE_SECONDS):
            await got.wait()
    locks.release("web_1")
    assert len(locks) == 0


async def test_file_locks_cancel_while_waiting_takes_nothing() -> None:
    """Who gives up waiting has no lock, keeps nobody behind from it, and leaves no trace."""
    locks = FileLocks()
    cancelled, behind = trio.CancelScope(), trio.Event()

    async def impatient() -> None:
        with cancelled:
            await locks.acquire("web_1")
            pytest.fail("a lock that is held was taken")

    async def patient() -> None:
        await locks.acquire("web_1")
        behind.set()

    locks.acquire_nowait("web_1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(impatient)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(patient)
        await trio.testing.wait_all_tasks_blocked()
        cancelled.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert cancelled.cancelled_caught
        assert not behind.is_set()
        locks.release("web_1")
        with trio.fail_after(PATIENCE_SECONDS):
            await behind.wait()
    locks.release("web_1")
    assert not locks.is_held("web_1")


async def test_file_locks_cancel_of_only_waiter_lets_release_forget_the_lock() -> None:
    """A waiter that left is not handed the lock."""
    locks = FileLocks()
    locks.acquire_nowait("web_1")
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(locks.acquire, "web_1")
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    locks.release("web_1")
    assert len(locks) == 0
    assert locks.acquire_nowait("web_1")


async def test_file_locks_acquire_in_cancelled_scope_takes_nothing() -> None:
    """A cancellation that is pending already comes before a free lock."""
    locks = FileLocks()
    with trio.CancelScope() as scope:
        scope.cancel()
        await locks.acquire("web_1")
    assert scope.cancelled_caught
    assert not locks.is_held("web_1")


async def test_file_locks_forget_free_locks() -> None:
    """Memory holds only the locks that are held: months of sessions leave nothing behind."""
    locks = FileLocks()
    for number in range(100):
        async with locks.hold(f"web_{number}"):
            assert locks.is_held(f"web_{number}")
            assert len(locks) == 1
    assert len(locks) == 0
    assert repr(locks) == "<FileLocks held=[]>"


async def test_file_locks_of_two_sessions_are_independent() -> None:
    """One session's work does not keep another's waiting."""
    locks = FileLocks()
    async with locks.hold("web_1"):
        with trio.fail_after(PATIENCE_SECONDS):
            async with locks.hold("web_2"):
                assert repr(locks) == "<FileLocks held=['web_1', 'web_2']>"
        assert locks.is_held("web_1")
        assert not locks.is_held("web_2")


async def test_file_locks_hold_releases_when_its_block_fails() -> None:
    """An error or a cancellation in the block releases the lock, and passes on."""
    locks = FileLocks()
    with pytest.raises(ZeroDivisionError):
        async with locks.hold("web_1"):
            raise ZeroDivisionError
    assert not locks.is_held("web_1")
    with trio.CancelScope() as scope:
        async with locks.hold("web_1"):
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert not locks.is_held("web_1")


def test_file_locks_release_all_releases_just_those() -> None:
    """Several are released at once, and the others stay held."""
    locks = FileLocks()
    for name in ("a_1", "a_2", "a_3"):
        assert locks.acquire_nowait(name)
    locks.release_all(["a_1", "a_3"])
    assert [locks.is_held(name) for name in ("a_1", "a_2", "a_3")] == [False, True, False]


def test_file_locks_release_of_free_lock_is_an_error() -> None:
    """A release too many is a bug, and shows."""
    with pytest.raises(KeyError):
        FileLocks().release("web_1")
