"""Fixtures for the tests of the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.program import Program


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The program, with a home that is not made yet."""
    return Program(tmp_path / "home")
