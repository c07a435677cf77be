"""The program on a terminal of a certain width, with what it shows there as text, or as a picture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from tests.fakes.program import Program

COLUMNS: Final = 100

_STYLES: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
_FONT_FACES: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


class Terminal(Program):
    """Runs commands as a person sees them, in a home that is shown as ``~/.miniclaw``."""

    def _environment(self, overrides: dict[str, str]) -> dict[str, str]:
        return super()._environment({"COLUMNS": str(COLUMNS), "TERM": "xterm-256color", **overrides})

    def show(self, *args: str, prompt: str = "", answer: str = "") -> tuple[int, str]:
        """Run a command; return its exit code and all that it shows, with its styles."""
        result = self.run_on_terminal(*args, prompt=prompt, answer=answer)
        return result.code, result.out.replace(str(self.home), "~/.miniclaw").rstrip()


def plain(shown: str) -> str:
    """Return what was shown without its styles."""
    lines = _STYLES.sub("", shown).split("\n")
    return "\n".join(line.rstrip() for line in lines)


def write_picture(path: Path, title: str, shown: str) -> None:
    """Write an SVG of what was shown."""
    console = Console(record=True, width=COLUMNS, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115
    console.print(Text.from_ansi(shown))
    svg = console.export_svg(title=title)
    # Without web fonts: the reader's own monospaced one does.
    path.write_text(_FONT_FACES.sub("", svg).replace("Fira Code", "monospace"), encoding="utf-8")
