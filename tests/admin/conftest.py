"""Fixtures for what watches the gateway."""

from __future__ import annotations

import pytest

from tests.fakes.os_calls import FaultyOs


@pytest.fixture
def fs() -> FaultyOs:
    return FaultyOs()
