"""Checks of changes: what is appended, cut, stamped and answered."""

from __future__ import annotations

from datetime import timedelta

from miniclaw.errors import LeaseLostError, RevisionConflictError, SessionNotFoundError
from miniclaw.stores.types import Candidate, Change
from miniclaw.testing.store_checks.trial import FOREVER, Trial, holds, message, refused, same

_TEXTS = (
    "plain",
    "",
    "zwei\nZeilen\tTab",
    'quotes " and \\ back',
    "żółć 日本語 ☃ 👩\u200d👩\u200d👧",
    "\u0000 \u001f \u2028",
    "e\u0301 é",
    " lead and trail ",
)


async def first_commit_creates(trial: Trial) -> None:
    """The first commit creates a session with the parts of its id, one time for both stamps, and no pin."""
    before = trial.now()
    lease = await trial.store.acquire("web_anna_maria", FOREVER)
    same("the revision of a session that does not exist", lease.revision, 0)
    same("load of a session that was only leased", await trial.store.load("web_anna_maria"), None)
    saved = await trial.store.commit(lease, Change(op=trial.op(), messages=[message("hi")], metadata=b'{"title":"x"}'))
    header = (await trial.loaded("web_anna_maria")).header
    same("session_id", header.session_id, "web_anna_maria")
    same("channel and chat_id", (header.channel, header.chat_id), ("web", "anna_maria"))
    same("created_at", header.created_at, header.last_accessed)
    same("Saved.last_accessed", saved.last_accessed, header.last_accessed)
    same("Saved.lease.token", saved.lease.token, lease.token)
    same("Saved.lease.revision", saved.lease.revision, header.revision)
    same("pinned, due_at, count", (header.pinned, header.due_at, header.count), (False, None, 1))
    same("metadata", header.metadata, b'{"title":"x"}')
    same("the zone of the stamps", header.created_at.utcoffset(), timedelta(0))
    holds("the stamp is the present", before - timedelta(minutes=5) < header.created_at <= trial.now())
    same("header()", await trial.store.header("web_anna_maria"), header)


async def empty_commit_creates(trial: Trial) -> None:
    """A commit without messages creates a session without messages; without `touch` it is stamped all the same."""
    lease = await trial.store.acquire("web_a", FOREVER)
    await trial.store.commit(lease, Change(op=trial.op(), touch=False))
    header = (await trial.loaded("web_a")).header
    same("created_at", header.created_at, header.last_accessed)
    await trial.has("web_a")


async def messages_return_in_order_byte_for_byte(trial: Trial) -> None:
    """Messages of any text are returned byte for byte, in the order of their commits, by any owner."""
    saved = await trial.put("web_a", *_TEXTS[:3])
    lease = await trial.store.acquire("web_a", FOREVER)
    same("the revision that a later lease sees", lease.revision, saved.lease.revision)
    for text in _TEXTS[3:]:
        saved = await trial.write(lease, text)
        lease = saved.lease
    await trial.has("web_a", *_TEXTS)
    stored = await trial.other.load("web_a")
    same("what the other owner reads", stored and [*stored.messages], [*map(message, _TEXTS)])


async def ids_of_any_text(trial: Trial) -> None:
    """Sessions whose ids differ in case, normal form or special characters are different sessions."""
    chats = ["a", "A", "é", "e\u0301", "a b", "a/b", "..", "%61", "日本", "a_b", "x" * 300, "ß", "ss", "\U0001f980"]
    for chat in chats:
        await trial.put(f"web_{chat}", chat)
    for chat in chats:
        await trial.has(f"web_{chat}", chat)
    found = [header.session_id for header in await trial.store.headers(limit=100)]
    same("the ids of the headers", found, sorted(f"web_{chat}" for chat in chats))


