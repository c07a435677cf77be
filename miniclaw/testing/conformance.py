"""The conformance suite of stores: `check_store` runs every check, each over new sessions, and reports the failures.

A check is a function of one of the modules in `miniclaw.testing.store_checks`; its docstring is the promise of
`miniclaw.stores.SessionStore` that it checks. Nothing here needs pytest.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from typing import Final, TypeAlias

import trio
from msgspec import Struct

from miniclaw.stores.protocol import SessionStore
from miniclaw.testing.store_checks import changes, leases, races, records, removal
from miniclaw.testing.store_checks.trial import BrokenPromiseError, PassTime, Trial

OpenStores: TypeAlias = Callable[[Sequence[str]], AbstractAsyncContextManager[Sequence[SessionStore]]]
"""Opens a new, empty set of sessions for a block, with a store over it for each of these owners."""

_MODULES: Final = (leases, changes, removal, records, races)
_OWNERS: Final = ("first", "second")


class CheckResult(Struct, frozen=True):
    """The result of one check.

    Attributes:
        name: Name of the check, for `check_store(only=…)`.
        promise: The sentence that was checked.
        problem: What was found instead; empty: the store keeps the promise.
        error: The exception, for its traceback; None: the store keeps the promise.
    """

    name: str
    promise: str
    problem: str = ""
    error: BaseException | None = None


class StoreReport(Struct, frozen=True):
    """The results of all checks that were run; as text, a line for each."""

    results: tuple[CheckResult, ...]

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """The checks that failed."""
        return tuple(result for result in self.results if result.error is not None)

    def __str__(self) -> str:
        lines = [f"{len(self.results) - len(self.failures)} of {len(self.results)} checks passed"]
        lines += [f"{'FAILED' if each.problem else 'passed'}  {each.name}: {each.promise}" for each in self.results]
        lines += [f"{each.name}: {each.problem}" for each in self.failures]
        return "\n".join(lines)


class StoreCheckError(AssertionError):
    """A store that breaks a promise of `SessionStore`. `report` has all results; the text has the failures."""

    def __init__(self, report: StoreReport) -> None:
        self.report = report
        failures = "".join(
            f"\n  {each.name}\n    promise: {each.promise}\n    {each.problem}" for each in report.failures
        )
        super().__init__(f"{len(report.failures)} of {len(report.results)} checks failed:{failures}")


def store_checks() -> dict[str, str]:
    """Return the names of all checks, each with the promise that it checks."""
    return {check.__name__: _promise_of(check) for check in _checks()}


async def check_store(
    open_stores: OpenStores,
    *,
    pass_time: PassTime | None = None,
    only: Collection[str] = (),
    many: int = 10_000,
    patience: timedelta = timedelta(minutes=5),
) -> StoreReport:
    """Check that a store keeps the promises of `SessionStore`. Call it in any trio program, or in a test.

    Args:
        open_stores: Called once for each check, with the names of two owners.
        pass_time: Moves the clock of the stores on, which otherwise stands still; with it the checks need no real
            time, and check bounds to the microsecond. None: the clock is a real one, and the checks wait some seconds.
        only: Names of the checks to run; empty: all.
        many: Number of sessions for the check of long lists.
        patience: Longest time for one check; a store that does not answer fails it.

    Returns:
        The results, if no check failed.

    Raises:
        StoreCheckError: Some checks failed.
        ValueError: `only` has a name of no check.
    """
    known = store_checks()
    for name in only:
        if name not in known:
            raise ValueError(f"only: there is no check {name!r}; store_checks() has the names")
    unit = timedelta(seconds=1) if pass_time is None else timedelta(hours=1)
    results = []
    for check in _checks():
        if not only or check.__name__ in only:
            make_trial = partial(Trial, unit=unit, pass_time=pass_time, many=many)
            error = await _run(check, open_stores, make_trial, patience)
            problem = "" if error is None else _problem_of(error)
            results.append(CheckResult(check.__name__, _promise_of(check), problem, error))
    report = StoreReport(tuple(results))
    if report.failures:
        raise StoreCheckError(report)
    return report


async def _run(
    check: Callable[[Trial], Awaitable[None]],
    open_stores: OpenStores,
    make_trial: Callable[[Sequence[SessionStore]], Trial],
    patience: timedelta,
) -> BaseException | None:
    """Run one check; return its error."""
    try:
        with trio.fail_after(patience.total_seconds()):
            async with open_stores(_OWNERS) as stores:
                await check(make_trial(stores))
    except Exception as error:  # noqa: BLE001 - the code of a stranger: all that it raises is the result
        return error
    return None


def _checks() -> Iterator[Callable[[Trial], Awaitable[None]]]:
    for module in _MODULES:
        for name, value in vars(module).items():
            if not name.startswith("_") and inspect.iscoroutinefunction(value) and value.__module__ == module.__name__:
                yield value


def _promise_of(check: Callable[..., object]) -> str:
    return " ".join((inspect.getdoc(check) or "").split())


def _problem_of(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, BrokenPromiseError) else f"{type(error).__name__}: {error}"
