"""Fixtures for the tests of the commands.

In a module that says ``BOTH_WAYS = True`` each test runs twice: with the workspace free, and with a gateway that owns it
and is asked over its socket. What the commands say, and what is on the disk then, has to be the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.gateway_thread import GatewayProgram
from tests.fakes.logs import LogRecorder
from tests.fakes.program import Program


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    both_ways = getattr(metafunc.module, "BOTH_WAYS", False)
    if both_ways and "program" in metafunc.fixturenames and not hasattr(metafunc.function, "without_gateway"):
        metafunc.parametrize("program", ["direct", "gateway"], indirect=True)


@pytest.fixture
def program(request: pytest.FixtureRequest, tmp_path: Path, logs: LogRecorder) -> Iterator[Program]:
    """The program, with a home that is not made yet."""
    if getattr(request, "param", "direct") == "direct":
        yield Program(tmp_path / "home")
        return
    yield GatewayProgram(tmp_path / "home")
    logs.events.clear()  # what goes wrong is in the gateway's log, and the command's own tests tell what it says
