"""The programs of the page for embedders, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.samples import said_in

PAGE = Path(__file__).parents[3] / "docs" / "embedding.md"


def program(name: str) -> Any:
    """Return the code of an example in the page."""
    found = re.search(rf"<!-- {name} example -->\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return compile(found[1], PAGE.name, "exec")


async def test_first_program_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A newcomer's program, copied from the page, keeps a conversation."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    exec(program("runtime"), namespace)  # noqa: S102 - our own example
    await namespace["main"]()
    said = [("user", "Good morning"), ("assistant", "Good morning, Anna")]
    assert said_in(tmp_path / "sessions", "web_anna") == said
    assert "{'title': 'Greetings'}" in capsys.readouterr().out


def test_first_program_without_trio_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same for a program that knows no trio."""
    monkeypatch.chdir(tmp_path)
    exec(program("blocking"), {})  # noqa: S102 - our own example
    assert capsys.readouterr().out == "web_anna\n"
    assert said_in(tmp_path / "sessions", "web_anna") == []
