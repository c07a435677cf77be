"""The conformance suite: a sound store passes it, and each of many broken ones fails the check for its bug."""

from __future__ import annotations

from datetime import timedelta

import pytest

from miniclaw.stores.memory import MemoryStore
from miniclaw.testing import StoreCheckError, check_store, store_checks
from tests.fakes.broken_stores import BROKEN, Hangs
from tests.fakes.stores import StoreClock, opening


async def test_memory_store_passes_every_check() -> None:
    """The report names every check with its promise, and none has a problem."""
    clock = StoreClock()
    report = await check_store(opening(clock), pass_time=clock.move, many=2_000)
    assert {result.name: result.promise for result in report.results} == store_checks()
    assert not report.failures
    assert f"{len(report.results)} of {len(report.results)} checks passed" in str(report)


async def test_memory_store_passes_on_a_real_clock() -> None:
    """Without a clock that can be moved, the checks wait; bounds of time hold all the same."""
    names = ["lease_that_ended_is_free", "audit_log_has_each_event_once", "restored_session_is_whole"]

    def make(*, owner: str, clock: object) -> MemoryStore:
        return MemoryStore(owner=owner)

    report = await check_store(opening(StoreClock(), make), only=names)
    assert sorted(result.name for result in report.results) == sorted(names)


@pytest.mark.parametrize(("broken", "checks"), BROKEN.items(), ids=[each.__name__ for each in BROKEN])
async def test_broken_store_fails_the_checks_for_its_bug(broken: type[MemoryStore], checks: tuple[str, ...]) -> None:
    """Each kind of bug is found by the checks that are about it, and the error names them with their promises."""
    clock = StoreClock()
    with pytest.raises(StoreCheckError) as raised:
        await check_store(opening(clock, broken), pass_time=clock.move, only=checks, many=2_000)
    assert [failure.name for failure in raised.value.report.failures] == sorted(checks, key=[*store_checks()].index)
    for check in checks:
        assert f"{check}\n    promise: {store_checks()[check]}" in str(raised.value)


async def test_store_that_hangs_fails_instead_of_hanging_the_suite() -> None:
    """A check has its patience; the report tells which did not end."""
    clock = StoreClock()
    with pytest.raises(StoreCheckError, match="first_commit_creates") as raised:
        await check_store(
            opening(clock, Hangs), pass_time=clock.move, only=["first_commit_creates"], patience=timedelta(seconds=0.1)
        )
    assert "TooSlowError" in raised.value.report.failures[0].problem


async def test_unknown_check_is_refused() -> None:
    """A misspelt name in `only` must not pass for a store that keeps its promises."""
    with pytest.raises(ValueError, match="only: there is no check 'leases'"):
        await check_store(opening(StoreClock()), only=["leases"])
