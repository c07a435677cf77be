"""The metrics: their names, units, labels and meanings, with values read from the running parts.

Names follow https://prometheus.io/docs/practices/naming/: base units at the end, ``_total`` for counters, times as
timestamps. The values of each label are a closed set, so that neither messages nor the model's answers add a series. An
unknown value is left out, and not reported as 0.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, get_args

import trio
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

from miniclaw.admin.monitoring.disk_cache import Measured
from miniclaw.admin.monitoring.health import Health, Phase
from miniclaw.admin.monitoring.loop_lag import LoopLag
from miniclaw.agent.inbox import Inbox
from miniclaw.agent.stats import TurnStats
from miniclaw.channels.port import Port
from miniclaw.histogram import Histogram
from miniclaw.output_queue import dropped_records
from miniclaw.session.entries import FileTally
from miniclaw.session.manager import SessionManager
from miniclaw.session.runtime import SessionRuntime
from miniclaw.version import VERSION

PREFIX: Final = "miniclaw_"

_UNITS: Final = ("seconds", "bytes")


def session_families(manager: SessionManager) -> Iterator[Metric]:
    """Yield the metrics of the sessions in memory, and of saving them."""
    saves = manager.stats.saves
    yield gauge("sessions_live", "Sessions in memory.", manager.live_sessions())
    yield gauge("sessions_live_bytes", "Memory that the sessions in memory take, approximately.", manager.live_bytes())
    yield gauge("sessions_dirty", "Sessions whose files lack changes.", len(manager.dirty_sessions()))
    yield gauge("journal_segments", "Segments of the journal, of 1 MiB.", manager.store.journal.segments)
    yield counter("session_saves", "Saves of a session that are durable.", saves.saved)
    yield counter("session_save_failures", "Saves of a session that failed.", saves.failed)
    yield gauge(
        "autosave_failing_ticks",
        "Latest consecutive autosaves that have not saved everything.",
        saves.failing_ticks,
    )
    if (age := saves.last_save_age()) is not None:
        yield gauge("last_save_age_seconds", "Seconds since a session was last saved.", age)
    if saves.last_saved_at is not None:
        yield timestamp("last_save_timestamp_seconds", "When a session was last saved.", saves.last_saved_at)
    in_place = saves.misplaced is None
    yield gauge("sessions_dir_in_place", "1 if the sessions directory is where its path leads to, else 0.", in_place)
    is_owned = saves.lost_to is None
    yield gauge("sessions_dir_owned", "1 if this process owns the sessions directory, else 0.", is_owned)


def disk_families(measured: Measured | None) -> Iterator[Metric]:
    """Yield the metrics of the disk usage, as far as it is measured."""
    usage = measured.usage if measured is not None else None
    is_ok = usage is not None and not usage.problems
    yield gauge("disk_scan_ok", "1 if the last listing of the files was complete, else 0.", is_ok)
    if measured is None or usage is None:
        return
    yield gauge("disk_scan_age_seconds", "Age of the last listing of the files.", measured.age_seconds())
    took = measured.duration_seconds
    yield gauge("disk_scan_duration_seconds", "Duration of the last listing of the files.", took)
    yield from _files("session_files", "session_bytes", "Session files on the disk", usage.sessions)
    yield from _files("trash_files", "trash_bytes", "Entries of the trash", usage.trash)
    yield from _files("quarantine_files", "quarantine_bytes", "Files in quarantine", usage.quarantine)
    if usage.free_bytes is not None:
        yield gauge("disk_free_bytes", "Bytes that are free on the disk of the sessions.", usage.free_bytes)


def _files(count_name: str, bytes_name: str, what: str, count: FileTally | None) -> Iterator[Metric]:
    if count is not None:
        yield gauge(count_name, f"{what}, as of the last listing.", count.files)
        yield gauge(bytes_name, f"{what}: their sizes, as of the last listing.", count.bytes)


def cleanup_families(runtime: SessionRuntime) -> Iterator[Metric]:
    """Yield the metrics of the cleanup, of all removals, and of the hooks of an embedding program."""
    stats, service = runtime.manager.stats.cleanups, runtime.cleanup_service
    hooks = runtime.hooks
    failures: dict[str, int] = {"clock": runtime.time.failures, "on_announced": service.failures, **hooks.failures}
    yield counters("hook_failures", "Calls of the embedding program's code that failed, by hook.", "hook", failures)
    yield counter("sessions_kept_by_hook", "Removals that the program's before_remove has stopped.", hooks.kept)
    yield counters("cleanup_runs", "Cleanups that ended, by outcome.", "outcome", stats.runs)
    yield counters("sessions_removed", "Sessions that were removed, by reason.", "reason", stats.removed)
    yield counters("leftovers_removed", "Leftovers that were removed, by kind.", "kind", stats.leftovers)
    yield counter("freed_bytes", "Bytes that all removals have freed.", stats.bytes_freed)
    if stats.last_run_at is not None:
        yield timestamp("cleanup_last_run_timestamp_seconds", "When the last cleanup ended.", stats.last_run_at)
        took = stats.last_duration_seconds
        yield gauge("cleanup_last_run_duration_seconds", "Duration of the last cleanup.", took)
        scanned = stats.last_scanned
        yield gauge("cleanup_last_run_scanned_files", "Session files that the last cleanup scanned.", scanned)
        meaning = "Files that the last cleanup left alone because they are no sessions it can judge, by their kind."
        yield gauges("cleanup_last_run_problem_files", meaning, "kind", stats.problems)
    if service.next_run_at is not None:
        yield timestamp("cleanup_next_run_timestamp_seconds", "When the next cleanup is due.", service.next_run_at)
    yield gauge("sessions_due", "Sessions that expire soon unless they are used, as of the last cleanup.", service.due)
    announced = {"expected": service.announced_in_time, "unexpected": service.announced_late}
    yield counters(
        "sessions_announced", "Sessions that were announced: in time, or after they had expired.", "kind", announced
    )
    yield gauge(
        "cleanup_held", "1 if the guard against mass removal held the last cleanup, else 0.", bool(service.held)
    )
    yield gauge("clock_behind", "1 if the wall clock is behind an earlier reading, else 0.", service.is_behind)


def turn_families(turns: TurnStats, inbox: Inbox) -> Iterator[Metric]:
    """Yield the metrics of the messages and the model."""
    yield gauge("inbox_messages", "Messages that wait to be answered.", inbox.waiting())
    yield gauge("turns_in_flight", "Messages that are being answered.", turns.in_flight)
    meaning = "Messages that were processed, by channel and outcome."
    yield counters("turns", meaning, "channel outcome", turns.turns)
    yield histogram("turn_duration_seconds", "From taking a message to sending its whole answer.", turns.duration)
    first = turns.first_token
    yield histogram("turn_first_token_seconds", "From taking a message to the first piece of its answer.", first)
    yield counters("model_errors", "Requests that the model did not answer, by error.", "kind", turns.model_errors)


def channel_families(ports: Collection[Port]) -> Iterator[Metric]:
    """Yield the metrics of the channels."""
    up = {port.name: port.phase == "running" for port in ports}
    yield gauges("channel_up", "1 if the channel accepts messages, else 0.", "channel", up)
    failures = {(port.name, str(call)): count for port in ports for call, count in port.failures.items()}
    meaning = "Calls of a channel that have failed, by channel and method."
    yield counters("channel_failures", meaning, "channel call", failures)


def loop_families(lag: LoopLag) -> Iterator[Metric]:
    """Yield the metrics of the event loop."""
    yield histogram("event_loop_lag_seconds", "Delay with which the event loop wakes a task.", lag.seconds)
    if (worst := lag.worst_recent()) is not None:
        yield gauge("event_loop_lag_max_seconds", "The longest such delay of the last minute.", worst)


def health_families(health: Health) -> Iterator[Metric]:
    """Yield the metrics of the program as a whole."""
    yield counter(
        "log_records_dropped", "Log records that were dropped because the log was not read.", dropped_records()
    )
    yield gauge("ready", "1 if /readyz says that the gateway is ready, else 0.", not health.reasons())
    phases = {phase: health.phase == phase for phase in get_args(Phase)}
    yield gauges("phase", "1 for the phase that the gateway is in, else 0.", "phase", phases)
    versions = {"version": VERSION, "python": platform.python_version(), "trio": trio.__version__}
    yield InfoMetricFamily(f"{PREFIX}build", "Versions of the running program.", value=versions)


# Constructors -------------------------------------------------------------------------------------------------


def gauge(name: str, meaning: str, value: float) -> Metric:
    """Return a gauge; its unit is read from the end of its name."""
    return GaugeMetricFamily(PREFIX + name, meaning, value=float(value), unit=_unit(name))


def timestamp(name: str, meaning: str, at: datetime) -> Metric:
    """Return a gauge of a time, in seconds since 1970."""
    return gauge(name, meaning, at.timestamp())


def gauges(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    """Return a gauge with a series for each value of a label."""
    family = GaugeMetricFamily(PREFIX + name, meaning, labels=[label], unit=_unit(name))
    for text, value in values.items():
        family.add_metric([text], float(value))
    return family


def counter(name: str, meaning: str, value: float) -> Metric:
    """Return a counter, to whose name ``_total`` is appended."""
    return CounterMetricFamily(PREFIX + name, meaning, value=value, unit=_unit(name))


def counters(name: str, meaning: str, labels: str, values: Mapping[Any, float]) -> Metric:
    """Return a counter with a series for each value of a label, or for each tuple of the values of several labels."""
    family = CounterMetricFamily(PREFIX + name, meaning, labels=labels.split(), unit=_unit(name))
    for texts, value in values.items():
        family.add_metric([texts] if isinstance(texts, str) else list(texts), value)
    return family


def histogram(name: str, meaning: str, values: Histogram) -> Metric:
    """Return a histogram."""
    bounds: Iterable[str] = (*(repr(float(bound)) for bound in values.bounds), "+Inf")
    buckets = list(zip(bounds, values.cumulative(), strict=True))
    return HistogramMetricFamily(PREFIX + name, meaning, buckets=buckets, sum_value=values.sum, unit=_unit(name))


def _unit(name: str) -> str:
    return next((unit for unit in _UNITS if name.endswith(f"_{unit}")), "")
