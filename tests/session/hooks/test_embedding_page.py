"""The page for embedding programs: its example of a hook runs."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.samples import write_session


async def test_example_archives_a_session_before_it_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program in docs/embedding.md works as it stands."""
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[3] / "docs" / "embedding.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"<!-- hooks example -->\n```python\n(.*?)```", page, re.DOTALL)
    file = write_session(tmp_path / "sessions", "web_anna", datetime.now(UTC) - timedelta(days=31))
    namespace: dict[str, Any] = {}
    exec(compile(code, "embedding.md", "exec"), namespace)  # noqa: S102 - our own example
    await namespace["main"]()
    (line,) = (tmp_path / "archive.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["messages"][0]["content"] == "hello from anna"
    assert not file.exists()
