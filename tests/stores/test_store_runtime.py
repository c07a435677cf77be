"""The calls of a runtime over a store: every change is in the store when the call returns."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio

from miniclaw.errors import (
    InvalidMetadataError,
    RuntimeClosedError,
    SessionExistsError,
    SessionFullError,
    SessionKeptError,
    SessionNotFoundError,
    TrashEntryNotFoundError,
)
from miniclaw.session.hooks.hooks import Hooks
from miniclaw.session.hooks.types import Keep, LoadSession, RemovalCandidate, Remove, RemovedSession
from miniclaw.session.retention.policy import PolicyError, RetentionPolicy
from miniclaw.session.types import Message, ToolCall
from miniclaw.stores.memory import MemoryStore
from miniclaw.stores.runtime import StoreRuntime, open_store_runtime
from tests.fakes.stores import trio_time

WEEK = timedelta(days=7)


def said(text: str, role: str = "user") -> Message:
    return Message(role, text, trio_time())  # type: ignore[arg-type]


async def texts(sessions: StoreRuntime, session_id: str) -> list[str] | None:
    session = await sessions.read(session_id)
    return None if session is None else [message.content for message in session.messages]


async def test_change_is_in_the_store_when_the_call_returns(autojump_clock: trio.testing.MockClock) -> None:
    """A runtime of another program reads each change at once, and memory has the same."""
    store = MemoryStore(clock=trio_time)
    async with open_store_runtime(store) as ours, open_store_runtime(store.beside("other")) as theirs:
        session = await ours.get_or_create("web", "anna")
        assert (session.session_id, session.channel, session.chat_id) == ("web_anna", "web", "anna")
        call = Message("assistant", "", trio_time(), (ToolCall("1", "look", "{}"),))
        assert await ours.add_messages("web_anna", [said("hi"), call, said("żółć ☃")]) is session
        found = await theirs.read("web_anna")
        assert found is not None
        assert found == session
        assert found is not session
        assert [each.content for each in await ours.pop_messages("web_anna", 2)] == ["", "żółć ☃"]
        assert await texts(theirs, "web_anna") == ["hi"] == [message.content for message in session.messages]
        await ours.set_metadata("web_anna", title="Holidays", n=[1, {"a": None}])
        await ours.set_metadata("web_anna", n=None)
        assert await ours.set_pinned("web_anna", True)
        assert not await ours.set_pinned("web_anna", True)
        found = await theirs.read("web_anna")
        assert found == session
        assert found is not None
        assert (found.metadata, found.pinned) == ({"title": "Holidays"}, True)
        assert await ours.clear("web_anna") == 1
        assert await texts(theirs, "web_anna") == []
        assert session.metadata == {"title": "Holidays"}


async def test_only_an_access_counts_as_a_use(autojump_clock: trio.testing.MockClock) -> None:
    """Reading, listing, pins and metadata leave `last_accessed`; access and messages set it to the store's time."""
    store = MemoryStore(clock=trio_time)
    async with open_store_runtime(store) as sessions:
        session = await sessions.get_or_create("web", "anna")
        began = session.last_accessed
        await trio.sleep(5)
        await sessions.read("web_anna")
        await sessions.set_pinned("web_anna", True)
        await sessions.set_metadata("web_anna", a=1)
        await sessions.durable("web_anna")
        assert [entry.last_accessed async for entry in sessions.list()] == [began] == [session.last_accessed]
        assert await sessions.get("web_anna") is session
        assert session.last_accessed == trio_time() > began
        await trio.sleep(5)
        async with sessions.using("web_anna") as used:
            assert used is session
            assert session.last_accessed == trio_time()


async def test_list_has_headers_that_fit(autojump_clock: trio.testing.MockClock) -> None:
    """The list goes over all pages, with the filters of the call."""
    store = MemoryStore(clock=trio_time)
    async with open_store_runtime(store) as sessions:
        for number in range(1_201):
            await sessions.get_or_create("web", f"{number:04}")
        await trio.sleep(60)
        await sessions.get_or_create("tel", "new")
        await sessions.set_metadata("tel_new", title="x")
        assert len([entry async for entry in sessions.list()]) == 1_202
        assert len({entry.session_id async for entry in sessions.list(channel="web")}) == 1_201
        young = [entry async for entry in sessions.list(younger_than=timedelta(seconds=30))]
        assert [(entry.session_id, entry.metadata) for entry in young] == [("tel_new", {"title": "x"})]
        assert [entry async for entry in sessions.list(older_than=timedelta(hours=1))] == []


async def test_missing_session_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    """Calls on a session that does not exist raise, or return None, and create nothing."""
    store = MemoryStore(clock=trio_time)
    async with open_store_runtime(store) as sessions:
        assert await sessions.get("web_none") is None
        assert await sessions.read("web_none") is None
        for call in (
            sessions.add_message("web_none", said("x")),
            sessions.pop_messages("web_none", 1),
            sessions.set_metadata("web_none", a=1),
            sessions.set_pinned("web_none", True),
            sessions.durable("web_none"),
            sessions.delete("web_none"),
            sessions.delete("web_none", erase=True),
        ):
            with pytest.raises(SessionNotFoundError):
                await call
        with pytest.raises(SessionNotFoundError):
            async with sessions.using("web_none"):
                pass
        with pytest.raises(ZeroDivisionError):  # an error of the block is raised as itself
            async with open_store_runtime(store.beside("other")):
                raise ZeroDivisionError
        async with sessions.using("web_new", create=True) as session:
            assert session.session_id == "web_new"
        assert [entry.session_id async for entry in sessions.list()] == ["web_new"]
        with pytest.raises(InvalidMetadataError):
            await sessions.set_metadata("web_new", a=object())


