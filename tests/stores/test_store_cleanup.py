"""The daily cleanup of a runtime over a store: announced, by the store's clock, one turn for all programs."""

from __future__ import annotations

from datetime import datetime, time, timedelta

import pytest
import trio

from miniclaw.session.hooks.hooks import Hooks
from miniclaw.session.hooks.types import DueEntry, Keep, LoadSession, RemovalCandidate, Remove
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.types import Message
from miniclaw.stores.memory import MemoryStore
from miniclaw.stores.runtime import StoreRuntime, open_store_runtime
from miniclaw.stores.types import Candidate, Outcome
from tests.fakes.logs import LogRecorder
from tests.fakes.stores import trio_time

DAY = timedelta(days=1)
JumpingClock = trio.testing.MockClock


async def days(number: float) -> None:
    await trio.sleep(number * 24 * 60 * 60 + 60)


async def ids(sessions: StoreRuntime) -> list[str]:
    return [entry.session_id async for entry in sessions.list()]


async def test_unused_session_is_announced_and_removed_after_its_ttl(
    autojump_clock: JumpingClock, logs: LogRecorder
) -> None:
    """It is announced a week before, removed by the first run after 30 days, and logged as the specification says."""
    store, due = MemoryStore(clock=trio_time), list[tuple[DueEntry, ...]]()

    async def on_due(entries: tuple[DueEntry, ...]) -> None:
        due.append(entries)

    policy = RetentionPolicy(trash_for=7 * DAY)
    async with open_store_runtime(store, policy=policy, hooks=Hooks(on_due=on_due)) as sessions:
        await sessions.get_or_create("web", "old")
        await sessions.add_message("web_old", Message("user", "x", trio_time()))
        last = trio_time()
        await sessions.get_or_create("web", "used")
        await days(22)
        assert due == []
        await days(2)
        assert [entry.session_id for entry in due[0]] == ["web_old", "web_used"]
        assert abs((due[0][0].goes_at or last) - last - 30 * DAY) < timedelta(hours=1)
        await sessions.get("web_used")
        await days(5.5)
        assert await ids(sessions) == ["web_old", "web_used"]
        await days(1)
        assert await ids(sessions) == ["web_old", "web_used"]  # at exactly 30 days
        await days(1)
        assert await ids(sessions) == ["web_used"]
        assert len(due) == 1
        complete = [event for event in logs.named("Session cleanup complete") if event["sessions_deleted"]]
        assert [(each["sessions_scanned"], each["sessions_deleted"], each["trashed"]) for each in complete] == [
            (2, 1, 1)
        ]
        removed = logs.one("Session removed")
        assert (removed["level"], removed["session_id"], removed["last_accessed"]) == (
            "debug",
            "web_old",
            last.isoformat(),
        )
        assert removed["age_days"] == 31
        events = [event async for event in sessions.history() if event.sessions]
        assert [
            (event.event, event.by, event.sessions[0].session_id, event.sessions[0].reason) for event in events
        ] == [("cleanup", "service", "web_old", "ttl")]
        assert events[0].sessions_scanned == 2
        assert len([entry async for entry in sessions.trash()]) == 1
        await days(8)
        assert [entry async for entry in sessions.trash()] == []
        assert sessions.daily.last_result is not None


async def test_old_sessions_get_their_notice_on_the_first_start(
    autojump_clock: JumpingClock, logs: LogRecorder
) -> None:
    """Sessions that had expired before the first run are announced with a WARNING, and removed a day later."""
    store = MemoryStore(clock=trio_time)
    async with open_store_runtime(store, cleanup=None) as sessions:
        await sessions.get_or_create("web", "old")
    await days(40)
    async with open_store_runtime(store) as sessions:
        await trio.sleep(60)
        assert await ids(sessions) == ["web_old"]
        late = logs.one("Expired sessions announced; they are deleted unless they are used")
        assert (late["sessions"], late["reasons"]) == (1, {"first_run": 1})
        assert [event.event async for event in sessions.history()] == ["cleanup", "announced"]
        await days(1)
        assert await ids(sessions) == []


async def test_tightened_rule_is_announced_anew(autojump_clock: JumpingClock, logs: LogRecorder) -> None:
    """An announcement under a longer TTL does not count for a shorter one: there is a notice period in between."""
    store = MemoryStore(clock=trio_time)
    async with open_store_runtime(store) as sessions:
        await sessions.get_or_create("web", "a")
        await days(25)
    async with open_store_runtime(store, policy=RetentionPolicy(ttl=7 * DAY)) as sessions:
        await days(0.5)
        assert await ids(sessions) == ["web_a"]
        await days(1)
        assert logs.one("Expired sessions announced; they are deleted unless they are used")["reasons"] == {
            "tightened_rule": 1
        }
        assert await ids(sessions) == ["web_a"]
        await days(1)
        assert await ids(sessions) == []


