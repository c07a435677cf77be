"""The live status of a gateway, known to its process alone: gathered for `miniclaw status` and the API, and as lines.

The gateway gathers the status and a command prints it; importing this module therefore loads neither trio nor the
server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from miniclaw.formats import format_age, format_remaining, format_size, format_time
from miniclaw.output_queue import dropped_records
from miniclaw.session.types import AwareDatetime
from miniclaw.version import VERSION

if TYPE_CHECKING:
    from miniclaw.admin.monitoring.metrics import Metrics
    from miniclaw.channels.port import Port


class ChannelStatus(Struct, frozen=True):
    """Status of one channel of a running gateway.

    Attributes:
        phase: A `miniclaw.channels.port.ChannelPhase`.
        failures: Number of failures since the start, by method; methods without failures are left out.
        last_failure: A word or a sentence about the last failure to receive; None: there was none.
        starts_again_in_seconds: Seconds until a failed channel is restarted; None: it has not failed.
    """

    name: str
    phase: str
    failures: dict[str, int]
    last_failure: str | None
    starts_again_in_seconds: float | None


class LiveStatus(Struct, frozen=True):
    """Status of a running gateway.

    Attributes:
        now: The time of this status, by the gateway's clock.
        phase: A `miniclaw.admin.monitoring.health.Phase`.
        not_ready: The reasons why the gateway is not ready, in sentences; empty if it is ready.
        last_save_age_seconds: Seconds since the last save; None: there was none.
        turn_p50_seconds: Median duration of an answer; None: there was none.
        turn_p95_seconds: 95th percentile of the duration; None likewise.
        last_turn_seconds: Duration of the last answer; None likewise.
        model_errors: Errors of the model since the start, by kind; kinds without errors are left out.
        loop_lag_max_seconds: Longest delay of the event loop in the last minute; None: not measured.
        next_cleanup_at: The time of the next cleanup; None: no cleanup starts by itself.
        cleanup_runs: Cleanups since the start, by outcome; outcomes without cleanups are left out.
        memory_bytes: Resident memory; None: the system does not report it.
        log_records_dropped: Log records dropped since the start, because the log was not read.
        channels: The channels; empty for an earlier version, which does not report them.
    """

    version: str
    now: AwareDatetime
    started_at: AwareDatetime
    pid: int
    phase: str
    uptime_seconds: float
    not_ready: tuple[str, ...]
    model: str
    addresses: tuple[str, ...]
    sessions_live: int
    sessions_dirty: int
    saved: int
    save_failures: int
    last_save_age_seconds: float | None
    waiting: int
    turns_in_flight: int
    turns_answered: int
    turns_failed: int
    turn_p50_seconds: float | None
    turn_p95_seconds: float | None
    last_turn_seconds: float | None
    model_errors: dict[str, int]
    loop_lag_max_seconds: float | None
    next_cleanup_at: AwareDatetime | None
    cleanup_runs: dict[str, int]
    sessions_removed: int
    bytes_freed: int
    memory_bytes: int | None
    log_records_dropped: int = 0
    channels: tuple[ChannelStatus, ...] = ()


def live_status(metrics: Metrics, *, model: str, addresses: Sequence[str]) -> LiveStatus:
    """Gather the status of the gateway; on the trio thread, in one step."""
    health, turns, runtime = metrics.health, metrics.turns, metrics.health.runtime
    saves, cleanups = runtime.manager.stats.saves, runtime.manager.stats.cleanups
    return LiveStatus(
        version=VERSION,
        now=runtime.time.now(),
        started_at=health.started_at,
        pid=os.getpid(),
        phase=health.phase,
        uptime_seconds=_rounded(health.uptime_seconds) or 0.0,
        not_ready=tuple(reason.detail for reason in health.reasons()),
        model=model,
        addresses=tuple(addresses),
        sessions_live=runtime.manager.live_sessions(),
        sessions_dirty=len(runtime.manager.dirty_sessions()),
        saved=saves.saved,
        save_failures=saves.failed,
        last_save_age_seconds=_rounded(saves.last_save_age()),
        waiting=metrics.inbox.waiting(),
        turns_in_flight=turns.in_flight,
        turns_answered=turns.total("answered"),
        turns_failed=turns.total("failed"),
        turn_p50_seconds=_rounded(turns.duration.quantile(0.5)),
        turn_p95_seconds=_rounded(turns.duration.quantile(0.95)),
        last_turn_seconds=_rounded(turns.last_duration_seconds),
        model_errors=_only_some(turns.model_errors),
        loop_lag_max_seconds=_rounded(metrics.lag.worst_recent()),
        next_cleanup_at=runtime.cleanup_service.next_run_at,
        cleanup_runs=_only_some(cleanups.runs),
        sessions_removed=sum(cleanups.removed.values()),
        bytes_freed=cleanups.bytes_freed,
        memory_bytes=resident_bytes(),
        log_records_dropped=dropped_records(),
        channels=tuple(map(_channel_status, health.ports)),
    )


def _channel_status(port: Port) -> ChannelStatus:
    return ChannelStatus(
        port.name,
        port.phase,
        _only_some({str(call): count for call, count in port.failures.items()}),
        port.last_failure,
        _rounded(port.starts_in_seconds()),
    )


def resident_bytes() -> int | None:
    """Return the resident memory of this process in bytes; None if the system does not report it."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def status_lines(status: LiveStatus) -> Iterator[tuple[str, str]]:
    """Yield the lines for an administrator, each with its label; the texts are not yet escaped for a terminal."""
    ready = "ready" if not status.not_ready else f"NOT READY: {'; '.join(status.not_ready)}"
    yield "gateway", f"{status.phase} for {_duration(status.uptime_seconds)}, process {status.pid}; {ready}"
    if status.addresses:
        yield "served at", ", ".join(status.addresses)
    yield "model", status.model + _errors(status.model_errors)
    for channel in status.channels:
        if channel.phase != "running" or channel.failures:
            yield "channel", _channel(channel)
    yield "in memory", f"{_count(status.sessions_live, 'session')}, {status.sessions_dirty:,} unsaved; {_saves(status)}"
    yield "messages", _messages(status)
    if status.next_cleanup_at is not None:
        left = max(timedelta(0), status.next_cleanup_at - status.now)
        yield "next cleanup", f"{format_time(status.next_cleanup_at)}, in {format_remaining(left)}"
    removed = f"{_count(status.sessions_removed, 'session')}, {format_size(status.bytes_freed)} freed"
    yield "removed", f"{removed} since the start{_listed(status.cleanup_runs, '; runs: ')}"
    yield "process", _process(status)
    if status.log_records_dropped:
        dropped = _count(status.log_records_dropped, "record")
        yield "log", f"{dropped} dropped since the start: it is not read, or cannot be written"


