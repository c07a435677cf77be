"""Checks of calls at the same time: of two owners, of uses beside removals, and of cancellation."""

from __future__ import annotations

from collections import Counter
from random import Random

import trio

from miniclaw.errors import LeaseLostError, RevisionConflictError, SessionBusyError
from miniclaw.stores.protocol import SessionStore
from miniclaw.stores.types import Candidate, Change, Outcome, Restoration
from miniclaw.testing.store_checks.trial import FOREVER, Trial, holds, message, same

_ROUNDS = 40


def _chance(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - interleavings, which are to be the same in every run


async def _pause(random: Random) -> None:
    for _ in range(random.randrange(6)):
        await trio.lowlevel.checkpoint()


async def two_owners_lose_and_double_nothing(trial: Trial) -> None:
    """Two owners that write into one session lose no message, double none, and keep the order of each."""
    random, written = _chance(17), {"1": 0, "2": 0}

    async def write(store: SessionStore, name: str) -> None:
        while written[name] < _ROUNDS:
            try:
                lease = await store.acquire("web_a", FOREVER)
            except SessionBusyError:
                await trio.lowlevel.checkpoint()
                continue
            for _ in range(random.randrange(1, 4)):
                saved = await trial.write(lease, f"{name} {written[name]}", store=store)
                written[name] += 1
                lease = saved.lease
                await _pause(random)
            await store.release(lease)
            await _pause(random)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, trial.store, "1")
        nursery.start_soon(write, trial.other, "2")
    found = await trial.messages("web_a") or []
    for name, number in written.items():
        expected = [message(f"{name} {each}") for each in range(number)]
        same(f"the messages of owner {name}", [each for each in found if each in set(expected)], expected)
    same("the number of messages", len(found), sum(written.values()))


async def commits_under_one_lease_follow_one_another(trial: Trial) -> None:
    """Of commits at the same time under one lease and revision, one is made; the others are refused whole."""
    lease = await trial.store.acquire("web_a", FOREVER)
    made: list[str] = []

    async def write(text: str) -> None:
        try:
            await trial.write(lease, text)
            made.append(text)
        except RevisionConflictError:
            pass

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(write, f"{number}")
    same("the commits that were made", len(made), 1)
    await trial.has("web_a", *made)


async def use_beside_a_removal_is_kept(trial: Trial) -> None:
    """A message that is written while a sweep removes its session is in the session afterwards, and the old ones too.

    They are in the session, or the old ones are in the trash and the new message began a new session.
    """
    random = _chance(4)
    for number in range(_ROUNDS):
        session_id = f"web_{number}"
        candidate = await trial.candidate(session_id, "old")
        outcomes: list[Outcome] = []

        async def remove(candidate: Candidate = candidate, outcomes: list[Outcome] = outcomes) -> None:
            await _pause(random)
            outcomes += await trial.sweep(candidate, store=trial.other)

        async def use(session_id: str = session_id) -> None:
            await _pause(random)
            lease = await trial.store.acquire(session_id, FOREVER)
            await _pause(random)
            saved = await trial.write(lease, "new")
            if random.random() < 0.5:
                await trial.store.release(saved.lease)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(remove)
            nursery.start_soon(use)
        verdict = outcomes[0].verdict
        if verdict == "removed":
            await trial.has(session_id, "new")
            same("the session in the trash", len(await trial.store.trash(session_id=session_id)), 1)
        else:
            holds(f"a used session is leased or used, not {verdict}", verdict in {"leased", "used"})
            await trial.has(session_id, "old", "new")


async def pin_beside_a_removal(trial: Trial) -> None:
    """A pin beside a removal either protects the session, or finds no session: it never remains without effect."""
    random = _chance(8)
    for number in range(_ROUNDS):
        session_id = f"web_{number}"
        candidate = await trial.candidate(session_id, "old")
        pins: list[bool] = []

        async def pin(session_id: str = session_id, pins: list[bool] = pins) -> None:
            await _pause(random)
            try:
                pins.append(await trial.store.pin(session_id, True))
            except LookupError:
                pins.append(False)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pin)
            await _pause(random)
            outcome = (await trial.sweep(candidate, store=trial.other))[0]
        header = await trial.store.header(session_id)
        if outcome.verdict == "removed":
            same("a removed session", header, None)
            restored = await trial.store.restore(outcome.entry_id, by="check", op=trial.op())
            same("the restore", restored.verdict, "restored")
            same("the pin in the trash", (await trial.loaded(session_id)).header.pinned, pins[0])
            holds("a pin that found the session protects it", not pins[0])
        else:
            same("verdict and pin", (outcome.verdict, header is not None and header.pinned), ("pinned", True))


