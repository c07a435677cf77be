"""Every interleaving of a move with all that may come between: the conversation is under one id, whole, or in the trash.

What was accepted before the move is in the session that was moved; what comes after begins a new one, or is refused.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from miniclaw.errors import (
    RemovalPendingError,
    SessionExistsError,
    SessionFileError,
    SessionNotFoundError,
)
from miniclaw.session.retention.policy import RetentionPolicy
from tests.faults.interleaving import SOAK, Level, Outcome
from tests.faults.interleaving_explorer import FEW_LEVELS, PREPARED, Explorer, Prepare
from tests.faults.interleaving_world import ID, MOVED_ID, OLD, World

TRASH = RetentionPolicy(trash_for=timedelta(days=7))


@FEW_LEVELS
@PREPARED
def test_say_and_move_keep_every_accepted_message(
    explorer: Explorer, prepare: Prepare | None, level: Level, preemptions: int
) -> None:
    """A message that was accepted while its session is moved moves with it, and is told as saved."""
    accepted = set()

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert outcomes["move"] == MOVED_ID
        accepted.add(len(outcomes["say"]))
        assert await world.contents() is None
        unsaved = ["unsaved"] if prepare is World.be_unsaved else []
        assert await world.contents(MOVED_ID) == [OLD, *unsaved, *outcomes["say"]]
        assert [state() for _, state in world.accepted] == ["saved"] * len(world.accepted)

    assert explorer.run("say x move", prepare, check, preemptions=preemptions, level=level) >= 7
    assert accepted >= {0, 2}


@FEW_LEVELS
@pytest.mark.parametrize("prepare", [None, World.be_idle])
def test_chat_and_move_lose_no_message(
    explorer: Explorer, prepare: Prepare | None, level: Level, preemptions: int
) -> None:
    """Who comes back goes on with the session, which then moves, or begins a new one."""
    seen = set()

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert outcomes["move"] == MOVED_ID
        old, moved = await world.contents(), await world.contents(MOVED_ID)
        if isinstance(outcomes["chat"], SessionNotFoundError):  # moved between finding the session and writing to it
            assert (old, moved) == (None, [OLD])
        elif outcomes["chat"] == ["new"]:
            assert (old, moved) == (["new"], [OLD])
        else:
            assert (old, moved) == (None, [OLD, "new"])
        seen.add(str(outcomes["chat"]))

    explorer.run("chat x move", prepare, check, preemptions=preemptions, level=level)
    assert len(seen) >= 2


@FEW_LEVELS
def test_save_and_move_agree(explorer: Explorer, level: Level, preemptions: int) -> None:
    """An autosave at the same time neither brings the old one back nor loses what it saves."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert outcomes["move"] == MOVED_ID
        assert await world.contents() is None
        assert await world.contents(MOVED_ID) == [OLD, "unsaved"]

    explorer.run("save x move", World.be_unsaved, check, preemptions=preemptions, level=level)


def test_cleanup_and_move_have_it_in_one_place(explorer: Explorer) -> None:
    """An expired session that is just being moved is in the trash, under one id, or it has moved."""
    removed = set()

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        removed.add(outcomes["cleanup"])
        assert await world.contents() is None
        moved = await world.contents(MOVED_ID)
        assert [each for each in [moved, *world.trashed()] if each is not None] == [[OLD]]
        if isinstance(outcomes["move"], SessionNotFoundError):
            assert outcomes["cleanup"] == 1
        else:
            assert outcomes["move"] == MOVED_ID

    explorer.run("cleanup x move", World.be_idle, check, preemptions=SOAK, policy=TRASH)
    assert removed == {0, 1}


@FEW_LEVELS
def test_delete_and_move_have_it_in_one_place(explorer: Explorer, level: Level, preemptions: int) -> None:
    """Of a deletion and a move one finds the session, and the other finds none."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        moved = outcomes["move"] == MOVED_ID
        refused = outcomes["delete" if moved else "move"]
        assert isinstance(refused, SessionNotFoundError)
        assert await world.contents() is None
        assert await world.contents(MOVED_ID) == ([OLD] if moved else None)
        assert world.trashed() == ([] if moved else [[OLD]])

    explorer.run("delete x move", World.be_idle, check, preemptions=preemptions, level=level, policy=TRASH)


@FEW_LEVELS
def test_two_moves_make_one_session(explorer: Explorer, level: Level, preemptions: int) -> None:
    """One of two equal moves finds the session; the other one finds none any more, or the new one in its way."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        results = list(outcomes.values())
        assert results.count(MOVED_ID) == 1
        refused = next(result for result in results if result != MOVED_ID)
        assert isinstance(refused, SessionNotFoundError | SessionExistsError)
        assert await world.contents() is None
        assert await world.contents(MOVED_ID) == [OLD]

    explorer.run("move x move2", None, check, preemptions=preemptions, level=level)


@FEW_LEVELS
def test_move_and_the_end_of_patience_agree(explorer: Explorer, level: Level, preemptions: int) -> None:
    """A move that was reported as failed has not happened; one that is pending happens."""
    told = set()

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        outcome = outcomes["move"]
        told.add(type(outcome))
        old, moved = await world.contents(), await world.contents(MOVED_ID)
        if type(outcome) is SessionFileError:
            assert (old, moved) == ([OLD, "unsaved"], None)
        else:
            assert isinstance(outcome, str | RemovalPendingError)
            assert (old, moved) == (None, [OLD, "unsaved"])

    explorer.run("move x wait_no_longer", World.be_unsaved, check, preemptions=preemptions, level=level)
    assert told == {str, SessionFileError, RemovalPendingError}


@FEW_LEVELS
def test_move_and_the_end_keep_every_accepted_message(explorer: Explorer, level: Level, preemptions: int) -> None:
    """Where the runtime ends meanwhile the session is under one of its ids, with all that was accepted."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert outcomes["end"] == ()
        moved = outcomes["move"] == MOVED_ID
        assert world.directory.load(MOVED_ID if moved else ID).messages[-1].content == "unsaved"
        with pytest.raises(SessionNotFoundError):
            world.directory.load(ID if moved else MOVED_ID)

    explorer.run("move x end", World.be_unsaved, check, preemptions=preemptions, level=level)
