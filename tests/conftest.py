"""Fixtures for all tests: a log recorder that fails a test on an unexpected ERROR, a wall clock moved by hand."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings
from pyfakefs.fake_filesystem import FakeFilesystem

from miniclaw.session.disk import sync
from tests.fakes.clock import DaysPass, WallClock
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import DEADLINES, PATIENCE_SECONDS

_CLOCKS = frozenset({"mock_clock", "autojump_clock", "jumping_clock", "days_pass"})

# Properties are tried on the same examples each time, and in whatever time they take: a failure is one of the code. Only
# soaking draws new ones.
settings.register_profile(
    "steady",
    derandomize="MINICLAW_SOAK" not in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")

# Signals that are ignored, as under nohup and in a background job of a shell, are so in every program that a test starts.
# A handler is not inherited.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)


# Size, colours and encoding of the output are those of the test, and not of the terminal in which the tests are started;
# servers of the tests are asked without a proxy.
_OF_THE_TERMINAL = (
    "COLUMNS",
    "LINES",
    "FORCE_COLOR",
    "NO_COLOR",
    "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
    "PYTHONIOENCODING",
)
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
for _name in (*_OF_THE_TERMINAL, *_PROXIES):
    os.environ.pop(_name, None)


@pytest.fixture(autouse=True)
def logs() -> Iterator[LogRecorder]:
    """Record all log events; an ERROR that the test did not expect by name fails it."""
    recorder = LogRecorder()
    structlog.configure(processors=[recorder], cache_logger_on_first_use=False)
    yield recorder
    structlog.reset_defaults()
    recorder.check()


@pytest.fixture(autouse=True)
def nothing_logged_of_file_systems() -> None:
    """Make each test the first one of its process that meets the shortcomings of a file system."""
    sync._logged.clear()  # not by monkeypatch, which would be undone last then, whatever a test does with it


@pytest.fixture(autouse=True)
def patient_program(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give the program the patience of a test, in this process, where no clock of the test's own says the time."""
    with pytest.MonkeyPatch.context() as patched:  # the fixture would be undone last then, whatever a test does with it
        if _CLOCKS.isdisjoint(request.fixturenames):
            for module, name in DEADLINES:
                if module in sys.modules:
                    patched.setattr(sys.modules[module], name, PATIENCE_SECONDS)
        yield


@pytest.fixture
def clock() -> WallClock:
    """A wall clock that stands still until it is moved."""
    return WallClock(datetime(2026, 11, 23, 12, 0, tzinfo=UTC))


@pytest.fixture
def days_pass(clock: WallClock) -> DaysPass:
    """Lets time pass on both clocks; trio's clock of the test where it is a parameter of the test itself."""
    return DaysPass(clock)


@pytest.fixture
def sessions_dir(tmp_path: Path) -> Path:
    """Where a test's sessions lie; not made yet."""
    return tmp_path / "workspace" / "sessions"


@pytest.fixture
def no_garbage() -> None:
    """Collect what earlier tests have left: on fake files, a pipe that is closed late has a number of nobody's."""
    gc.collect()


@pytest.fixture
def fs(no_garbage: None, fs: FakeFilesystem) -> FakeFilesystem:
    """Return the fake files of pyfakefs."""
    return fs
