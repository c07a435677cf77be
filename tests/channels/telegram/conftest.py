"""Fixtures for the tests of Telegram."""

from __future__ import annotations

import pytest

from miniclaw.channels.telegram import channel, opening
from tests.fakes.patience import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the last report wait for the Bot API of a test, which is on the same busy machine."""
    for module in (channel, opening):
        monkeypatch.setattr(module, "CLOSING_SECONDS", PATIENCE_SECONDS)