async def two_sweeps_remove_each_session_once(trial: Trial) -> None:
    """Two sweeps at once remove each session once: one outcome, one line of the audit log, one entry of the trash."""
    candidates = [await trial.candidate(f"web_{number}", "x") for number in range(_ROUNDS)]
    outcomes: list[Outcome] = []

    async def sweep(store: SessionStore) -> None:
        outcomes.extend(await trial.sweep(*candidates, store=store))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweep, trial.store)
        nursery.start_soon(sweep, trial.other)
    same("removals", Counter(each.verdict for each in outcomes), {"removed": _ROUNDS, "gone": _ROUNDS})
    lines = [line.session_id for line in await trial.store.audit(limit=1_000) if line.kind == "removed"]
    same("lines of the audit log", sorted(lines), sorted(each.session_id for each in candidates))
    same("entries of the trash", len(await trial.store.trash(limit=1_000)), _ROUNDS)


async def restored_once(trial: Trial) -> None:
    """Of two restores of one entry at the same time, one restores the session, and the other finds it restored."""
    gone = (await trial.sweep(await trial.candidate("web_a", "x")))[0]
    answers: list[Restoration] = []

    async def restore(store: SessionStore) -> None:
        answers.append(await store.restore(gone.entry_id, by="check", op=trial.op()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(restore, trial.store)
        nursery.start_soon(restore, trial.other)
    verdicts = sorted(answer.verdict for answer in answers)
    holds(
        f"one restores, and the other does not: {verdicts}", verdicts in (["gone", "restored"], ["restored", "taken"])
    )
    await trial.has("web_a", "x")


async def sweep_has_one_turn(trial: Trial) -> None:
    """Of programs that ask for the sweep at the same time, one has its turn."""
    tokens: list[int] = []

    async def begin(store: SessionStore) -> None:
        tokens.append((await store.begin_sweep(FOREVER, FOREVER)).token)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(begin, trial.store)
            nursery.start_soon(begin, trial.other)
    same("turns", sum(token != 0 for token in tokens), 1)


async def cancelled_commit_is_whole(trial: Trial) -> None:
    """A commit that is cancelled at any moment is made as a whole or not at all; its repetition makes it once."""
    expected: list[str] = []
    lease = await trial.store.acquire("web_a", FOREVER)
    for steps in range(_ROUNDS):
        change = Change(op=trial.op(), messages=[message(f"{steps} a"), message(f"{steps} b")])
        with trio.CancelScope() as scope:

            async def cancel(scope: trio.CancelScope = scope, steps: int = steps) -> None:
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel)
                await trial.store.commit(lease, change)
        texts = [*map(message, expected)]
        both = [*texts, *change.messages]
        found = await trial.messages("web_a") or []
        holds(f"a commit that was cancelled is whole: {found!r:.300}", found in (texts, both))
        try:
            saved = await trial.store.commit(lease, change)
        except (LeaseLostError, RevisionConflictError) as error:
            holds(f"the repetition of a cancelled commit is answered: {error!r}", False)
            raise
        lease = saved.lease
        expected += [f"{steps} a", f"{steps} b"]
        await trial.has("web_a", *expected)


async def cancelled_removal_is_whole(trial: Trial) -> None:
    """A removal that is cancelled at any moment leaves the session in its place or in the trash, with its line."""
    for steps in range(_ROUNDS):
        session_id = f"web_{steps}"
        candidate, op = await trial.candidate(session_id, "x"), trial.op()
        with trio.CancelScope() as scope:

            async def cancel(scope: trio.CancelScope = scope, steps: int = steps) -> None:
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel)
                await trial.sweep(candidate, op=op)
        is_there = await trial.store.load(session_id) is not None
        entries = await trial.store.trash(session_id=session_id)
        same("places of the session", is_there + len(entries), 1)
        same("the repetition", (await trial.sweep(candidate, op=op))[0].verdict, "removed")
        entries = await trial.store.trash(session_id=session_id)
        same("entries of the trash", len(entries), 1)
        lines = [line for line in await trial.store.audit(limit=1_000) if line.session_id == session_id]
        same("lines of the audit log", len(lines), 1)