async def test_rules_protect_their_sessions(autojump_clock: JumpingClock) -> None:
    """Pins, TTLs of channels, and sessions in use are respected; the rest goes."""
    policy = RetentionPolicy(ttl=2 * DAY, ttl_by_channel={"tel": None, "api": 5 * DAY})
    async with open_store_runtime(MemoryStore(clock=trio_time), policy=policy) as sessions:
        for channel in ("web", "tel", "api"):
            await sessions.get_or_create(channel, "a")
        await sessions.get_or_create("web", "pinned")
        await sessions.set_pinned("web_pinned", True)
        async with sessions.using("web_used", create=True):
            await days(4)
            assert await ids(sessions) == ["api_a", "tel_a", "web_pinned", "web_used"]
        await days(3)
        assert await ids(sessions) == ["tel_a", "web_pinned"]
        plan = await sessions.plan()
        assert plan.removals == []


async def test_number_of_sessions_is_bounded(autojump_clock: JumpingClock) -> None:
    """`max_sessions` announces and then removes the least recently used beyond it."""
    policy = RetentionPolicy(ttl=None, max_sessions=2)
    async with open_store_runtime(MemoryStore(clock=trio_time), policy=policy) as sessions:
        for number in range(4):
            await sessions.get_or_create("web", f"{number}")
            await trio.sleep(60)
        await days(1)
        assert len(await ids(sessions)) == 4  # not idle for a day at the first run, announced by the second
        await days(1)
        await days(1)
        assert await ids(sessions) == ["web_2", "web_3"]


async def test_number_of_sessions_is_announced_sooner_than_the_ttl(autojump_clock: JumpingClock) -> None:
    """An announcement of the TTL, days ahead, does not count for `max_sessions`, which announces anew."""
    policy = RetentionPolicy(max_sessions=2)
    async with open_store_runtime(MemoryStore(clock=trio_time), policy=policy) as sessions:
        await sessions.get_or_create("web", "a")
        await trio.sleep(60)
        await sessions.get_or_create("web", "b")
        await days(24.5)
        header = await sessions.store.header("web_a")
        assert header is not None
        assert header.due_at is not None
        await sessions.get_or_create("web", "c")
        await days(2)
        assert await ids(sessions) == ["web_b", "web_c"]


async def test_direct_cleanup_acts_at_once(autojump_clock: JumpingClock) -> None:
    """`clean_up` removes what has expired without an announcement; `plan` says it before and changes nothing."""
    store = MemoryStore(clock=trio_time)
    async with open_store_runtime(store, cleanup=None) as sessions:
        await sessions.get_or_create("web", "a")
        await days(31)
        plan = await sessions.plan()
        assert [row.session.key for row in plan.removals] == ["web_a"]
        assert await ids(sessions) == ["web_a"]
        result = await sessions.clean_up()
        assert (result.sessions_scanned, result.sessions_deleted, result.removed_by_reason) == (1, 1, {"ttl": 1})
        assert result.bytes_freed == plan.bytes
        assert await ids(sessions) == []


async def test_mass_removal_is_held(autojump_clock: JumpingClock, logs: LogRecorder) -> None:
    """The guard holds a run that would remove too much, until it is confirmed."""
    policy = RetentionPolicy(max_removed_fraction=0.5)
    async with open_store_runtime(MemoryStore(clock=trio_time), policy=policy, cleanup=None) as sessions:
        for number in range(30):
            await sessions.get_or_create("web", f"{number}")
        await days(31)
        result = await sessions.clean_up()
        assert result.sessions_deleted == 0
        assert "max_removed_fraction" in result.held
        assert logs.one("Session cleanup held")["level"] == "warning"
        assert [event.event async for event in sessions.history()] == ["held"]
        assert (await sessions.clean_up(confirmed=True)).sessions_deleted == 30


async def test_programs_share_one_sweep(autojump_clock: JumpingClock, logs: LogRecorder) -> None:
    """Of several programs one has each turn; when it ends, another one goes on the next day."""
    store = MemoryStore(clock=trio_time)
    async with open_store_runtime(store.beside("2")), open_store_runtime(store.beside("3")):
        async with open_store_runtime(store):
            await days(3)
            assert len(logs.named("Session cleanup complete")) == 4
        await days(2)
        assert len(logs.named("Session cleanup complete")) == 6


