"""A program with hooks, in a workspace with a session to remove."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.clock import WallClock
from tests.session.hooks.ways import Program


@pytest.fixture
def program(sessions_dir: Path, clock: WallClock) -> Program:
    return Program(sessions_dir, clock)
