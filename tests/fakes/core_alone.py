"""An environment with the three packages of the core and no extra, made of links into the present one."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import miniclaw
from tests.fakes.patience import PATIENCE_SECONDS


def declared(extra: str = "") -> set[str]:
    """Return the distributions that pyproject.toml names: for all programs, or for an extra."""
    project = tomllib.loads((Path(miniclaw.__file__).parents[1] / "pyproject.toml").read_text())["project"]
    texts = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return {canonicalize_name(Requirement(text).name) for text in texts}


def _core() -> set[str]:
    """Return the distributions that miniclaw without extras needs, in the end, on this machine."""
    found, waiting = declared(), [*declared()]
    while waiting:
        for requirement in map(Requirement, distribution(waiting.pop()).requires or ()):
            name = canonicalize_name(requirement.name)
            if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
                found.add(name)
                waiting.append(name)
    return found


class CoreAlone:
    """Runs programs with the standard library, miniclaw, and the packages of its core.

    Args:
        folder: For the links; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._link(Path(miniclaw.__file__).parent)
        for name in _core():
            files = distribution(name).files or ()
            top = {path.parts[0] for path in files if path.parts[0] not in {"..", "__pycache__"}}
            for part in top:
                self._link(Path(str(distribution(name).locate_file(part))))

    def _link(self, target: Path) -> None:
        (self._folder / target.name).symlink_to(target)

    def run(self, *args: str, home: Path) -> subprocess.CompletedProcess[str]:
        """Run an interpreter with these arguments, in a home directory that is also the working directory."""
        return subprocess.run(
            [sys.executable, "-S", "-W", "error", *args],  # -S: without site-packages
            capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS, cwd=home,
            env={"PYTHONPATH": str(self._folder), "HOME": str(home), "PATH": os.defpath},
        )  # fmt: skip

    def output(self, code: str, *, home: Path) -> str:
        """Run a program that ends well, and return its output."""
        done = self.run("-c", code, home=home)
        assert not done.returncode, done.stderr
        assert not done.stderr, done.stderr
        return done.stdout
