"""``/metrics``: the state of the gateway for Prometheus, read at each scrape.

A scrape delays no other work. The numbers are read in one synchronous step on the trio thread, the text is encoded in a
worker thread, and concurrent scrapes share it. The disk usage is measured in the background
(`miniclaw.admin.monitoring.disk_cache`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

import trio
from msgspec import Struct
from prometheus_client.core import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_open_metrics
from prometheus_client.process_collector import ProcessCollector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from miniclaw.admin.monitoring import metric_families
from miniclaw.admin.monitoring.disk_cache import DiskCache
from miniclaw.admin.monitoring.health import Health
from miniclaw.admin.monitoring.loop_lag import LoopLag
from miniclaw.agent.inbox import Inbox
from miniclaw.agent.stats import TurnStats

PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_WRITERS: Final[dict[str, Callable[[CollectorRegistry], bytes]]] = {
    PLAIN: generate_latest,
    OPEN_METRICS: generate_open_metrics,
}


class Metrics:
    """The metrics of a gateway, as a text for Prometheus."""

    def __init__(self, health: Health, turns: TurnStats, inbox: Inbox) -> None:
        self.health = health
        self.turns = turns
        self.inbox = inbox
        self.lag: LoopLag = LoopLag()
        self.disk: DiskCache = DiskCache(health.runtime.usage.measure)
        self._limiter = trio.CapacityLimiter(1)
        self._process = ProcessCollector(registry=None)
        # Changed on the trio thread only. `_asked` counts the scrapes; a text answers all scrapes that were counted
        # before its numbers were read.
        self._lock = trio.Lock()
        self._asked = 0
        self._texts: dict[str, _Text] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Measure the event-loop lag, and the disk usage when a scrape requests it, until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.lag.run)
            await nursery.start(self.disk.run)
            task_status.started()

    async def text(self, content_type: str = PLAIN) -> bytes:
        """Return the metrics as a text; all numbers but the disk usage are read after this call began.

        Cancellation: a text in progress in a worker thread is completed first, which takes milliseconds.
        """
        self._asked += 1
        mine = self._asked
        await self.disk.current()
        async with self._lock:
            last = self._texts.get(content_type)
            if last is None or last.answers < mine:
                answers = self._asked
                families = list(self._families())
                write = partial(self._write, content_type, families)
                last = _Text(answers, await trio.to_thread.run_sync(write, limiter=self._limiter))
                self._texts[content_type] = last
            return last.text

    def _families(self) -> Iterator[Metric]:
        runtime = self.health.runtime
        yield from metric_families.health_families(self.health)
        yield from metric_families.session_families(runtime.manager)
        yield from metric_families.disk_families(self.disk.last)
        yield from metric_families.cleanup_families(runtime)
        yield from metric_families.turn_families(self.turns, self.inbox)
        yield from metric_families.channel_families(self.health.ports)
        yield from metric_families.loop_families(self.lag)

    def _write(self, content_type: str, families: list[Metric]) -> bytes:
        registry = CollectorRegistry()
        registry.register(_Families(families))
        registry.register(self._process)
        return _WRITERS[content_type](registry)


class _Text(Struct, frozen=True):
    answers: int
    text: bytes


class _Families:
    """A `prometheus_client.registry.Collector` of families that were gathered before."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def metrics_routes(metrics: Metrics) -> list[BaseRoute]:
    """Return the route ``/metrics``."""

    async def scrape(request: Request) -> Response:
        content_type = negotiate(request.headers.get("accept", ""))
        text = await metrics.text(content_type)
        return Response(text, headers={"content-type": content_type, "cache-control": "no-store", "vary": "accept"})

    return [Route("/metrics", scrape, methods=["GET"])]


def negotiate(accept: str) -> str:
    """Return the content type for an ``Accept`` header: OpenMetrics if its weight is at least that of plain text.

    In all other cases it is plain text, also for a malformed header: its sender reads plain text, or nothing.
    """
    weights = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for entry in accept.split(","):
        media, *parameters = (part.strip().lower() for part in entry.split(";"))
        if media in weights:
            weights[media] = max(weights[media], _weight(parameters))
    wanted = weights["application/openmetrics-text"]
    return OPEN_METRICS if wanted > 0 and wanted >= weights["text/plain"] else PLAIN


def _weight(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
