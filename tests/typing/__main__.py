"""Run mypy and pyright over a program that embeds miniclaw, and over copies of it with a misspelling each.

The sound program has no error for either, and each misspelling is an error for both, in its line. pyright then verifies
that every name of the package has a type on which all type checkers agree. Exits with 1 if anything of this is not so.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

PROGRAM: Final = Path(__file__).with_name("program.py")

MISSPELLINGS: Final = {
    "name": ('miniclaw.open_runtime("', 'miniclaw.open_runtme("'),
    "keyword": ("policy=policy", "polcy=policy"),
    "attribute": ("session.last_accessed", "session.last_acessed"),
    "error": ("miniclaw.UnsavedSessionsError", "miniclaw.UnsavedSesionsError"),
    "module": ("import Message, Session, blocking", "import Mesage, Session, blocking"),
    "blocking_method": ("runtime.get_session", "runtime.get_sesion"),
    "blocking_keyword": ("cleanup=None", "clenup=None"),
    "store_keyword": ("notice=False", "notce=False"),
    "blocking_store_keyword": ("removes=False", "remove=False"),
}
"""For each kind, a text that stands in the program once, and its misspelling."""

_OPTIONS: Final = {"mypy": ["--strict", "--no-incremental"], "pyright": []}
_ERROR: Final = re.compile(r"(\w+)\.py:(\d+)\b.*\berror: ")


def run(checker: str, *args: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a checker in a folder, over the packages of this environment."""
    # pyright finds them by the environment, and not by the interpreter that runs it.
    home = {"VIRTUAL_ENV": sys.prefix, "PATH": f"{sys.prefix}/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    return subprocess.run(
        [sys.executable, "-m", checker, *args],
        cwd=folder, capture_output=True, text=True, check=False, env=os.environ | home,
    )  # fmt: skip


def found(checker: str, folder: Path) -> set[tuple[str, int]]:
    """Return the errors that a checker finds in the files of a folder: the name of the file, and the line."""
    done = run(checker, *_OPTIONS[checker], ".", folder=folder)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return {(match[1], int(match[2])) for match in map(_ERROR.search, done.stdout.splitlines()) if match}


def incomplete() -> list[str]:
    """Return a line for each name of the package whose type a checker would have to guess."""
    done = run("pyright", "--verifytypes", "miniclaw", "--ignoreexternal")
    lines = done.stdout.splitlines()
    print(*(line for line in lines if "completeness score" in line), sep="\n")
    errors = [line.strip() for line in lines if " error: " in line]
    return errors or ([done.stdout + done.stderr] if done.returncode else [])


def main() -> int:
    """Check all, print what was found, and return the exit code."""
    sound = PROGRAM.read_text()
    problems, planted = [], {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / PROGRAM.name).write_text(sound)
        for kind, (right, wrong) in MISSPELLINGS.items():
            before, _, after = sound.partition(right)
            assert sound.count(right) == 1, right
            (folder / f"misspelt_{kind}.py").write_text(f"{before}{wrong}{after}")
            planted[kind] = before.count("\n") + 1
        for checker in _OPTIONS:
            errors = found(checker, folder)
            missed = {kind for kind, line in planted.items() if (f"misspelt_{kind}", line) not in errors}
            in_sound = sorted(line for file, line in errors if file == PROGRAM.stem)
            print(f"{checker}: {len(planted) - len(missed)} of {len(planted)} misspellings found")
            problems += [
                f"{checker} does not find the misspelling {MISSPELLINGS[kind][1]!r}" for kind in sorted(missed)
            ]
            problems += [f"{checker} reports an error in line {line} of the sound program" for line in in_sound]
    problems += incomplete()
    print(*problems, sep="\n", end="\n" if problems else "")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