async def repeated_change_happens_once(trial: Trial) -> None:
    """A change that is sent again with its `op` is answered as the first time, and not made again."""
    lease = await trial.store.acquire("web_a", FOREVER)
    change = Change(op=trial.op(), messages=[message("once")])
    first = await trial.store.commit(lease, change)
    await trial.wait(1)
    second = await trial.store.commit(lease, change)
    same(
        "the second answer", (second.lease.revision, second.last_accessed), (first.lease.revision, first.last_accessed)
    )
    await trial.has("web_a", "once")
    await trial.write(second.lease, "next")
    await trial.has("web_a", "once", "next")


async def repeated_change_is_answered_without_the_lease(trial: Trial) -> None:
    """The repetition of the latest change is answered even if the lease was lost after the first time."""
    lease = await trial.store.acquire("web_a", trial.unit * 100)
    change = Change(op=trial.op(), messages=[message("once")])
    first = await trial.store.commit(lease, change)
    await trial.store.release(lease)
    await trial.other.acquire("web_a", FOREVER)
    again = await trial.store.commit(lease, change)
    same("the revision of the answer", again.lease.revision, first.lease.revision)
    await trial.has("web_a", "once")
    with refused(LeaseLostError, "another commit under that lease"):
        await trial.write(again.lease, "more")


async def wrong_revision_is_refused(trial: Trial) -> None:
    """A commit whose lease has another revision than the session raises RevisionConflictError and changes nothing."""
    lease = await trial.store.acquire("web_a", FOREVER)
    saved = await trial.write(lease, "one")
    with refused(RevisionConflictError, "commit under the revision before"):
        await trial.write(lease, "two")
    await trial.has("web_a", "one")
    same("the revision", (await trial.loaded("web_a")).header.revision, saved.lease.revision)
    await trial.write(saved.lease, "two")
    await trial.has("web_a", "one", "two")


async def revision_is_never_used_twice(trial: Trial) -> None:
    """After a removal, a restore or a recreation, a session has a revision that it never had before."""
    revisions = [(await trial.put("web_a", "one")).lease.revision]
    for _ in range(2):
        lease = await trial.store.acquire("web_a", FOREVER)
        gone = await trial.store.remove(lease, trash_for=FOREVER, reason="deleted", by="check", op=trial.op())
        await trial.store.release(lease)
        same("the revision after a removal", (await trial.store.acquire("web_a", FOREVER)).revision, 0)
        await trial.store.restore(gone.entry_id, by="check", op=trial.op())
        revisions.append((await trial.loaded("web_a")).header.revision)
        lease = await trial.store.acquire("web_a", FOREVER)
        await trial.store.remove(lease, trash_for=None, reason="deleted", by="check", op=trial.op())
        revisions.append((await trial.put("web_a", "new")).lease.revision)
    same("the revisions", len(set(revisions)), len(revisions))


async def old_messages_are_cut(trial: Trial) -> None:
    """`keep` cuts the old messages before the new ones are appended: undo, edit and clear."""
    lease = (await trial.put("web_a", "one", "two", "three")).lease
    lease = await trial.store.acquire("web_a", FOREVER)
    edited = Change(op=trial.op(), keep=1, messages=[message("2")])
    lease = (await trial.store.commit(lease, edited)).lease
    await trial.has("web_a", "one", "2")
    lease = (await trial.store.commit(lease, Change(op=trial.op(), keep=9))).lease
    await trial.has("web_a", "one", "2")
    lease = (await trial.store.commit(lease, Change(op=trial.op(), keep=0, metadata=b'{"a":1}'))).lease
    await trial.has("web_a")
    same("count of a cleared session", (await trial.loaded("web_a")).header.count, 0)
    await trial.write(lease, "new")
    await trial.has("web_a", "new")
    same("metadata", (await trial.loaded("web_a")).header.metadata, b'{"a":1}')


