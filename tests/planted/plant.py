"""Making a copy of the package, planting a bug in it, and running tests against the copy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from tests.planted.bug import Bug, Change

ROOT: Final = Path(__file__).parents[2]
TIMEOUT_SECONDS: Final = 120  # of one run of the tests; a bug that makes them hang is not counted as caught

_PARTS: Final = ("miniclaw", "tests", "pyproject.toml", "README.md")
_FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (\S+::.+?)(?: - .*)?$", re.MULTILINE)


class PlantError(Exception):
    """A bug cannot be planted, or the copy is not what would be tested."""


@dataclass(frozen=True)
class Outcome:
    """What a run of the tests came to.

    Attributes:
        failed: The first test that failed; None: none did.
        trouble: Why the run says nothing; empty: it does.
        seconds: How long it took.
        output: What pytest wrote.
    """

    failed: str | None
    trouble: str
    seconds: float
    output: str


def replaced(text: str, change: Change) -> str:
    """Return a text with the change made.

    Raises:
        PlantError: What is to be replaced does not stand there exactly once.
    """
    count = text.count(change.old)
    if count != 1:
        raise PlantError(f"{change.file}: stands there {count} times, not once: {change.old!r}")
    return text.replace(change.old, change.new)


def broken_files(bug: Bug) -> dict[str, str]:
    """Return the files that a bug changes, changed: relative path -> text.

    Raises:
        PlantError: It cannot be planted.
    """
    texts: dict[str, str] = {}
    for change in bug.changes:
        text = texts.get(change.file) or (ROOT / "miniclaw" / change.file).read_text(encoding="utf-8")
        texts[change.file] = replaced(text, change)
    return texts


def copy_package(target: Path) -> None:
    """Copy what the tests need into a new directory, and make sure that it is the copy which is imported there.

    Raises:
        PlantError: It is not; an installed package would be tested.
    """
    target.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")  # compiled files of the same second and size would be believed
    for part in _PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=ignored)
        else:
            shutil.copy2(source, target / part)
    done = subprocess.run(
        [sys.executable, "-c", "import miniclaw, tests; print(miniclaw.__file__); print(tests.__file__)"],
        cwd=target, env=_environment(target), capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    expected = [str(target / package / "__init__.py") for package in ("miniclaw", "tests")]
    if done.stdout.split() != expected:
        raise PlantError(f"not the copy is imported: {done.stdout.split()} instead of {expected}")


def try_bug(bug: Bug | None, tests: Sequence[str], target: Path, *, seconds: float = TIMEOUT_SECONDS) -> Outcome:
    """Plant a bug, or none, in a copy of its own, and run test files against it, for at most so many seconds.

    Raises:
        PlantError: It cannot be planted.
    """
    copy_package(target)
    if bug is not None:
        for file, text in broken_files(bug).items():
            (target / "miniclaw" / file).write_text(text, encoding="utf-8")
    begun = monotonic()
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--tb=short"]
    try:
        done = subprocess.run(
            [*command, *(f"tests/{file}" for file in tests)],
            cwd=target, env=_environment(target), capture_output=True, text=True, check=False,
            timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Outcome(None, f"no end within {seconds:.0f} s", monotonic() - begun, "")
    output = done.stdout + done.stderr
    failed = _FAILED.search(done.stdout)
    trouble = "" if done.returncode in {0, 1} else f"pytest ended with {done.returncode}"
    if done.returncode == 1 and failed is None:
        trouble = "pytest named no test"
    return Outcome(failed[1] if failed and not trouble else None, trouble, monotonic() - begun, output)


def _environment(target: Path) -> dict[str, str]:
    # Neither the coverage nor the pytest of who runs this is to reach into the copies.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("COV", "PYTEST"))}
    return kept | {"PYTHONPATH": str(target), "PYTHONDONTWRITEBYTECODE": "1"}
