"""Processes that find the same modules as this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.figure import UnavailableError

_ROOT: Final = Path(__file__).parents[1]  # unresolved: `compare` has a root of links


def run_child(module: str, *arguments: object) -> dict[str, Any]:
    """Run a module of `benchmarks.children` in a process of its own; return the object that it printed.

    Raises:
        UnavailableError: It says that the machine lacks something.
        RuntimeError: It failed.
    """
    command = [sys.executable, "-m", f"benchmarks.children.{module}", *map(str, arguments)]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if reason := answer.get("unavailable"):
        raise UnavailableError(reason)
    return answer


def child_environment(**more: str) -> dict[str, str]:
    """Return the environment of a child; `more` are more variables.

    Its bytecode is kept, also where this process was told not to keep its own: nobody compiles anew at every start.
    """
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), **more}
