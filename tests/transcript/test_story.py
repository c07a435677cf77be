"""The written day is the one that the program has: each of its commands still runs, and none is missing."""

from __future__ import annotations

from pathlib import Path

from tests.transcript.__main__ import PAGE
from tests.transcript.story import Story, furnish, tell


def test_administrators_day_is_as_it_is_written(tmp_path: Path) -> None:
    """Each command of the page runs with the exit code that it tells, in that order; `nox -s transcript` writes it."""
    home = tmp_path / "home"
    furnish(home)
    story = Story(home)
    tell(story)
    assert _commands("\n".join(story.page)) == _commands(PAGE.read_text())


def _commands(page: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith(("$ ", "(exit code"))]
