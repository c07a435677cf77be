"""Every interleaving of messages with a deletion and with the end, and of a removal with the end of its caller's patience.

The oracle is what was told: a message that was accepted is where its sender was told that it is, and a removal happened
if and only if that was reported, in time or late.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from miniclaw.errors import RemovalPendingError, SessionFileError
from miniclaw.session.retention.policy import RetentionPolicy
from tests.fakes.samples import read_contents
from tests.faults.interleaving import SOAK, Level, Outcome
from tests.faults.interleaving_explorer import PREPARED, Explorer, Prepare
from tests.faults.interleaving_world import ID, OLD, World

TRASH = RetentionPolicy(trash_for=timedelta(days=7))

LEVELS = pytest.mark.parametrize(("level", "preemptions"), [("shared", 2 + SOAK), ("named", SOAK)])


@LEVELS
@PREPARED
def test_say_and_delete_to_the_trash_keep_every_accepted_message(
    explorer: Explorer, prepare: Prepare | None, level: Level, preemptions: int
) -> None:
    """A message that was accepted while its session is deleted is in the trash with it, and told as saved."""
    accepted = set()

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert outcomes["delete"] is not None
        assert not isinstance(outcomes["delete"], Exception), outcomes["delete"]
        accepted.add(len(outcomes["say"]))
        assert await world.contents() is None
        (trashed,) = world.trashed()
        unsaved = ["unsaved"] if prepare is World.be_unsaved else []
        assert trashed == [OLD, *unsaved, *outcomes["say"]]
        assert [state() for _, state in world.accepted] == ["saved"] * len(world.accepted)

    assert explorer.run("say x delete", prepare, check, preemptions=preemptions, level=level, policy=TRASH) >= 7
    assert accepted >= {0, 2}


@LEVELS
@PREPARED
def test_say_and_delete_for_good_never_tell_that_it_is_saved_when_it_was_not(
    explorer: Explorer, prepare: Prepare | None, level: Level, preemptions: int
) -> None:
    """Of a session that is deleted for good nothing counts as saved but what was saved before."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert await world.contents() is None
        assert [state() for _, state in world.accepted] == ["removed"] * len(world.accepted)

    assert explorer.run("say x delete", prepare, check, preemptions=preemptions, level=level) >= 7


@LEVELS
def test_say_save_and_delete_to_the_trash_keep_every_accepted_message(
    explorer: Explorer, level: Level, preemptions: int
) -> None:
    """A save at the same time changes nothing about it."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        (trashed,) = world.trashed()
        assert await world.contents() is None
        assert trashed == [OLD, *outcomes["say"]]
        assert [state() for _, state in world.accepted] == ["saved"] * len(world.accepted)

    explorer.run("say x save x delete", World.be_idle, check, preemptions=SOAK, level=level, policy=TRASH)


@LEVELS
@PREPARED
def test_say_and_the_end_keep_or_name_every_accepted_message(
    explorer: Explorer, sessions_dir: Path, prepare: Prepare | None, level: Level, preemptions: int
) -> None:
    """What was accepted while the manager ends is on the disk when it has ended; what is not was refused."""
    accepted = set()

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        accepted.add(len(outcomes["say"]))
        assert outcomes["end"] == ()
        unsaved = ["unsaved"] if prepare is World.be_unsaved else []
        assert read_contents(sessions_dir / f"{ID}.json") == [OLD, *unsaved, *outcomes["say"]]

    assert explorer.run("say x end", prepare, check, preemptions=preemptions, level=level) >= 3
    assert accepted >= {0, 2}


@LEVELS
@pytest.mark.parametrize("policy", [RetentionPolicy(), TRASH], ids=["for good", "to the trash"])
def test_deletion_and_the_end_of_patience_agree(
    explorer: Explorer, policy: RetentionPolicy, level: Level, preemptions: int
) -> None:
    """A deletion that was reported as failed has not happened; one that happened is counted, however late."""
    told = set()

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        contents, counted = await world.contents(), world.manager.stats.cleanups.removed["deleted"]
        outcome = outcomes["delete"]
        told.add(type(outcome))
        if type(outcome) is SessionFileError:
            assert (contents, counted, world.trashed()) == ([OLD, "unsaved"], 0, [])
        else:
            assert isinstance(outcome, int | RemovalPendingError)
            assert (contents, counted) == (None, 1)
            assert world.trashed() == ([[OLD, "unsaved"]] if policy is TRASH else [])

    explorer.run(
        "delete x wait_no_longer", World.be_unsaved, check, preemptions=preemptions, level=level, policy=policy
    )
    assert told == {int, SessionFileError, RemovalPendingError}


@LEVELS
def test_removal_and_the_end_of_patience_agree(explorer: Explorer, level: Level, preemptions: int) -> None:
    """The same for a sweep: nothing that was called off goes, and what goes is told once."""
    told = set()

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        outcome, late = outcomes["remove"], [removal.outcome for removal in world.late]
        told.add(outcome)
        gone = await world.contents() is None
        assert gone == (outcome == "removed" or late == ["removed"])
        assert late == {"removed": [], "pending": ["removed"], "unanswered": ["kept"] * len(late)}[outcome]

    explorer.run("remove x wait_no_longer", World.be_idle, check, preemptions=preemptions, level=level)
    assert told == {"removed", "pending", "unanswered"}
