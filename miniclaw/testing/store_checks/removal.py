"""Checks of removals, which keep everything that is in use, and of the trash."""

from __future__ import annotations

from datetime import timedelta

from miniclaw.errors import LeaseLostError
from miniclaw.stores.types import Candidate, Change, Restoration
from miniclaw.testing.store_checks.trial import FOREVER, NEVER, Trial, holds, message, refused, same


async def unused_session_is_removed(trial: Trial) -> None:
    """An unused session is removed, for good or into the trash, and its outcome has size and entry."""
    for trash_for in (None, FOREVER):
        candidate = await trial.candidate("web_a", "x")
        size = (await trial.loaded("web_a")).header.size
        outcome = (await trial.sweep(candidate, trash_for=trash_for))[0]
        same("the outcome", (outcome.session_id, outcome.verdict, outcome.size), ("web_a", "removed", size))
        same("the outcome has an entry", bool(outcome.entry_id), trash_for is not None)
        same("load after a removal", await trial.store.load("web_a"), None)
        same("header after a removal", await trial.store.header("web_a"), None)
        same("headers after a removal", [*await trial.store.headers()], [])
        same("entries of the trash", len(await trial.store.trash()), int(trash_for is not None))
        same("verdict on a removed session", await trial.verdict(candidate), "gone")


async def used_session_is_kept(trial: Trial) -> None:
    """A session that was used since it was listed is kept."""
    candidate = await trial.candidate("web_a", "x")
    await trial.put("web_a", "y")
    same("verdict on a used session", await trial.verdict(candidate), "used")
    await trial.has("web_a", "x", "y")


async def recreated_session_is_kept(trial: Trial) -> None:
    """A session that was removed and begun anew since it was listed is kept."""
    candidate = await trial.candidate("web_a", "x")
    same("verdict", await trial.verdict(candidate), "removed")
    await trial.put("web_a", "new")
    await trial.wait(0.01)
    same("verdict on the new session", await trial.verdict(candidate), "used")
    await trial.has("web_a", "new")


async def young_session_is_kept(trial: Trial) -> None:
    """A session whose age does not exceed `min_age` is kept; at exactly `min_age` it is kept as well."""
    candidate = await trial.candidate("web_a", "x")
    same("verdict on a young session", await trial.verdict(candidate, min_age=FOREVER), "young")
    if trial.exact:
        age = trial.now() - candidate.last_accessed
        same("verdict at exactly min_age", await trial.verdict(candidate, min_age=age), "young")
        same("verdict just beyond", await trial.verdict(candidate, min_age=age - timedelta(microseconds=1)), "removed")


async def pinned_session_is_kept(trial: Trial) -> None:
    """A pinned session is kept until it is unpinned."""
    candidate = await trial.candidate("web_a", "x")
    await trial.store.pin("web_a", True)
    same("verdict on a pinned session", await trial.verdict(candidate), "pinned")
    await trial.store.pin("web_a", False)
    same("verdict on an unpinned session", await trial.verdict(candidate), "removed")


async def leased_session_is_kept(trial: Trial) -> None:
    """A session under a lease, of this owner or another, is kept until the lease ends or is released."""
    for store in (trial.store, trial.other):
        candidate = await trial.candidate("web_a", "x")
        lease = await store.acquire("web_a", FOREVER)
        same("verdict on a leased session", await trial.verdict(candidate), "leased")
        await store.release(lease)
        same("verdict after the release", await trial.verdict(candidate), "removed")
    candidate = await trial.candidate("web_a", "x")
    await trial.store.acquire("web_a", trial.unit)
    await trial.wait(2)
    same("verdict after the end of the lease", await trial.verdict(candidate), "removed")


async def unannounced_session_is_kept(trial: Trial) -> None:
    """With `announced`, only a session whose announced time is reached is removed; a use takes it back."""
    candidate = await trial.candidate("web_a", "x")
    same("verdict without an announcement", await trial.verdict(candidate, announced=True), "unannounced")
    await trial.store.announce([candidate], trial.unit * 1_000)
    same("verdict before the announced time", await trial.verdict(candidate, announced=True), "unannounced")
    await trial.store.announce([candidate], trial.unit)
    await trial.wait(2)
    used = Candidate("web_a", (await trial.put("web_a", "y")).last_accessed)
    await trial.wait(0.01)
    same("verdict after a use", await trial.verdict(used, announced=True), "unannounced")
    await trial.store.announce([used], trial.unit)
    await trial.wait(2)
    same("verdict after the announced time", await trial.verdict(used, announced=True), "removed")


