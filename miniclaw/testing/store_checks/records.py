"""Checks of the audit log, of the claim on the sweep, and of lists with many sessions."""

from __future__ import annotations

import trio

from miniclaw.testing.store_checks.trial import FOREVER, NEVER, Trial, holds, same


async def audit_log_has_each_event_once(trial: Trial) -> None:
    """Each removal, restore, deletion in the trash and note is one line of the audit log, the newest first."""
    candidate = await trial.candidate("web_a", "x")
    size = (await trial.loaded("web_a")).header.size
    before = trial.now()
    first = (await trial.sweep(candidate, op="op-sweep"))[0]
    await trial.store.restore(first.entry_id, by="check", op="op-restore")
    lease = await trial.store.acquire("web_a", FOREVER)
    second = await trial.store.remove(lease, trash_for=FOREVER, reason="deleted", by="check", op="op-remove")
    await trial.store.empty_trash([second.entry_id], by="check", op="op-empty")
    await trial.store.note("a note", by="check", op="op-note")
    lines = [*await trial.store.audit()]
    same("kinds", [line.kind for line in lines], ["noted", "emptied", "removed", "restored", "removed"])
    same("ops", [line.op for line in lines], ["op-note", "op-empty", "op-remove", "op-restore", "op-sweep"])
    same("sessions", [line.session_id for line in lines], ["", "web_a", "web_a", "web_a", "web_a"])
    entries = ["", second.entry_id, second.entry_id, first.entry_id, first.entry_id]
    same("entries", [line.entry_id for line in lines], entries)
    same("actors", {line.by for line in lines}, {"check"})
    same("the text of a note", lines[0].reason, "a note")
    same("reasons of removals", (lines[2].reason, lines[4].reason), ("deleted", "ttl"))
    same("last use and size", (lines[4].last_accessed, lines[4].size), (candidate.last_accessed, size))
    numbers = [line.number for line in lines]
    same("numbers", numbers, sorted(set(numbers), reverse=True))
    holds("lines have the time of the event", all(before <= line.at <= trial.now() for line in lines))
    same("what was kept leaves no line", (await trial.sweep(candidate))[0].verdict, "gone")
    same("lines", len(await trial.store.audit()), 5)


async def audit_log_comes_in_pages(trial: Trial) -> None:
    """The pages of the audit log have each line once, the newest first, also while lines are added."""
    for number in range(7):
        await trial.store.note(f"note {number}", by="check", op=trial.op())
    found, before = [], None
    while page := [*await trial.store.audit(before=before, limit=3)]:
        holds("a page has at most `limit` lines", len(page) <= 3)
        found += [line.reason for line in page]
        before = page[-1].number
        await trial.store.note("later", by="check", op=trial.op())
    same("the lines", found, [f"note {number}" for number in range(6, -1, -1)])


async def sweep_is_claimed_by_one(trial: Trial) -> None:
    """The first program gets the sweep; another waits until its claim ends, or until the next sweep is due."""
    first = await trial.store.begin_sweep(trial.unit * 1_000, FOREVER)
    holds("the first program has its turn", first.token != 0)
    same("the last sweep and its note", (first.last_began, first.note), (None, b""))
    for store in (trial.store, trial.other):
        turn = await store.begin_sweep(NEVER, FOREVER)
        same("the token beside a claim", turn.token, 0)
        holds("the wait is at most the claim", NEVER < turn.wait <= FOREVER)
    same("end_sweep", await trial.store.end_sweep(first.token, b"note", completed=True), True)
    same("end_sweep again", await trial.store.end_sweep(first.token, b"again", completed=True), False)
    turn = await trial.other.begin_sweep(trial.unit * 1_000, FOREVER)
    same("the token before the interval is over", turn.token, 0)
    holds("the wait is at most the interval", NEVER < turn.wait <= trial.unit * 1_000)
    await trial.wait(2)
    turn = await trial.other.begin_sweep(trial.unit, FOREVER)
    holds("after the interval another program has its turn", turn.token not in {0, first.token})
    same("the note of the last sweep", turn.note, b"note")
    same("the beginning of the last sweep", turn.last_began, first.now)
    same("the wait of a turn", turn.wait, NEVER)


async def abandoned_sweep_is_taken_over(trial: Trial) -> None:
    """A claim that ended is another program's to take; the first one can no longer end the sweep."""
    first = await trial.store.begin_sweep(NEVER, trial.unit)
    await trial.wait(2)
    same("end_sweep after the end of the claim", await trial.store.end_sweep(first.token, b"1", completed=True), False)
    second = await trial.other.begin_sweep(trial.unit * 1_000, FOREVER)
    holds("another program has its turn", second.token not in {0, first.token})
    same("the last sweep", second.last_began, None)
    same("end_sweep by the first", await trial.store.end_sweep(first.token, b"1", completed=True), False)
    same("the token beside a claim", (await trial.store.begin_sweep(NEVER, FOREVER)).token, 0)
    same("end_sweep by the second", await trial.other.end_sweep(second.token, b"2", completed=True), True)


async def uncompleted_sweep_does_not_count(trial: Trial) -> None:
    """A sweep that ends without being completed leaves no note, and the next one is due at once."""
    first = await trial.store.begin_sweep(FOREVER, FOREVER)
    same("end_sweep", await trial.store.end_sweep(first.token, b"note", completed=False), True)
    second = await trial.other.begin_sweep(FOREVER, FOREVER)
    holds("the next turn is due at once", second.token not in {0, first.token})
    same("the last sweep and its note", (second.last_began, second.note), (None, b""))


async def many_headers_in_pages(trial: Trial) -> None:
    """The pages of many headers have each session once, in order, also while others are made and removed."""
    ids = [f"web_{number:06}" for number in range(trial.many)]

    async def make(part: list[str]) -> None:
        for session_id in part:
            await trial.store.commit(await trial.store.acquire(session_id, trial.unit), trial.empty())

    async with trio.open_nursery() as nursery:
        for start in range(20):
            nursery.start_soon(make, ids[start::20])
    found: list[str] = []
    after = ""
    while page := [header.session_id for header in await trial.store.headers(after=after, limit=777)]:
        holds("a page has at most `limit` headers", len(page) <= 777)
        found += page
        after = page[-1]
        if after in ids[:-1]:
            await trial.put(f"{after}_behind", "x")
            await trial.put(f"web_{'0' * 6}_before_{len(found)}", "x")
    same("the ids", [each for each in found if len(each) == len(ids[0])], ids)
    same("ids that are listed twice", len(found), len(set(found)))
    same("totals", (await trial.store.totals()).sessions >= trial.many, True)