async def test_full_session_refuses_a_person(autojump_clock: trio.testing.MockClock) -> None:
    """All messages of a call count for the bound, and none is added when they pass it."""
    async with open_store_runtime(MemoryStore(clock=trio_time), max_session_bytes=1_000) as sessions:
        await sessions.get_or_create("web", "a")
        with pytest.raises(SessionFullError):
            await sessions.add_messages("web_a", [said("x" * 400), said("y" * 400)])
        assert await texts(sessions, "web_a") == []
        await sessions.add_messages("web_a", [said("x" * 400), said("y" * 400, "assistant")])
        with pytest.raises(SessionFullError):
            await sessions.add_message("web_a", said("z" * 100))
        await sessions.pop_messages("web_a", 2)
        await sessions.add_message("web_a", said("z" * 100))


async def test_deleted_session_is_restored(autojump_clock: trio.testing.MockClock) -> None:
    """A deletion moves to the trash by the policy; restore takes an entry or a session; the history names both."""
    store = MemoryStore(clock=trio_time)
    async with open_store_runtime(store, policy=RetentionPolicy(trash_for=WEEK), cleanup=None) as sessions:
        await sessions.get_or_create("web", "a")
        held = await sessions.add_message("web_a", said("one"))
        gone = await sessions.delete("web_a")
        assert await sessions.read("web_a") is None
        (entry,) = [entry async for entry in sessions.trash()]
        assert (entry.entry_id, entry.session_id, entry.reason, entry.by) == (
            gone.entry_id,
            "web_a",
            "deleted",
            "program",
        )
        assert entry.expires_at - entry.removed_at == WEEK
        assert await sessions.restore("web_a") == "web_a"
        assert await texts(sessions, "web_a") == ["one"]
        again = await sessions.get("web_a")
        assert again is not held  # an object from before a deletion is no session any more
        gone = await sessions.delete("web_a")
        await sessions.get_or_create("web", "a")
        with pytest.raises(SessionExistsError) as raised:
            await sessions.restore(gone.entry_id)
        assert raised.value.session_id == "web_a"
        with pytest.raises(TrashEntryNotFoundError, match="nothing in the trash is called 'none'"):
            await sessions.restore("none")
        events = [(event.event, [each.session_id for each in event.sessions]) async for event in sessions.history()]
        assert events == [("deleted", ["web_a"]), ("restored", ["web_a"]), ("deleted", ["web_a"])]


async def test_erased_session_leaves_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """An erasure deletes the session and its entries in the trash, also without a session."""
    store = MemoryStore(clock=trio_time)
    async with open_store_runtime(store, policy=RetentionPolicy(trash_for=WEEK), cleanup=None) as sessions:
        for _ in range(2):
            await sessions.get_or_create("web", "a")
            await sessions.add_message("web_a", said("one"))
            await sessions.delete("web_a")
        await sessions.get_or_create("web", "a")
        assert (await sessions.delete("web_a", erase=True)).bytes_freed > 0
        assert [entry async for entry in sessions.trash()] == []
        assert await sessions.read("web_a") is None
        assert (await anext(sessions.history())).event == "erased"
        with pytest.raises(SessionNotFoundError):
            await sessions.delete("web_a", erase=True)


async def test_program_is_asked_before_a_deletion_and_told_after_it(autojump_clock: trio.testing.MockClock) -> None:
    """`before_remove` can read the whole session and keep it; `after_remove` has what was removed."""
    store, kept, told = MemoryStore(clock=trio_time), [], []

    async def before(candidate: RemovalCandidate, load: LoadSession) -> Keep | Remove:
        session = await load()
        kept.append([message.content for message in session.messages])
        return Keep("archive first") if len(kept) == 1 else Remove()

    async def after(removed: RemovedSession) -> None:
        told.append(removed.session_id)

    hooks = Hooks(before_remove=before, after_remove=after)
    async with open_store_runtime(store, hooks=hooks) as sessions:
        await sessions.get_or_create("web", "a")
        await sessions.add_message("web_a", said("one"))
        with pytest.raises(SessionKeptError, match="archive first"):
            await sessions.delete("web_a")
        assert await texts(sessions, "web_a") == ["one"]
        await sessions.delete("web_a")
        assert kept == [["one"], ["one"]]
    assert told == ["web_a"]


async def test_every_call_after_the_end_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    """From the end of the block on, calls raise RuntimeClosedError, and the leases are free for another program."""
    store = MemoryStore(clock=trio_time)
    async with open_store_runtime(store) as sessions:
        await sessions.get_or_create("web", "a")
        listed = sessions.list()
    for call in (
        sessions.get_or_create("web", "a"), sessions.get("web_a"), sessions.read("web_a"), sessions.durable("web_a"),
        sessions.add_message("web_a", said("x")), sessions.set_pinned("web_a", True), sessions.delete("web_a"),
        sessions.restore("web_a"), sessions.plan(), sessions.clean_up(), anext(listed),
    ):  # fmt: skip
        with pytest.raises(RuntimeClosedError):
            await call
    await store.beside("other").acquire("web_a", WEEK)


@pytest.mark.parametrize("rule", ["max_disk_bytes", "min_free_disk"])
async def test_rule_for_files_is_refused(rule: str) -> None:
    """A rule that a store cannot keep is an error at the start, which names it."""
    with pytest.raises(PolicyError, match=rule):
        async with open_store_runtime(MemoryStore(), policy=RetentionPolicy(**{rule: 1_000_000})):  # type: ignore[arg-type]
            pass