async def wrong_clock_removes_nothing(trial: Trial) -> None:
    """A caller whose clock differs from the store's by more than five minutes removes nothing."""
    candidate = await trial.candidate("web_a", "x")
    for days in (40, -40):
        verdict = await trial.verdict(candidate, now=trial.now() + timedelta(days=days))
        same(f"verdict for a clock that is {days} days ahead", verdict, "clock")
    same(
        "verdict for a clock a minute ahead",
        await trial.verdict(candidate, now=trial.now() + timedelta(minutes=1)),
        "removed",
    )


async def repeated_removal_is_answered_alike(trial: Trial) -> None:
    """A removal that is sent again with its `op` is answered as the first time, and is in the audit log once."""
    candidate, op = await trial.candidate("web_a", "x"), trial.op()
    first = await trial.sweep(candidate, op=op)
    same("the second answer", await trial.sweep(candidate, op=op), first)
    same("the answer to another run", (await trial.sweep(candidate))[0].verdict, "gone")
    removed = [line for line in await trial.store.audit() if line.kind == "removed"]
    same("lines of the audit log", [line.session_id for line in removed], ["web_a"])
    same("entries of the trash", len(await trial.store.trash()), 1)


async def outcomes_are_in_order(trial: Trial) -> None:
    """A removal has one outcome for each candidate, in their order, and keeps what it need not remove."""
    candidates = [await trial.candidate(f"web_{number}", "x") for number in (3, 1, 4, 2, 5)]
    await trial.put("web_4", "used")
    await trial.store.pin("web_2", True)
    outcomes = await trial.sweep(*candidates)
    same("the ids", [outcome.session_id for outcome in outcomes], [each.session_id for each in candidates])
    same("the verdicts", [outcome.verdict for outcome in outcomes], ["removed", "removed", "used", "pinned", "removed"])
    same("the rest", [header.session_id for header in await trial.store.headers()], ["web_2", "web_4"])
    same("outcomes of nothing", await trial.sweep(), [])


async def holder_removes_at_will(trial: Trial) -> None:
    """The holder of a lease removes a session that is young, pinned or announced; then its revision is 0."""
    await trial.put("web_a", "x")
    await trial.store.pin("web_a", True)
    lease, op = await trial.store.acquire("web_a", FOREVER), trial.op()
    first = await trial.store.remove(lease, trash_for=FOREVER, reason="deleted", by="check", op=op)
    same("the verdict", first.verdict, "removed")
    same("load after a removal", await trial.store.load("web_a"), None)
    again = await trial.store.remove(lease, trash_for=FOREVER, reason="deleted", by="check", op=op)
    same("the answer to a repetition", again, first)
    other = await trial.store.remove(lease, trash_for=FOREVER, reason="deleted", by="check", op=trial.op())
    same("the verdict of another removal", (other.verdict, other.size, other.entry_id), ("gone", 0, ""))
    await trial.store.commit(type(lease)("web_a", lease.token, 0), Change(op=trial.op(), messages=[message("new")]))
    await trial.has("web_a", "new")


async def holder_without_its_lease_removes_nothing(trial: Trial) -> None:
    """A removal under a lease that is lost raises LeaseLostError and keeps the session."""
    await trial.put("web_a", "x")
    lease = await trial.store.acquire("web_a", trial.unit)
    await trial.wait(2)
    await trial.other.acquire("web_a", FOREVER)
    with refused(LeaseLostError, "remove under a lease that was taken"):
        await trial.store.remove(lease, trash_for=None, reason="deleted", by="check", op=trial.op())
    await trial.has("web_a", "x")


async def restored_session_is_whole(trial: Trial) -> None:
    """A restored session has its messages, metadata, pin and creation, was used just now, and left the trash."""
    await trial.put("web_a", "one", "two")
    lease = await trial.store.acquire("web_a", FOREVER)
    stale = await trial.store.commit(lease, Change(op=trial.op(), metadata=b'{"a":1}'))
    await trial.store.pin("web_a", True)
    before = (await trial.loaded("web_a")).header
    gone = await trial.store.remove(lease, trash_for=FOREVER, reason="deleted", by="check", op=trial.op())
    await trial.wait(1)
    op = trial.op()
    restored = await trial.store.restore(gone.entry_id, by="check", op=op)
    same("the answer", restored, Restoration("restored", "web_a"))
    same("the answer to a repetition", await trial.store.restore(gone.entry_id, by="check", op=op), restored)
    await trial.has("web_a", "one", "two")
    header = (await trial.loaded("web_a")).header
    same(
        "metadata, pin, creation",
        (header.metadata, header.pinned, header.created_at),
        (b'{"a":1}', True, before.created_at),
    )
    holds("the restored session was used just now", header.last_accessed > before.last_accessed)
    holds("the restored session has another revision", header.revision not in {before.revision, stale.lease.revision})
    same("entries of the trash", [*await trial.store.trash()], [])
    again = await trial.store.restore(gone.entry_id, by="check", op=trial.op())
    same("another restore", again, Restoration("gone"))


