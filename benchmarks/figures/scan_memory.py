"""How much memory a scan adds at its peak, in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import ours
from benchmarks.bench import SMALL_BYTES, Bench
from benchmarks.child import run_child
from benchmarks.figure import Figure

_FEW = 100


def scan_memory(bench: Bench) -> Iterator[Figure]:
    """Scan without a ledger, which is made, and with one, which is loaded."""
    few, many = (bench.corpora.get(count, SMALL_BYTES).directory for count in (_FEW, bench.form.many))
    state = bench.new_folder()
    ours.write_ledger(many, state)
    for title, more in (("absent", []), ("current", [state])):
        growth = [run_child("scan_peak", many, few, *more)["bytes"] / 1e6 for _ in range(bench.form.few_rounds)]
        yield Figure(
            name="scan-memory", title=f"peak of a scan of {bench.form.many:,}, ledger {title}", peer="before the scan",
            unit="MB", kind="value", ours=tuple(growth), goal=10,
        )  # fmt: skip
