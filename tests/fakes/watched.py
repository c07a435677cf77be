"""A gateway's inner parts under the eyes of health and metrics, and a real server that answers for them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio import serve as serve_http
from hypercorn.typing import ASGIFramework
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_plain
from starlette.applications import Starlette

from miniclaw.admin.monitoring.health import Health, health_routes
from miniclaw.admin.monitoring.live_status import LiveStatus, live_status
from miniclaw.admin.monitoring.metrics import OPEN_METRICS, PLAIN, Metrics, metrics_routes
from miniclaw.agent.inbox import Inbox
from miniclaw.agent.loop import AgentLoop
from miniclaw.agent.models import EchoModel, Model
from miniclaw.channels.base import Channel
from miniclaw.session.manager import SessionManager
from miniclaw.session.runtime import SessionRuntime, open_runtime
from tests.fakes.agent import MailboxChannel
from tests.fakes.clock import WallClock
from tests.fakes.os_calls import FaultyOs
from tests.fakes.threads import until

Families = dict[str, Metric]


class Watched:
    """The parts of a gateway that are watched."""

    def __init__(
        self, runtime: SessionRuntime, model: Model, channels: Mapping[str, Channel], clock: WallClock
    ) -> None:
        self.runtime = runtime
        self.clock = clock
        self.model = model
        self.inbox = Inbox()
        self.loop = AgentLoop(runtime.manager, model, channels)
        self.health = Health(runtime, self.loop.ports.values())
        self.metrics = Metrics(self.health, self.loop.stats, self.inbox)
        self.app = Starlette(routes=[*health_routes(self.health), *metrics_routes(self.metrics)])

    @property
    def manager(self) -> SessionManager:
        return self.runtime.manager

    async def scrape(self, content_type: str = PLAIN) -> Families:
        """Return what a scrape says, by the names of the families."""
        return parse((await self.metrics.text(content_type)).decode(), content_type)

    async def value(self, name: str, **labels: str) -> float | None:
        """Return one value of a scrape; None where it is not there."""
        return value_of(await self.scrape(), name, **labels)

    async def first_cleanup(self) -> None:
        """Wait for the cleanup that the service does at the start."""
        await until(lambda: self.runtime.cleanup_service.runs > 0)

    def status(self) -> LiveStatus:
        return live_status(self.metrics, model=self.model.name, addresses=["http://127.0.0.1:8765"])


@asynccontextmanager
async def open_watched(
    sessions_dir: Path,
    clock: WallClock,
    *,
    fs: FaultyOs | None = None,
    model: Model | None = None,
    channels: Sequence[str] = ("web",),
    **options: Any,
) -> AsyncIterator[Watched]:
    """Open the parts, watched, and in the phase of running.

    Args:
        options: Of `open_runtime`. No cleanup runs by itself unless they say so.
    """
    options.setdefault("cleanup_interval_seconds", None)
    async with open_runtime(sessions_dir, clock=clock, fs=fs, **options) as runtime, trio.open_nursery() as nursery:
        mailboxes = {name: MailboxChannel(name) for name in channels}
        watched = Watched(runtime, model or EchoModel(), mailboxes, clock)
        await nursery.start(watched.metrics.run)
        watched.health.phase = "running"
        yield watched
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def served(watched: Watched, app: Any = None) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve health and metrics on a real socket, or another application, and give a client."""
    config = HypercornConfig()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = logging.getLogger("tests.hypercorn")
    done = trio.Event()
    served_app: ASGIFramework = app or watched.app  # type: ignore[assignment]  # Starlette's types are its own
    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(partial(serve_http, served_app, config, shutdown_trigger=done.wait))
        async with httpx2.AsyncClient(base_url=address, trust_env=False) as client:
            yield client
        done.set()


def parse(text: str, content_type: str = PLAIN) -> Families:
    """Return the families of a text; each comes once."""
    parser = parse_open_metrics if content_type == OPEN_METRICS else parse_plain
    found: Families = {}
    for family in parser(text):
        assert family.name not in found, f"{family.name} comes twice"
        found[family.name] = family
    return found


def value_of(families: Families, name: str, **labels: str) -> float | None:
    """Return the value of a sample; None where it is not there."""
    for family in families.values():
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None
