"""``docs/api.md`` has every endpoint, with an example that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from miniclaw.admin.api import ENDPOINTS

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_page_has_every_endpoint(endpoint: object) -> None:
    """What can be asked for is described."""
    path = endpoint.path.replace("{session_id}", "{id}")  # type: ignore[attr-defined]
    assert f"`{endpoint.method} {path}`" in PAGE  # type: ignore[attr-defined]


def test_page_has_no_other_endpoint() -> None:
    """What is described can be asked for."""
    known = {f"{endpoint.method} {endpoint.path.replace('{session_id}', '{id}')}" for endpoint in ENDPOINTS}
    assert set(re.findall(r"`((?:GET|PUT|POST|DELETE) /[^`?]*)`", PAGE)) == known


def test_page_has_an_example_of_each_path() -> None:
    """Each path is asked for in an example."""
    asked = re.findall(r"\$api(/[^\s\"?]*)", PAGE)
    for endpoint in ENDPOINTS:
        pattern = re.sub(r"\\{\w+\\}", r"[^/]+", re.escape(endpoint.path))
        assert any(re.fullmatch(pattern, path) for path in asked), endpoint.path
