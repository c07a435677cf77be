"""How much memory a cleanup adds at its peak that finds nothing to remove, in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from shutil import rmtree
from typing import Final

from benchmarks import ours
from benchmarks.bench import SMALL_BYTES, Bench
from benchmarks.child import run_child
from benchmarks.figure import Figure
from miniclaw.session.files.subdirectory import STATE_NAME

_FEW: Final = 100


def scan_memory(bench: Bench) -> Iterator[Figure]:
    """Scan without a ledger, which is made and written, and with one, which is loaded."""
    few, many = (bench.corpora.get(count, SMALL_BYTES).directory for count in (_FEW, bench.form.many))
    for title in ("absent", "current"):
        growth = []
        for _ in range(bench.form.few_rounds):
            rmtree(many / STATE_NAME, ignore_errors=True)
            if title == "current":
                ours.write_ledger(many, many)
            growth.append(run_child("scan_peak", many, few)["bytes"] / 1e6)
        yield Figure(
            name="scan-memory", title=f"peak of a cleanup that scans {bench.form.many:,}, ledger {title}",
            peer="before it", unit="MB", kind="value", ours=tuple(growth), goal=10,
        )  # fmt: skip
