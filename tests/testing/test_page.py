"""docs/testing.md: each of its examples is a test that passes as it stands, in a project of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.fakes.patience import PATIENCE_SECONDS

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_testing_page_examples_pass(tmp_path: Path) -> None:
    """Every example is collected and passes; nothing of our own tests is there to help it."""
    examples = PAGE.read_text(encoding="utf-8").split("<!-- testing example -->")[1:]
    for number, text in enumerate(examples):
        (tmp_path / f"test_{number}.py").write_text(text.split("```python\n")[1].split("```")[0])
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["miniclaw.testing.pytest_plugin"]\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    plugins = ["-p", "pytest_trio.plugin", "-p", "pyfakefs.pytest_plugin"]  # the start of all others takes its time
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugins, "."]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert f"{len(examples)} passed" in done.stdout