async def metadata_changes_alone(trial: Trial) -> None:
    """Metadata changes without a use: messages, stamps and announcement stay; without new metadata they stay."""
    candidate = await trial.candidate("web_a", "one")
    await trial.store.announce([candidate], FOREVER)
    before = (await trial.loaded("web_a")).header
    await trial.wait(1)
    lease = await trial.store.acquire("web_a", FOREVER)
    saved = await trial.store.commit(lease, Change(op=trial.op(), metadata=b'{"title":"\xc3\xa9"}', touch=False))
    header = (await trial.loaded("web_a")).header
    same("metadata", header.metadata, b'{"title":"\xc3\xa9"}')
    same("last_accessed", (header.last_accessed, saved.last_accessed), (before.last_accessed,) * 2)
    same("due_at", header.due_at, before.due_at)
    holds("the revision changes with the metadata", header.revision != before.revision)
    await trial.has("web_a", "one")
    lease = (await trial.write(saved.lease, "two")).lease
    same("metadata after another commit", (await trial.loaded("web_a")).header.metadata, b'{"title":"\xc3\xa9"}')
    await trial.store.commit(lease, Change(op=trial.op(), metadata=b""))
    same("metadata that were deleted", (await trial.loaded("web_a")).header.metadata, b"")


async def only_a_use_is_stamped(trial: Trial) -> None:
    """A commit with `touch` sets `last_accessed` to the present; reading, listing, leasing and pinning do not."""
    first = await trial.put("web_a", "one")
    await trial.wait(1)
    await trial.store.load("web_a")
    await trial.store.headers()
    await trial.store.pin("web_a", True)
    lease = await trial.store.acquire("web_a", FOREVER)
    header = (await trial.loaded("web_a")).header
    same("last_accessed after reading", header.last_accessed, first.last_accessed)
    used = await trial.store.commit(lease, Change(op=trial.op()))
    holds("a use is stamped with a later time", used.last_accessed > first.last_accessed)
    header = (await trial.loaded("web_a")).header
    same("last_accessed after a use", header.last_accessed, used.last_accessed)
    same("created_at after a use", header.created_at, first.last_accessed)


async def large_sessions(trial: Trial) -> None:
    """A message of 2 MiB and a session of 2,000 messages are returned whole; `tail` returns the newest messages."""
    await trial.put("web_large", "x" * 2 * 1024 * 1024)
    await trial.has("web_large", "x" * 2 * 1024 * 1024)
    texts = [f"message {number}" for number in range(2_000)]
    await trial.put("web_long", *texts)
    await trial.has("web_long", *texts)
    for tail, expected in ((0, []), (3, texts[-3:]), (5_000, texts)):
        stored = await trial.store.load("web_long", tail=tail)
        same(f"load with tail={tail}", stored and [*stored.messages], [*map(message, expected)])
        same("count beside a tail", stored and stored.header.count, 2_000)


async def sizes_are_counted(trial: Trial) -> None:
    """`size` is at least that of messages and metadata, grows and shrinks with them, and `totals` has the sums."""
    saved = await trial.put("web_a", "x" * 5_000, "y")
    header = (await trial.loaded("web_a")).header
    holds(f"the size counts the messages: {header.size}", header.size >= len(message("x" * 5_000)) + len(message("y")))
    lease = await trial.store.acquire("web_a", FOREVER)
    same("the revision", lease.revision, saved.lease.revision)
    await trial.store.commit(lease, Change(op=trial.op(), keep=0))
    holds("the size shrinks with the messages", (await trial.loaded("web_a")).header.size < 5_000)
    candidate = await trial.candidate("web_b", "z" * 1_000)
    headers = await trial.store.headers()
    totals = await trial.store.totals()
    same("totals", (totals.sessions, totals.size), (2, sum(header.size for header in headers)))
    await trial.store.release(lease)
    size = (await trial.sweep(candidate))[0].size
    totals = await trial.store.totals()
    same("totals.sessions after a removal", totals.sessions, 1)
    same("totals of the trash", (totals.trashed, totals.trashed_size), (1, size))


async def callers_keep_their_lists(trial: Trial) -> None:
    """A list that was given to a commit, or returned by a load, can be changed without an effect on the session."""
    lease = await trial.store.acquire("web_a", FOREVER)
    given = [message("one")]
    await trial.store.commit(lease, Change(op=trial.op(), messages=given))
    given.append(message("not given"))
    returned = (await trial.loaded("web_a")).messages
    if isinstance(returned, list):
        returned.append(message("not written"))
    await trial.has("web_a", "one")


