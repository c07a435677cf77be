"""Fixtures for the tests of the agent."""

from __future__ import annotations

import pytest

from miniclaw.agent import loop, turn
from tests.fakes.patience import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the end of a turn and of the loop wait for a disk that a busy machine makes slow, as a test does."""
    for module in (loop, turn):
        monkeypatch.setattr(module, "RECORDING_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(loop, "SETTLING_SECONDS", PATIENCE_SECONDS)
