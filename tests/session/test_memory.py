"""Which sessions leave memory."""

from __future__ import annotations

from datetime import UTC, datetime

from miniclaw.session.memory import Entry, SessionMemory
from miniclaw.session.types import Session

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def add(memory: SessionMemory, chat_id: str, *, saved: bool) -> Entry:
    entry = Entry(Session(f"telegram_{chat_id}", "telegram", chat_id, NOW, NOW), saved=saved)
    memory.add(entry)
    return entry


def test_evict_keeps_what_is_unsaved_or_in_use() -> None:
    """However full memory is, what only memory has and what somebody works on stays; the others leave."""
    memory = SessionMemory(1)
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


def test_evict_lets_go_only_what_is_too_much() -> None:
    """The least recently used go first, down to the bound."""
    memory = SessionMemory(2)
    first, *_ = [add(memory, str(number), saved=True) for number in range(3)]
    memory.used(first)
    memory.evict()
    assert "telegram_0" in memory
    assert "telegram_1" not in memory
    assert len(memory) == 2
