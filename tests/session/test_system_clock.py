"""The clocks of this machine, and those of macOS, which has other names for them."""

from __future__ import annotations

import builtins
import ctypes
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from miniclaw.clock import SystemClock, machine_boot

UUID = "3F2504E0-4F89-11D3-9A0C-0305E82C3301"


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """The name of the boot is asked for once in a process."""
    machine_boot.cache_clear()
    yield
    machine_boot.cache_clear()


@pytest.fixture
def without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    real = open

    def refuse(path: Any, *args: Any, **named: Any) -> Any:
        if str(path).startswith("/proc"):
            raise FileNotFoundError(path)
        return real(path, *args, **named)

    monkeypatch.setattr(builtins, "open", refuse)


class Darwin:
    """The library of macOS, as far as the name of the boot goes."""

    def __init__(self, answer: int) -> None:
        self._answer = answer

    def sysctlbyname(self, name: bytes, text: Any, size: Any, new: None, length: Any) -> int:
        assert (name, new, length.value) == (b"kern.bootsessionuuid", None, 0)
        text.value = UUID.encode()
        return self._answer


def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have the clocks that are read noted."""
    ids: list[int] = []

    def note(clock_id: int) -> float:
        ids.append(clock_id)
        return 1.0

    monkeypatch.setattr(time, "clock_gettime", note)
    return ids


def test_system_clock_here_goes_on_in_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux there is a clock for it, and the kernel names its boots."""
    clock = SystemClock()
    assert clock.boot_id() == machine_boot() == SystemClock().boot_id() != ""
    ids = asked(monkeypatch)
    clock.boottime()
    assert ids == [time.CLOCK_BOOTTIME]


@pytest.mark.usefixtures("without_proc")
def test_system_clock_of_macos_goes_on_in_sleep_and_names_its_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """The raw monotonic clock goes on in sleep there, and sysctl has the name of the boot session."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Darwin(0))
    clock = SystemClock()
    assert clock.boot_id() == UUID
    ids = asked(monkeypatch)
    clock.boottime()
    assert ids == [time.CLOCK_MONOTONIC_RAW]


@pytest.mark.usefixtures("without_proc")
@pytest.mark.parametrize("library", [lambda _: Darwin(-1), lambda _: object()], ids=["refused", "not there"])
def test_system_clock_where_no_boot_is_named_names_this_run(monkeypatch: pytest.MonkeyPatch, library: Any) -> None:
    """Where the system says nothing, the run of the program stands in, and its time begins with it."""
    monkeypatch.setattr(ctypes, "CDLL", library)
    clock = SystemClock()
    assert machine_boot() == ""
    assert clock.boot_id() not in {"", UUID, SystemClock().boot_id()}
    assert clock.boottime() < 60
