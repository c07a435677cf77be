"""What a process has, as the system says it, and whether that stays as it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

MB: Final = 1_000_000

_GROWTH: Final = 0.05
_GROWTH_BYTES: Final = 2 * MB
_GROWTH_THREADS: Final = 2
_GROWTH_DESCRIPTORS: Final = 5


@dataclass(frozen=True)
class Sample:
    """A process at one moment; memory in bytes."""

    at: float
    rss: int
    pss: int
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Trend:
    """A figure in the second quarter of a run and in the last, and what it may be there at the most, inclusive."""

    name: str
    unit: str
    second: float
    last: float
    most: float

    @property
    def is_flat(self) -> bool:
        return self.last <= self.most


def take_sample(pid: int, at: float) -> Sample:
    """Measure a process."""
    proc = Path(f"/proc/{pid}")
    memory = _numbers((proc / "smaps_rollup").read_text().splitlines()[1:])
    status = _numbers((proc / "status").read_text().splitlines())
    descriptors = len(os.listdir(proc / "fd"))
    return Sample(at, memory["Rss"] * 1024, memory["Pss"] * 1024, descriptors, status["Threads"])


def _numbers(lines: Sequence[str]) -> dict[str, int]:
    words = (line.split() for line in lines)
    return {name.rstrip(":"): int(rest[0]) for name, *rest in words if rest and rest[0].isdigit()}


def trends(samples: Sequence[Sample]) -> Iterator[Trend]:
    """Compare the medians of the last quarter with those of the second one; the first is for warming up."""
    quarter = len(samples) // 4
    figures: tuple[tuple[str, str, Callable[[Sample], float], Callable[[float], float]], ...] = (
        ("RSS", "MB", lambda sample: sample.rss / MB, _memory_limit),
        ("PSS", "MB", lambda sample: sample.pss / MB, _memory_limit),
        ("descriptors", "", lambda sample: sample.descriptors, lambda before: before + _GROWTH_DESCRIPTORS),
        ("threads", "", lambda sample: sample.threads, lambda before: before + _GROWTH_THREADS),
    )
    for name, unit, figure, limit in figures:
        second = median(map(figure, samples[quarter : 2 * quarter]))
        last = median(map(figure, samples[-quarter:]))
        yield Trend(name, unit, second, last, limit(second))


def _memory_limit(before: float) -> float:
    return before * (1 + _GROWTH) + _GROWTH_BYTES / MB


class Scraped:
    """What /metrics said, last and at worst."""

    def __init__(self) -> None:
        self.scrapes = 0
        self.worst_lag = 0.0  # seconds, as of the gateway's own gauge
        self.values: dict[str, float] = {}

    def take(self, text: str) -> None:
        """Take note of a scrape."""
        self.scrapes += 1
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                self.values[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        self.worst_lag = max(self.worst_lag, self.values.get("miniclaw_event_loop_lag_max_seconds", 0))

    def quantile(self, name: str, part: float) -> float:
        """Return the upper bound of the bucket of a histogram in which a quantile lies."""
        prefix = f"{name}_bucket{{le="
        buckets = sorted(
            (float(key.removeprefix(prefix).rstrip("}")), count)
            for key, count in self.values.items()
            if key.startswith(prefix)
        )
        total = buckets[-1][1] if buckets else 0
        return next((bound for bound, count in buckets if count >= part * total), float("inf"))
