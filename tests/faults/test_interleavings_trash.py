"""Every interleaving of restoring, and of removals into the trash, with all that may come between.

A session is never lost: it is live, or whole in the trash; and nothing from the trash overwrites a live one.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from miniclaw.errors import SessionExistsError, SessionNotFoundError, TrashEntryNotFoundError
from miniclaw.session.retention.policy import RetentionPolicy
from tests.fakes.clock import WallClock
from tests.faults.interleaving import SOAK, Level, Outcome
from tests.faults.interleaving_explorer import FEW_LEVELS, Explorer, Prepare
from tests.faults.interleaving_world import ID, OLD, World

POLICY = RetentionPolicy(trash_for=timedelta(days=7))


@FEW_LEVELS
def test_save_and_cleanup_to_the_trash_keep_the_live_session(
    explorer: Explorer, level: Level, preemptions: int
) -> None:
    """A session with an unsaved message survives, and there is nothing of it in the trash."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert outcomes == {"save": (1, ()), "cleanup": 0}
        assert await world.contents() == [OLD, "unsaved"]
        assert world.trashed() == []

    explorer.run("save x cleanup", World.be_unsaved, check, preemptions=preemptions, level=level, policy=POLICY)


@FEW_LEVELS
def test_save_and_cleanup_to_the_trash_of_an_old_one_agree(explorer: Explorer, level: Level, preemptions: int) -> None:
    """An expired session is in its place with all that was saved, or in the trash with all of it; never in both."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        whole = [OLD, "unsaved"]
        assert await world.contents() == (None if outcomes["cleanup"] else whole)
        assert world.trashed() == ([whole] if outcomes["cleanup"] else [])

    prepare = World.be_unsaved_and_old
    explorer.run("save x cleanup", prepare, check, preemptions=preemptions, level=level, policy=POLICY)


@FEW_LEVELS
@pytest.mark.parametrize("prepare", [None, World.be_idle])
def test_chat_and_cleanup_to_the_trash_lose_no_message(
    explorer: Explorer, prepare: Prepare | None, level: Level, preemptions: int
) -> None:
    """Who comes back goes on with the session, or begins a new one while the old one is whole in the trash."""
    removed = set()

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        removed.add(outcomes["cleanup"])
        assert outcomes["chat"] == (["new"] if outcomes["cleanup"] else [OLD, "new"])
        assert await world.contents() == outcomes["chat"]
        assert world.trashed() == ([[OLD]] if outcomes["cleanup"] else [])

    explorer.run("chat x cleanup", prepare, check, preemptions=preemptions, level=level, policy=POLICY)
    assert removed == {0, 1}


@FEW_LEVELS
def test_restore_and_chat_have_one_session(explorer: Explorer, level: Level, preemptions: int) -> None:
    """Who writes goes on with what was restored, or has a new session, which the restore then leaves alone."""
    seen = set()

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        restored = outcomes["restore"] == ID
        seen.add(restored)
        assert restored or isinstance(outcomes["restore"], SessionExistsError)
        assert outcomes["chat"] == ([OLD, "new"] if restored else ["new"])
        assert await world.contents() == outcomes["chat"]
        assert world.trashed() == ([] if restored else [[OLD]])

    explorer.run("restore x chat", World.be_trashed, check, preemptions=preemptions, level=level, policy=POLICY)
    assert seen == {True, False}


@FEW_LEVELS
def test_two_restores_make_one_session(explorer: Explorer, level: Level, preemptions: int) -> None:
    """One of two restores succeeds, and the other one is told that there is a session, or no entry any more."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        results = list(outcomes.values())
        assert results.count(ID) == 1
        refused = next(result for result in results if result != ID)
        assert isinstance(refused, SessionExistsError | TrashEntryNotFoundError)
        assert await world.contents() == [OLD]
        assert world.trashed() == []

    explorer.run("restore x restore2", World.be_trashed, check, preemptions=preemptions, level=level, policy=POLICY)


@FEW_LEVELS
def test_restore_and_cleanup_leave_it_restored(explorer: Explorer, level: Level, preemptions: int) -> None:
    """A cleanup does not take again what is just being restored: it counts as used now."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert outcomes == {"restore": ID, "cleanup": 0}
        assert await world.contents() == [OLD]
        assert world.trashed() == []

    explorer.run("restore x cleanup", World.be_trashed, check, preemptions=preemptions, level=level, policy=POLICY)


@FEW_LEVELS
def test_restore_and_cleanup_of_an_expired_entry_agree(
    explorer: Explorer, level: Level, preemptions: int, clock: WallClock
) -> None:
    """An entry that is just being emptied comes back whole, or is said to be gone."""

    async def expire(world: World) -> None:
        now, clock.now = clock.now, clock.ago(days=8)
        await world.be_trashed()
        clock.now = now

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        restored = outcomes["restore"] == ID
        assert restored or isinstance(outcomes["restore"], TrashEntryNotFoundError)
        assert await world.contents() == ([OLD] if restored else None)
        assert world.trashed() == []

    explorer.run("restore x cleanup", expire, check, preemptions=preemptions, level=level, policy=POLICY)


@FEW_LEVELS
def test_delete_and_restore_lose_neither(explorer: Explorer, level: Level, preemptions: int) -> None:
    """Of a session in its place and an older one in the trash both are there afterwards, each in one place."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert outcomes["delete"] >= 0
        restored = outcomes["restore"] == ID
        assert restored or isinstance(outcomes["restore"], SessionExistsError)
        live = await world.contents()
        assert (live is not None) == restored
        assert sorted([*world.trashed(), *([live] if live else [])]) == [["anew"], [OLD]]

    prepare = World.be_trashed_and_anew
    explorer.run("delete x restore", prepare, check, preemptions=preemptions, level=level, policy=POLICY)


def test_cleanup_and_delete_to_the_trash_have_it_there_once(explorer: Explorer) -> None:
    """An expired session goes to the trash by the cleanup or by the command, once, and the other finds it gone."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert outcomes["cleanup"] == isinstance(outcomes["delete"], SessionNotFoundError)
        assert await world.contents() is None
        assert world.trashed() == [[OLD]]

    explorer.run("cleanup x delete", World.be_idle, check, preemptions=SOAK, policy=POLICY)
