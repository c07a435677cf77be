"""The programs in docs/stores.md work as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from miniclaw.testing import store_checks
from tests.fakes.patience import PATIENCE_SECONDS

PAGE = (Path(__file__).parents[2] / "docs" / "stores.md").read_text()
RUNTIME, CHECK, FILES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_number_of_checks_in_the_page_is_right() -> None:
    """The table counts each check once."""
    assert f"runs {len(store_checks())} checks" in PAGE
    assert sum(map(int, re.findall(r"\| (\d+) \| pass", PAGE))) == len(store_checks())


def _main(block: str) -> str:
    """Return a program that runs a block of the page, and prints the session that it has made."""
    return (
        block.replace("async with", "async def main():\n    async with").replace("    await", "        await")
        + "        print((await sessions.read('web_anna')).chat_id)\nimport trio\ntrio.run(main)\n"
    )


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (_main(RUNTIME), "anna"),
        (_main(FILES), "anna"),
        (CHECK.replace("pass_time=pass_time)", "pass_time=pass_time, many=500)"),
         f"{len(store_checks())} of {len(store_checks())} checks passed"),
    ],
    ids=["runtime", "files", "check"],
)  # fmt: skip
def test_program_of_the_page_works(program: str, expected: str, tmp_path: Path) -> None:
    """Each is a program of its own, started as a reader starts it."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True, encoding="utf-8", timeout=5 * PATIENCE_SECONDS, check=False,
        cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == expected
