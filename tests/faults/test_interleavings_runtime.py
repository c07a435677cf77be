"""Every interleaving of messages, saves, cleanups and deletions through the real manager, on trio with its threads.

Nobody who asks the manager ever finds a live session absent. After each run nothing is locked, nothing is left in the
work folder, and after a last save the disk says what memory says.
"""

from __future__ import annotations

import pytest

from miniclaw.errors import SessionNotFoundError
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.removal.transaction import Consent, Removal
from tests.faults.interleaving import SOAK, Level, Outcome
from tests.faults.interleaving_explorer import LEVELS, Explorer, Prepare
from tests.faults.interleaving_world import OLD, World


@LEVELS
def test_save_and_cleanup_keep_the_live_session(explorer: Explorer, level: Level, preemptions: int | None) -> None:
    """A session with an unsaved message over an old file survives a cleanup at any moment of its save."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert outcomes == {"save": (1, ()), "cleanup": 0}
        assert await world.contents() == [OLD, "unsaved"]

    assert explorer.run("save x cleanup", World.be_unsaved, check, preemptions=preemptions, level=level) >= 7


@LEVELS
def test_save_and_cleanup_of_an_old_one_agree(explorer: Explorer, level: Level, preemptions: int | None) -> None:
    """An expired session is removed only with all of it saved, or kept with all of it; a removed one stays away."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert outcomes["save"] == (1, ())
        assert await world.contents() == ([OLD, "unsaved"] if outcomes["cleanup"] == 0 else None)

    assert explorer.run("save x cleanup", World.be_unsaved_and_old, check, preemptions=preemptions, level=level) >= 7


@LEVELS
def test_save_and_chat_lose_no_message(explorer: Explorer, level: Level, preemptions: int | None) -> None:
    """A message that comes at any moment of a save is saved by it or by the next one."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert outcomes == {"save": (1, ()), "chat": [OLD, "unsaved", "new"]}
        assert await world.contents() == [OLD, "unsaved", "new"]

    assert explorer.run("save x chat", World.be_unsaved, check, preemptions=preemptions, level=level) >= 7


@LEVELS
def test_save_and_delete_end_without_it(explorer: Explorer, level: Level, preemptions: int | None) -> None:
    """A deletion wins over a save at any moment, and no later save brings the session back."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert outcomes["delete"] > 0
        assert outcomes["save"] in {(1, ()), (0, ())}
        assert await world.contents() is None

    assert explorer.run("save x delete", World.be_unsaved, check, preemptions=preemptions, level=level) >= 7


@LEVELS
def test_cleanup_and_delete_remove_it_once(explorer: Explorer, level: Level, preemptions: int | None) -> None:
    """An expired session goes by the cleanup or by the command, counted once, and the other one finds it gone."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert outcomes["cleanup"] == isinstance(outcomes["delete"], SessionNotFoundError)
        assert outcomes["cleanup"] or outcomes["delete"] > 0
        assert await world.contents() is None

    assert explorer.run("cleanup x delete", World.be_idle, check, preemptions=preemptions, level=level) >= 7


@LEVELS
@pytest.mark.parametrize("prepare", [None, World.be_idle])
def test_chat_and_cleanup_remove_it_whole_or_not(
    explorer: Explorer, prepare: Prepare | None, level: Level, preemptions: int | None
) -> None:
    """A message is never lost to a cleanup: it continues the old session, or begins a new one if that was removed."""
    removed = set()

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        removed.add(outcomes["cleanup"])
        assert outcomes["chat"] == (["new"] if outcomes["cleanup"] else [OLD, "new"])
        assert await world.contents() == outcomes["chat"]

    assert explorer.run("chat x cleanup", prepare, check, preemptions=preemptions, level=level) >= 7
    assert removed == {0, 1}


@LEVELS
def test_chat_and_delete_leave_only_what_came_after(explorer: Explorer, level: Level, preemptions: int | None) -> None:
    """Of a deleted session nothing comes back; a message that came after begins a new one, or is told of the loss."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert outcomes["delete"] > 0
        assert isinstance(outcomes["chat"], SessionNotFoundError) or outcomes["chat"][-1] == "new"
        assert await world.contents() in (["new"], None)

    assert explorer.run("chat x delete", World.be_idle, check, preemptions=preemptions, level=level) >= 7


@LEVELS
@pytest.mark.parametrize("live", [False, True])
def test_two_cleanups_remove_it_once_or_never(
    explorer: Explorer, live: bool, level: Level, preemptions: int | None
) -> None:
    """Two cleanups remove an expired session once between them, and a live one not at all."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert outcomes["cleanup"] + outcomes["cleanup2"] == (not live)
        assert await world.contents() == ([OLD, "unsaved"] if live else None)

    prepare = World.be_unsaved if live else World.be_idle
    if preemptions is None and SOAK == 1:
        preemptions = 3  # all of them are 610
    assert explorer.run("cleanup x cleanup2", prepare, check, preemptions=preemptions, level=level) >= 7


@pytest.mark.parametrize("third", ["save", "look", "cleanup2"])
def test_chat_cleanup_and_a_third_never_lose_it(explorer: Explorer, third: str) -> None:
    """With a save, a reader or another cleanup beside them too, no live session is lost, or absent to who asks."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        removed = outcomes["cleanup"] + outcomes.get("cleanup2", 0)
        assert not outcomes.get("look")
        assert outcomes["chat"] == (["new"] if removed else [OLD, "new"])
        assert await world.contents() == outcomes["chat"]

    assert explorer.run(f"cleanup x chat x {third}", World.be_idle, check, preemptions=SOAK) >= 40


def test_save_delete_and_cleanup_end_without_it(explorer: Explorer) -> None:
    """A deletion wins over a save and a cleanup at once."""

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        assert (outcomes["cleanup"], outcomes["delete"] > 0) == (0, True)
        assert await world.contents() is None

    assert explorer.run("save x delete x cleanup", World.be_unsaved, check, preemptions=SOAK) >= 40


def test_removal_without_consent_is_found(explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller finds the orders in which a removal that asks nobody takes a session that was just used."""

    def remove_wrongly(directory: SessionDirectory, keys: list[str], consent: Consent) -> list[Removal]:
        for key in keys:
            directory.read_row(key)
            directory.fs.unlink(key, dir_fd=directory.fd)
        return [Removal(key, "removed") for key in keys]

    wrong = 0

    async def check(world: World, outcomes: dict[str, Outcome]) -> None:
        nonlocal wrong
        wrong += outcomes["chat"] != (["new"] if outcomes["cleanup"] else [OLD, "new"])

    monkeypatch.setattr("miniclaw.session.live.store.remove_batch", remove_wrongly)
    count = explorer.run("chat x cleanup", World.be_idle, check)
    print(f"wrong in {wrong} of {count}")
    assert 0 < wrong < count
