"""What `promtool check metrics` would complain about, and a little more; for a text of metrics.

After https://prometheus.io/docs/practices/naming/ and the linter of client_golang.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from miniclaw.admin.monitoring.metrics import OPEN_METRICS
from tests.fakes.watched import parse

_NAME = re.compile(r"[a-z]+(_[a-z0-9]+)*")
_FOREIGN_UNITS = re.compile(
    r"_(milliseconds|microseconds|ms|minutes|hours|days|kilobytes|megabytes|kb|mb|kib|mib|percent)(_|$)"
)
_UNITS = {"seconds", "bytes"}
_RESERVED = ("_count", "_sum", "_bucket", "_created")


def broken_rules(text: str, content_type: str) -> Iterator[str]:
    """Yield what is wrong, in sentences."""
    if not text.endswith("\n"):
        yield "the last line does not end"
    if content_type == OPEN_METRICS and not text.endswith("# EOF\n"):
        yield "there is no # EOF"
    for kind in ("HELP", "TYPE"):
        names = re.findall(rf"^# {kind} (\S+)", text, re.MULTILINE)
        yield from (f"{name} has {count} lines of {kind}" for name, count in Counter(names).items() if count > 1)
    if {*re.findall(r"^# HELP (\S+)", text, re.MULTILINE)} != {*re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)}:
        yield "some have a meaning and no type, or the reverse"
    for name, family in parse(text, content_type).items():
        yield from (f"{name}: {problem}" for problem in _of_family(name, family.type, family.documentation))
        if not family.samples:
            yield f"{name}: there is no value"
        yield from (f"{name}: {problem}" for problem in _of_unit(name, family.unit, content_type))
        found = Counter((sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples)
        yield from (f"{series} comes {count} times" for series, count in found.items() if count > 1)
        for sample in family.samples:
            if family.type == "counter" and not sample.name.endswith("_total"):
                yield f"{sample.name}: a counter ends in _total"
            if family.type == "gauge" and sample.name.endswith("_total"):
                yield f"{sample.name}: only a counter ends in _total"
            yield from (f"{sample.name}: bad label {label}" for label in sample.labels if not _NAME.fullmatch(label))
            yield from (f"{sample.name}: empty label {label}" for label, value in sample.labels.items() if not value)


def _of_unit(name: str, told: str, content_type: str) -> Iterator[str]:
    unit = name.rpartition("_")[2]
    if content_type == OPEN_METRICS and name.startswith("miniclaw_") and unit in _UNITS and told != unit:
        yield "its unit is not told"


def _of_family(name: str, kind: str, meaning: str) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield "a name is of small letters and underscores"
    if not name.startswith(("miniclaw_", "process_")):
        yield "it has no prefix"
    if len(meaning) < 10 or not meaning.endswith("."):
        yield f"its meaning is no sentence: {meaning!r}"
    if kind in {"unknown", "untyped"}:
        yield "it has no type"
    if unit := _FOREIGN_UNITS.search(name):
        yield f"{unit[1]} is no base unit"
    if name.endswith(_RESERVED):
        yield "its end is kept for histograms"
    if kind == "histogram" and not name.endswith(("_seconds", "_bytes")):
        yield "a histogram has a unit"
    if re.search(r"_(gauge|counter|histogram|info)$", name.removesuffix("_build_info")):
        yield "its type is no part of a name"