def _channel(channel: ChannelStatus) -> str:
    parts = [f"{channel.name}: {channel.phase.upper() if channel.phase == 'failed' else channel.phase}"]
    if channel.last_failure is not None:
        parts.append(f"last failure: {channel.last_failure}")
    if channel.starts_again_in_seconds is not None:
        parts.append(f"starts again in {_seconds(channel.starts_again_in_seconds)}")
    if channel.failures:
        parts.append(
            f"{_count(sum(channel.failures.values()), 'failure')} since the start ({_listed(channel.failures)})"
        )
    return "; ".join(parts)


def _saves(status: LiveStatus) -> str:
    age = status.last_save_age_seconds
    last = "nothing saved yet" if age is None else f"last save {_duration(age)} ago"
    return f"{last}, {status.save_failures:,} failed since the start" if status.save_failures else last


def _messages(status: LiveStatus) -> str:
    parts = [f"{status.waiting:,} waiting, {status.turns_in_flight:,} being answered"]
    parts.append(f"{status.turns_answered:,} answered, {status.turns_failed:,} failed since the start")
    if status.turn_p50_seconds is not None and status.turn_p95_seconds is not None:
        parts.append(
            f"half within {_seconds(status.turn_p50_seconds)}, 95 % within {_seconds(status.turn_p95_seconds)}"
        )
    return "; ".join(parts)


def _process(status: LiveStatus) -> str:
    memory = "memory not known" if status.memory_bytes is None else f"{format_size(status.memory_bytes)} of memory"
    lag = status.loop_lag_max_seconds
    return memory if lag is None else f"{memory}; event loop late by {_seconds(lag)} at most in the last minute"


def _errors(errors: dict[str, int]) -> str:
    return f"; {_count(sum(errors.values()), 'error')} since the start ({_listed(errors)})" if errors else ""


def _listed(counts: dict[str, int], before: str = "") -> str:
    return before + ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items()) if counts else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _duration(seconds: float) -> str:
    return format_age(timedelta(seconds=seconds))


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _only_some(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
