"""All figures by their names, in the order of the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Final, TypeAlias

from benchmarks.bench import Bench
from benchmarks.figure import Finding, Skipped, UnavailableError

Measure: TypeAlias = Callable[[Bench], Iterator[Finding]]

FIGURES: Final[Mapping[str, tuple[str, str]]] = {
    "warm-absent": ("warm", "ledger_absent"),
    "warm-current": ("warm", "ledger_current"),
    "dry-run": ("warm", "some_expired"),
    "cold-current": ("cold", "nothing_changed"),
    "cold-absent": ("cold", "ledger_absent"),
    "file-size": ("warm", "by_size"),
    "removal": ("removal", "against_find"),
    "loop-lag": ("lag", "loop_lag"),
    "start": ("gateway", "start"),
    "memory": ("gateway", "memory"),
    "scan-memory": ("scan_memory", "scan_memory"),
    "session-memory": ("session_memory", "session_memory"),
    "flush": ("saving", "flush"),
    "commands": ("commands", "commands"),
    "append": ("saving", "append"),
    "save-large": ("saving", "save_large"),
    "acknowledge": ("journal", "acknowledge"),
    "exchange": ("journal", "exchange"),
    "people": ("journal", "people"),
    "beside-large": ("journal", "beside_large"),
    "replay": ("journal", "replay"),
    "parsers": ("warm", "parsers"),
    "databases": ("removal", "against_databases"),
    "curve-count": ("curves", "by_count"),
    "curve-size": ("curves", "by_size"),
}
"""The module and the function of each. A module is imported only when it is wanted: what one revision lacks must not
keep `compare` from measuring the rest."""


def measure(name: str, bench: Bench) -> list[Finding]:
    """Return what a figure finds.

    What the machine lacks, and whatever goes wrong, is a finding, too: the other figures go on.
    """
    module, function = FIGURES[name]
    try:
        run: Measure = getattr(import_module(f"benchmarks.figures.{module}"), function)
        return list(run(bench))
    except UnavailableError as error:
        return [Skipped(name, name, str(error))]
    except Exception as error:  # noqa: BLE001 - told in the report, and by the exit code
        return [Skipped(name, name, f"{type(error).__name__}: {error}", failed=True)]