async def restored_session_is_not_announced(trial: Trial) -> None:
    """A restore is a use: an announcement from before the removal does not count."""
    candidate = await trial.candidate("web_a", "x")
    await trial.store.announce([candidate], NEVER)
    gone = (await trial.sweep(candidate))[0]
    await trial.store.restore(gone.entry_id, by="check", op=trial.op())
    header = (await trial.loaded("web_a")).header
    same("due_at", header.due_at, None)
    await trial.wait(0.01)
    verdict = await trial.verdict(Candidate("web_a", header.last_accessed), announced=True)
    same("verdict on the restored session", verdict, "unannounced")


async def nothing_is_restored_over_a_session(trial: Trial) -> None:
    """A restore whose session exists anew is refused, and the entry stays; one of an unknown entry is ``gone``."""
    gone = (await trial.sweep(await trial.candidate("web_a", "old")))[0]
    await trial.put("web_a", "new")
    answer = await trial.store.restore(gone.entry_id, by="check", op=trial.op())
    same("the answer", answer, Restoration("taken", "web_a"))
    await trial.has("web_a", "new")
    same("entries of the trash", [entry.entry_id for entry in await trial.store.trash()], [gone.entry_id])
    same("an unknown entry", await trial.store.restore("none", by="check", op=trial.op()), Restoration("gone"))


async def trash_is_listed_newest_first(trial: Trial) -> None:
    """The trash is listed in pages, the newest removal first, of all sessions or one, with the facts of each."""
    removed = []
    for number in range(7):
        candidate = await trial.candidate(f"web_{number % 2}", "x")
        outcome = (await trial.sweep(candidate, trash_for=trial.unit * 100))[0]
        removed.append((outcome.entry_id, candidate.last_accessed))
        await trial.wait(1)
    found, page = [], [*await trial.store.trash(limit=3)]
    while page:
        holds("a page has at most `limit` entries", len(page) <= 3)
        found += page
        page = [*await trial.store.trash(before=page[-1], limit=3)]
    same("the entries", [(each.entry_id, each.last_accessed) for each in found], removed[::-1])
    same("the sessions", [each.session_id for each in found], [f"web_{number % 2}" for number in range(6, -1, -1)])
    entry = found[0]
    same("reason and actor", (entry.reason, entry.by), ("ttl", "check"))
    same("expires_at", entry.expires_at - entry.removed_at, trial.unit * 100)
    holds("the size is that of the session", entry.size >= len(message("x")))
    one = await trial.store.trash(session_id="web_1", limit=2)
    same("the entries of one session", [each.entry_id for each in one], [removed[5][0], removed[3][0]])


async def trash_is_emptied_of_what_expired(trial: Trial) -> None:
    """`empty_trash` deletes the expired entries, or those that are named, and returns them."""
    first = (await trial.sweep(await trial.candidate("web_a", "x"), trash_for=trial.unit))[0]
    second = (await trial.sweep(await trial.candidate("web_b", "x")))[0]
    third = (await trial.sweep(await trial.candidate("web_c", "x")))[0]
    await trial.wait(2)
    gone = [entry.entry_id for entry in await trial.store.empty_trash(None, by="check", op=trial.op())]
    same("the expired entries", gone, [first.entry_id])
    gone = [entry.entry_id for entry in await trial.store.empty_trash(None, by="check", op=trial.op())]
    same("the expired entries of a second call", gone, [])
    named = [third.entry_id, "none"]
    gone = [entry.entry_id for entry in await trial.store.empty_trash(named, by="check", op=trial.op())]
    same("the named entries", gone, [third.entry_id])
    same("the rest", [entry.entry_id for entry in await trial.store.trash()], [second.entry_id])
    answer = await trial.store.restore(third.entry_id, by="check", op=trial.op())
    same("restore of a deleted entry", answer, Restoration("gone"))
