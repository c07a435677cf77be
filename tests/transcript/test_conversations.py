"""The written conversations are those that people have: each frame, each answer, and each file."""

from __future__ import annotations

from pathlib import Path

from tests.transcript.__main__ import CONVERSATIONS
from tests.transcript.conversations import HEAD, open_house, tell


async def test_conversations_with_a_kill_in_their_middle_are_as_they_are_written(tmp_path: Path) -> None:
    """On every channel what was confirmed is there once and what was cut off is answered; `nox -s transcript` writes it."""
    async with open_house(tmp_path / "home") as house:
        await tell(house)
    assert "\n".join([HEAD, *house.page]) == CONVERSATIONS.read_text(encoding="utf-8")
