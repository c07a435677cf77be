"""`python -m benchmarks compare BASE`: what a change did.

The benchmark of this working tree measures the package of both revisions, in processes of their own that take turns.
What a revision does not have yet is said and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.bench import FORMS, tell
from benchmarks.figure import Spread
from benchmarks.report import number

_ROOT: Final = Path(__file__).resolve().parents[1]
_WITHOUT_CURVES: Final = (
    "warm-absent", "warm-current", "dry-run", "cold-current", "cold-absent", "file-size", "removal", "loop-lag",
    "start", "memory", "scan-memory", "flush", "commands", "append", "save-large",
)  # fmt: skip


def compare(base: str, folder: Path, options: argparse.Namespace) -> int:
    """Measure both revisions and print a table; return the exit code.

    Args:
        base: A git revision.
        folder: Where to work.
        options: `only`, `form`, `rounds`, `seed`.
    """
    rounds = options.rounds or FORMS[options.form].rounds
    with _checked_out(base, folder / "base") as tree:
        roots = {"new": _staged(folder / "stage-new", _ROOT), "base": _staged(folder / "stage-base", tree)}
        samples: dict[tuple[str, str], dict[str, list[float]]] = {}
        reasons: dict[str, str] = {}
        for name in options.only or _WITHOUT_CURVES:
            order = list(roots)
            for number_of_round in range(rounds):
                tell(f"{name}, round {number_of_round + 1} of {rounds} ...")
                for which in order:
                    found, reason = _measure(roots[which], name, folder, options)
                    for title, unit, sample in found:
                        samples.setdefault((title, unit), {}).setdefault(which, []).append(sample)
                    if reason:
                        reasons[f"{name}, {which}"] = reason
                order.reverse()
                if any(key.startswith(f"{name}, ") for key in reasons):
                    break
    print(table(samples, base))
    for key, reason in reasons.items():
        print(f"- left out: {key}: {reason}")
    return 0


def table(samples: dict[tuple[str, str], dict[str, list[float]]], base: str) -> str:
    """Return the table; what only one of the two has measured is left out.

    Args:
        samples: By title and unit: one of ``new`` and one of ``base`` a round.
        base: What the revision is called.
    """
    lines = [f"| ours | {base} | now | new/base (lowest to highest) |", "| --- | ---: | ---: | ---: |"]
    for (title, unit), found in samples.items():
        new, old = found.get("new", []), found.get("base", [])
        if not new or len(new) != len(old) or not all(old):
            continue
        ratio = Spread.of([after / before for after, before in zip(new, old, strict=True)])
        lines.append(
            f"| {title} | {number(median(old))} {unit} | {number(median(new))} {unit} "
            f"| {number(ratio.median)} ({number(ratio.lowest)} to {number(ratio.highest)}) |"
        )
    return "\n".join(lines)


def _measure(
    root: Path, name: str, folder: Path, options: argparse.Namespace
) -> tuple[list[tuple[str, str, float]], str]:
    """Return title, unit and sample of each figure, and why there is none."""
    arguments = [options.form, "--only", name, "--rounds", "1", "--seed", str(options.seed), "--dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments, "--json"],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return [], " ".join(done.stderr.split())[-500:] or f"it ended with {done.returncode}"
    figures = [(each["title"], each["unit"], median(each["ours"])) for each in found if "ours" in each]
    return figures, "; ".join(each["reason"] for each in found if "reason" in each)


@contextmanager
def _checked_out(revision: str, folder: Path) -> Iterator[Path]:
    """Have the files of a revision in a worktree for a block.

    Raises:
        SystemExit: There is no such revision, or no repository.
    """
    done = _git("worktree", "add", "--detach", "--quiet", str(folder), revision)
    if done.returncode:
        raise SystemExit(f"git could not check out {revision}: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        _git("worktree", "remove", "--force", str(folder))


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, check=False)


def _staged(folder: Path, tree: Path) -> Path:
    """Return a folder from which Python imports the package of `tree`, and the benchmark of this one."""
    folder.mkdir()
    (folder / "miniclaw").symlink_to(tree / "miniclaw", target_is_directory=True)
    (folder / "benchmarks").symlink_to(_ROOT / "benchmarks", target_is_directory=True)
    return folder