async def test_run_at_a_time_of_day(autojump_clock: JumpingClock, logs: LogRecorder) -> None:
    """At a time of day there is one run a day, whatever the number of programs and restarts."""
    store = MemoryStore(clock=trio_time)
    for _ in range(3):
        async with (
            open_store_runtime(store, cleanup=time(4, 30)),
            open_store_runtime(store.beside("2"), cleanup=time(4, 30)),
        ):
            await trio.sleep(20 * 60 * 60)
    assert len(logs.named("Session cleanup complete")) in {3, 4}  # the first start, and each 4:30 of 2.5 days


async def test_program_keeps_a_session(autojump_clock: JumpingClock) -> None:
    """`before_remove` is asked with the session, its answer is counted, and the next run asks again."""
    asked = []

    async def before(candidate: RemovalCandidate, load: LoadSession) -> Keep | Remove:
        asked.append((candidate.session_id, candidate.reason, len((await load()).messages)))
        return Keep("not yet") if len(asked) == 1 else Remove()

    store = MemoryStore(clock=trio_time)
    async with open_store_runtime(store, cleanup=None, hooks=Hooks(before_remove=before)) as sessions:
        await sessions.get_or_create("web", "a")
        await sessions.add_message("web_a", Message("user", "x", trio_time()))
        await days(31)
        result = await sessions.clean_up()
        assert (result.sessions_deleted, result.kept_active) == (0, 1)
        assert await ids(sessions) == ["web_a"]
        assert (await sessions.clean_up()).sessions_deleted == 1
        assert asked == [("web_a", "ttl", 1)] * 2


async def test_session_that_is_used_while_the_program_is_asked_is_kept(autojump_clock: JumpingClock) -> None:
    """The store has the last word: a use between the plan and the removal keeps the session."""
    store = MemoryStore(clock=trio_time)
    async with open_store_runtime(store.beside("other"), cleanup=None) as other:

        async def before(candidate: RemovalCandidate, load: LoadSession) -> Remove:
            await other.get(candidate.session_id)
            return Remove()

        async with open_store_runtime(store, cleanup=None, hooks=Hooks(before_remove=before)) as sessions:
            await sessions.get_or_create("web", "a")
            await days(31)
            result = await sessions.clean_up()
            assert (result.sessions_deleted, result.kept_active) == (0, 1)
            assert await ids(sessions) == ["web_a"]


@pytest.mark.parametrize("off", [40 * DAY, -40 * DAY])
async def test_wrong_clock_removes_nothing(autojump_clock: JumpingClock, logs: LogRecorder, off: timedelta) -> None:
    """A program whose clock is wrong by weeks only announces, says so, and removes nothing even at its wish."""
    store = MemoryStore(clock=trio_time)

    def wrong() -> datetime:
        return trio_time() + off

    async with open_store_runtime(store, cleanup=None) as sessions:
        await sessions.get_or_create("web", "a")
    async with open_store_runtime(store, clock=wrong) as sessions:
        await days(2)
        assert logs.named("Sessions are only announced, because this machine's clock differs from the store's")
        await sessions.clean_up()
        assert await ids(sessions) == ["web_a"]


async def test_mode_that_only_announces(autojump_clock: JumpingClock) -> None:
    """Without `removes` the daily runs announce, and remove nothing for ever."""
    async with open_store_runtime(MemoryStore(clock=trio_time), removes=False) as sessions:
        await sessions.get_or_create("web", "a")
        await days(40)
        assert await ids(sessions) == ["web_a"]
        header = await sessions.store.header("web_a")
        assert header is not None
        assert header.due_at is not None


async def test_end_of_the_runtime_completes_the_batch(autojump_clock: JumpingClock, logs: LogRecorder) -> None:
    """A run that is under way at the end completes its batch, begins none, and is logged as interrupted."""
    release, began = trio.Event(), trio.Event()

    class Slow(MemoryStore):
        async def remove_if_unused(self, candidates: list[Candidate], **rest: object) -> list[Outcome]:  # type: ignore[override]
            began.set()
            await release.wait()
            return [*await super().remove_if_unused(candidates, **rest)]  # type: ignore[arg-type]

    store = Slow(clock=trio_time)
    async with open_store_runtime(store, cleanup=None) as sessions:
        for number in range(150):
            await sessions.get_or_create("web", f"{number}")
    await days(31)
    async with trio.open_nursery() as nursery, open_store_runtime(store, notice=False) as sessions:
        await began.wait()
        nursery.start_soon(_later, release)
    assert logs.one("Session cleanup interrupted")["sessions_deleted"] == 100
    assert (await store.totals()).sessions == 50
    assert (await store.begin_sweep(DAY, DAY)).token  # the next one is due


async def _later(event: trio.Event) -> None:
    await trio.sleep(2)
    event.set()
