"""An installed distribution with entry points: a real one, in a directory of the module search path."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from textwrap import dedent

_numbers = count()


def install(directory: Path, code: str, *, package: str = "parrot-models", version: str = "1.2", **entries: str) -> str:
    """Install a distribution of one module, and return the module's name, which no other one in this process has.

    Args:
        directory: A directory of the module search path.
        code: The module's code.
        package: The distribution's name.
        version: Its version.
        entries: ``models`` and ``channels``: the lines ``name = object`` of that group, without the module's name.
    """
    module = f"plugin_of_a_test_{next(_numbers)}"
    info = directory / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = []
    for group, texts in entries.items():
        lines.append(f"[miniclaw.{group}]")
        for text in texts.splitlines():
            name, _, found = text.partition(" = ")
            lines.append(f"{name} = {module}:{found}")
    (info / "entry_points.txt").write_text("\n".join(lines))
    (directory / f"{module}.py").write_text(dedent(code))
    return module
