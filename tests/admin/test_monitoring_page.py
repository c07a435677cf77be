"""docs/monitoring.md says the truth: about every metric, and only about those that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from prometheus_client.metrics_core import Metric

from miniclaw.admin.monitoring.metrics import PLAIN
from miniclaw.channels.base import InboundMessage
from tests.fakes.clock import WallClock
from tests.fakes.samples import write_session
from tests.fakes.watched import Families, open_watched

PAGE: Final = Path(__file__).parents[2] / "docs" / "monitoring.md"

_ROW: Final = re.compile(r"^\| `((?:miniclaw|process)_[a-z_]+)` \| (\w+) \|([^|]*)\| (.+) \|$", re.MULTILINE)
_LABEL: Final = re.compile(r"`(\w+)`: ([^;]+)")
_OPEN_SETS: Final = ("channel", "version", "python", "trio")
"""Labels whose values depend on the configuration or the installation."""


def table() -> dict[str, tuple[str, dict[str, set[str]]]]:
    """Return the types and the labels of the metrics in the page, by their names."""
    found = {}
    for name, kind, labels, _ in _ROW.findall(PAGE.read_text(encoding="utf-8")):
        assert name not in found, f"{name} has two rows"
        values = {label: set(re.findall(r"\w+", text)) for label, text in _LABEL.findall(labels)}
        found[name] = (kind, values)
    return found


def name_of(family: Metric) -> str:
    """Return the name by which the family is asked for."""
    return f"{family.name}_total" if family.type == "counter" else family.name


async def all_families(sessions_dir: Path, clock: WallClock) -> Families:
    """Return the families of a gateway in which everything has happened once."""
    write_session(sessions_dir, "web_old", clock.ago(days=31))
    async with open_watched(sessions_dir, clock, cleanup_interval_seconds=3600) as watched:
        await watched.loop.handle(InboundMessage("web", "1", "hello"))
        await watched.runtime.persistence.tick()
        await watched.first_cleanup()
        await watched.metrics.lag.measure_once()
        return await watched.scrape(PLAIN)


async def test_page_has_a_row_for_each_metric_and_no_other(sessions_dir: Path, clock: WallClock) -> None:
    """Who adds, renames or drops a metric changes the page."""
    families = await all_families(sessions_dir, clock)
    rows = table()
    assert {name_of(family) for family in families.values()} == set(rows)
    for family in families.values():
        kind, labels = rows[name_of(family)]
        assert family.type == kind, family.name
        found: dict[str, set[str]] = {}
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label != "le":
                    found.setdefault(label, set()).add(value)
        assert set(found) == set(labels), family.name
        for label, values in found.items():
            if label not in _OPEN_SETS:
                assert values == labels[label], f"{family.name}: {label}"


async def test_page_alerts_ask_for_metrics_that_there_are(sessions_dir: Path, clock: WallClock) -> None:
    """A rule over a name that does not exist would never fire."""
    families = await all_families(sessions_dir, clock)
    known = {sample.name for family in families.values() for sample in family.samples}
    rules = re.findall(r"^\s+- alert: \w+\n\s+expr: (.+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rules) >= 8
    for rule in rules:
        names = re.findall(r"(?:miniclaw|process)_[a-z_]+", rule)
        assert names, rule
        assert set(names) <= known, rule
        for label, value in re.findall(r'(\w+)=~?"([^"]+)"', rule):
            if label == "job":
                continue
            there = {str(s.labels.get(label)) for f in families.values() for s in f.samples if s.name in names}
            assert set(value.split("|")) <= there, rule
