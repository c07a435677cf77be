"""Which sessions leave memory."""

from __future__ import annotations

from datetime import UTC, datetime

from miniclaw.session.format.footprint import session_bytes
from miniclaw.session.live.entry import Entry
from miniclaw.session.live.memory import SessionMemory
from miniclaw.session.types import Message, Session

NOW = datetime(2026, 11, 23, tzinfo=UTC)
PLENTY = 1_000_000_000


def new_entry(chat_id: str, *, saved: bool, chars: int = 0) -> Entry:
    messages = [Message("user", "x" * chars, NOW)]
    return Entry(Session(f"telegram_{chat_id}", "telegram", chat_id, NOW, NOW, messages), saved=saved)


def add(memory: SessionMemory, chat_id: str, *, saved: bool, chars: int = 0) -> Entry:
    entry = new_entry(chat_id, saved=saved, chars=chars)
    memory.add(entry)
    return entry


def live_bytes(memory: SessionMemory) -> int:
    return sum(session_bytes(entry.session) for entry in memory._live.values())


def test_evict_keeps_what_is_unsaved_or_in_use() -> None:
    """However full memory is, what only memory has and what somebody works on stays; the others leave."""
    memory = SessionMemory(1, PLENTY)
    unsaved = add(memory, "unsaved", saved=False)
    used = add(memory, "used", saved=True)
    used.users = 1
    add(memory, "clean", saved=True)
    add(memory, "newest", saved=True)
    memory.evict()
    assert memory.find(unsaved.session_id) is unsaved
    assert unsaved.dirty
    assert memory.find(used.session_id) is used
    assert "telegram_clean" not in memory


def test_evict_keeps_what_is_being_deleted_out_of_reach() -> None:
    """A session that is leaving stays where nobody can have it, also while it is held; back again, it is the same one."""
    memory = SessionMemory(1, PLENTY)
    leaving = add(memory, "leaving", saved=True)
    held = leaving.session
    memory.set_aside(leaving.session_id)
    add(memory, "newest", saved=True)
    memory.evict()
    assert memory.find(leaving.session_id) is None
    leaving.leaving = False
    assert memory.find(leaving.session_id) is leaving
    assert leaving.session is held


def test_evict_lets_go_only_what_is_too_much() -> None:
    """The least recently used go first, down to the bound."""
    memory = SessionMemory(2, PLENTY)
    first, *_ = [add(memory, str(number), saved=True) for number in range(3)]
    memory.used(first)
    memory.evict()
    assert "telegram_0" in memory
    assert "telegram_1" not in memory
    assert len(memory) == 2


def test_evict_lets_go_what_is_too_many_bytes() -> None:
    """Few sessions leave as well if they are large: the least recently used first, down to the bound and no further."""
    memory = SessionMemory(100, 100_000)
    for number in range(4):
        add(memory, str(number), saved=True, chars=40_000)
    memory.evict()
    assert [*memory._live] == ["telegram_2", "telegram_3"]
    assert memory.bytes == live_bytes(memory) <= 100_000


def test_evict_by_bytes_keeps_what_is_unsaved_or_in_use_and_the_last_one() -> None:
    """No bound takes what only memory has, what somebody works on, or the session that was used last."""
    memory = SessionMemory(100, 1)
    add(memory, "unsaved", saved=False)
    add(memory, "used", saved=True).users = 1
    add(memory, "clean", saved=True)
    add(memory, "last", saved=True, chars=1_000_000)
    memory.evict()
    assert [*memory._live] == ["telegram_unsaved", "telegram_used", "telegram_last"]


def test_evict_of_one_session_over_the_bound_keeps_it_until_another_is_used() -> None:
    """A session that is larger than all may be is not loaded anew for each message, and leaves once others are used."""
    memory = SessionMemory(100, 100_000)
    large = add(memory, "large", saved=True, chars=1_000_000)
    memory.evict()
    assert memory.find("telegram_large") is large
    add(memory, "other", saved=True)
    memory.evict()
    assert [*memory._live] == ["telegram_other"]


def test_bytes_follow_what_is_live() -> None:
    """What is added, grows, leaves, comes back and is forgotten is counted each time, so that nothing adds up."""
    memory = SessionMemory(1, PLENTY)
    held = add(memory, "held", saved=True, chars=1_000)
    memory.append(held, Message("user", "y" * 5_000, NOW), 5_000)
    assert memory.bytes == live_bytes(memory) > 6_000
    add(memory, "other", saved=True, chars=100)
    memory.evict()
    assert memory.bytes == live_bytes(memory) < 5_000
    found = memory.find("telegram_held")
    assert found is not None
    assert found.session is held.session
    assert memory.bytes == live_bytes(memory) > 6_000
    memory.add(found)
    assert memory.bytes == live_bytes(memory)
    memory.forget("telegram_held")
    memory.forget("telegram_other")
    memory.forget("telegram_unknown")
    assert memory.bytes == 0


def test_add_tells_of_each_session_over_the_number_and_once_of_the_bytes() -> None:
    """A save is called for with every session too many; for the bytes when they run over, or one large session would
    be written with each message."""
    by_number = SessionMemory(1, PLENTY)
    assert [by_number.add(new_entry(str(number), saved=False)) for number in range(3)] == [False, True, True]
    by_bytes = SessionMemory(100, 100_000)
    entries = [new_entry(str(number), saved=False, chars=40_000) for number in range(4)]
    assert [by_bytes.add(entry) for entry in entries] == [False, False, True, False]


def test_append_tells_once_that_the_bytes_have_run_over() -> None:
    """Messages alone can make a memory too full, and it is said once, when they do."""
    memory = SessionMemory(100, 100_000)
    entry = add(memory, "1", saved=False)
    told = [memory.append(entry, Message("user", "x" * 30_000, NOW), 30_000) for _ in range(5)]
    assert told == [False, False, False, True, False]
