"""The rules of a runtime, and how the arguments of `open_runtime` give them."""

from __future__ import annotations

from datetime import time, timedelta
from pathlib import Path
from reprlib import repr as short
from typing import Final, TypedDict

from msgspec import Struct, field

from miniclaw.clock import Clock, Now
from miniclaw.session.calls.arguments import check_bool, check_duration, check_type
from miniclaw.session.disk.syscalls import OsCalls
from miniclaw.session.files.subdirectory import EarlierFolders
from miniclaw.session.format.growth import GROWTH_BYTES, check_bound
from miniclaw.session.hooks.types import AfterRemove, BeforeRemove, OnDue
from miniclaw.session.maintenance.announcements import OnAnnounced
from miniclaw.session.maintenance.wakeup import MAX_INTERVAL_SECONDS, check_interval
from miniclaw.session.persistence import PERSISTENCE_INTERVAL_SECS
from miniclaw.session.retention.policy import DAILY, RetentionPolicy
from miniclaw.session.retention.schedule import CLEANUP_INTERVAL_SECS, Schedule

AUTOSAVE: Final = timedelta(seconds=PERSISTENCE_INTERVAL_SECS)
"""Default time between two saves."""

_MOST: Final = timedelta(seconds=MAX_INTERVAL_SECONDS)


class RuntimeRules(Struct, frozen=True, kw_only=True):
    """All rules of a runtime, with the meanings of the arguments of `open_runtime`.

    Attributes:
        removes: If false, the daily cleanup only announces sessions.
        notice: If true, the daily cleanup deletes only sessions announced by an earlier run.
        persistence_interval_seconds: Time between two saves, positive, at most a hundred years, else a `ValueError`.
        max_session_bytes: Bound on the growth of each session, from 1 to `growth.MOST_GROWTH_BYTES`, likewise.
    """

    policy: RetentionPolicy = field(default_factory=RetentionPolicy)
    schedule: Schedule = field(default_factory=lambda: Schedule(DAILY))
    removes: bool = True
    notice: bool = True
    persistence_interval_seconds: float = PERSISTENCE_INTERVAL_SECS
    max_session_bytes: int = GROWTH_BYTES

    def __post_init__(self) -> None:
        check_interval(self.persistence_interval_seconds, "persistence_interval_seconds")
        check_bound(self.max_session_bytes)


class PlainOptions(TypedDict, total=False):
    """The keyword arguments of `open_runtime` without its hooks, for functions that pass them on."""

    policy: RetentionPolicy | None
    autosave: timedelta
    cleanup: timedelta | time | None
    rules: RuntimeRules | None
    state_dir: Path | str | None
    trash_dir: Path | str | None
    persistence_interval_seconds: float
    cleanup_interval_seconds: float | None
    cleanup_at: time | None
    removes: bool
    announce_first: bool | None
    notice: bool
    on_announced: OnAnnounced | None
    hook_deadline: timedelta
    cleanup_waits: bool
    max_live_sessions: int
    max_live_bytes: int
    max_session_bytes: int
    clock: Clock | Now | None
    earlier: EarlierFolders | None
    fs: OsCalls | None


class PlainStoreOptions(TypedDict, total=False):
    """The options of a runtime over a store without its hooks, with the meanings of `open_store_runtime`."""

    policy: RetentionPolicy | None
    cleanup: timedelta | time | None
    removes: bool
    notice: bool
    hook_deadline: timedelta
    max_session_bytes: int
    max_live_sessions: int
    clock: Clock | Now | None


class HookOptions(TypedDict, total=False):
    """The hooks of a program on trio."""

    on_due: OnDue | None
    before_remove: BeforeRemove | None
    after_remove: AfterRemove | None


class RuntimeOptions(PlainOptions, HookOptions):
    """The keyword arguments of `open_runtime` over a directory."""


class StoreOptions(PlainStoreOptions, HookOptions):
    """The keyword arguments of `open_runtime` over a store."""


def rules_of(
    rules: RuntimeRules | None,
    *,
    policy: RetentionPolicy | None,
    autosave: timedelta,
    cleanup: timedelta | time | None,
    removes: bool,
    notice: bool,
    max_session_bytes: int,
    persistence_interval_seconds: float,
    cleanup_interval_seconds: float | None,
    cleanup_at: time | None,
) -> RuntimeRules:
    """Return the rules that some arguments of `open_runtime` give; the last three are the earlier names.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A duration is not positive, a bound is none, or an argument is given twice, by its earlier name or
            by `rules` as well.
    """
    saves_given, runs_given = autosave != AUTOSAVE, cleanup != DAILY
    earlier_saves = persistence_interval_seconds != PERSISTENCE_INTERVAL_SECS
    earlier_runs = cleanup_at is not None or cleanup_interval_seconds != CLEANUP_INTERVAL_SECS
    check_type("rules", rules, RuntimeRules)
    if rules is not None:
        given = (policy, removes, notice, max_session_bytes) != (None, True, True, GROWTH_BYTES)
        if given or saves_given or runs_given or earlier_saves or earlier_runs:
            raise ValueError(
                "open_runtime: beside `rules`, give no policy, autosave, cleanup, removes, notice or "
                "max_session_bytes, and none of the earlier names"
            )
        return rules
    if policy is not None and not isinstance(policy, RetentionPolicy):
        raise TypeError(f"policy is a RetentionPolicy, not {short(policy)}")
    check_bool("removes", removes)
    check_bool("notice", notice)
    _check_positive("autosave", autosave)
    if cleanup is not None and not isinstance(cleanup, time):
        _check_positive("cleanup", cleanup, "a timedelta, a time of day, or None for no daily cleanup")
    if (saves_given and earlier_saves) or (runs_given and earlier_runs):
        raise ValueError("open_runtime: autosave and cleanup are given without their earlier names")
    interval = cleanup if isinstance(cleanup, timedelta) else None
    if earlier_runs:
        if cleanup_interval_seconds is not None:
            check_interval(cleanup_interval_seconds, "cleanup_interval_seconds")
        interval = None if cleanup_interval_seconds is None else timedelta(seconds=cleanup_interval_seconds)
    return RuntimeRules(
        policy=policy or RetentionPolicy(),
        schedule=Schedule(interval, cleanup if isinstance(cleanup, time) else cleanup_at),
        removes=removes,
        notice=notice,
        persistence_interval_seconds=persistence_interval_seconds if earlier_saves else autosave.total_seconds(),
        max_session_bytes=max_session_bytes,
    )


def _check_positive(name: str, value: object, what: str = "a timedelta") -> None:
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} is {what}, not {short(value)}")
    check_duration(name, value)
    if not timedelta(0) < value <= _MOST:
        raise ValueError(f"{name} is positive and at most a hundred years, not {value}")
