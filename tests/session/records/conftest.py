"""Fixtures for the tests of what the services record."""

from __future__ import annotations

from pathlib import Path

import pytest

from miniclaw.session.records.state import StateDirectory
from tests.fakes.folders import state_in


@pytest.fixture
def state(sessions_dir: Path) -> StateDirectory:
    """A state directory that is not made yet."""
    return state_in(sessions_dir)
