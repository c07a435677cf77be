from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.clock import WallClock
from tests.faults.interleaving_explorer import Explorer


@pytest.fixture
def explorer(sessions_dir: Path, clock: WallClock, monkeypatch: pytest.MonkeyPatch) -> Explorer:
    return Explorer(sessions_dir, clock, monkeypatch)