async def pin_needs_no_lease(trial: Trial) -> None:
    """Anyone pins and unpins: without a lease, beside a lease, and without a new revision or a use."""
    saved = await trial.put("web_a", "one")
    lease = await trial.store.acquire("web_a", FOREVER)
    same("pin of an unpinned session", await trial.other.pin("web_a", True), True)
    same("pin of a pinned session", await trial.other.pin("web_a", True), False)
    header = (await trial.loaded("web_a")).header
    same("pinned", header.pinned, True)
    same("revision", header.revision, saved.lease.revision)
    same("last_accessed", header.last_accessed, saved.last_accessed)
    await trial.write(lease, "two")
    same("pinned after a commit", (await trial.loaded("web_a")).header.pinned, True)
    same("unpin of a pinned session", await trial.store.pin("web_a", False), True)
    same("pinned", (await trial.loaded("web_a")).header.pinned, False)
    with refused(SessionNotFoundError, "pin of a session that does not exist"):
        await trial.store.pin("web_none", True)


async def headers_fit_their_filters(trial: Trial) -> None:
    """Headers are filtered by channel, age and pin, all at once, with ages exclusive; missing sessions are None."""
    await trial.put("tel_old", "x")
    old = await trial.put("web_old", "x")
    await trial.store.pin("web_old", True)
    await trial.wait(10)
    await trial.put("web_new", "x")

    async def ids(**filters: object) -> list[str]:
        return [header.session_id for header in await trial.store.headers(**filters)]  # type: ignore[arg-type]

    half = trial.unit * 5
    same("headers of a channel", await ids(channel="web"), ["web_new", "web_old"])
    same("headers of no channel", await ids(channel="we"), [])
    same("headers older than", await ids(older_than=half), ["tel_old", "web_old"])
    same("headers younger than", await ids(younger_than=half), ["web_new"])
    same("headers between", await ids(older_than=half, younger_than=half), [])
    same("pinned headers", await ids(pinned=True), ["web_old"])
    same("unpinned headers", await ids(pinned=False), ["tel_old", "web_new"])
    same("headers by all filters", await ids(channel="web", older_than=half, pinned=False), [])
    same("headers after", await ids(after="tel_old"), ["web_new", "web_old"])
    same("a limited page", await ids(limit=2), ["tel_old", "web_new"])
    same("header of no session", await trial.store.header("web_none"), None)
    same("load of no session", await trial.store.load("web_none"), None)
    if trial.exact:
        age = trial.now() - old.last_accessed
        same("headers older than their age", await ids(older_than=age), [])
        same("headers younger than their age", await ids(younger_than=age), ["web_new"])


async def announcement_shows_in_the_header(trial: Trial) -> None:
    """`announce` sets `due_at` for unused sessions, keeps an earlier time, and counts those that it announced."""
    first = await trial.candidate("web_a", "x")
    pinned = await trial.candidate("web_b", "x")
    await trial.store.pin("web_b", True)
    used = Candidate("web_c", (await trial.candidate("web_c", "x")).last_accessed - trial.unit)
    before = trial.now()
    same("announced", await trial.store.announce([first, pinned, used, Candidate("web_none", before)], trial.unit), 1)
    due_at = (await trial.loaded("web_a")).header.due_at
    holds(
        "due_at is the present and the delay",
        due_at is not None and before + trial.unit <= due_at <= trial.now() + trial.unit,
    )
    for session_id in ("web_b", "web_c"):
        same(f"due_at of {session_id}", (await trial.loaded(session_id)).header.due_at, None)
    same("announced again", await trial.store.announce([first], FOREVER), 1)
    same("due_at after a later announcement", (await trial.loaded("web_a")).header.due_at, due_at)
    await trial.put("web_a", "y")
    same("due_at after a use", (await trial.loaded("web_a")).header.due_at, None)
