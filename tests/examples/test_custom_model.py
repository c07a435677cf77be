"""examples/custom_model.py as a program: a gateway that answers with the output of a command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.fakes.example import example
from tests.fakes.patience import PATIENCE_SECONDS

SHOUT = "import json, sys; print(json.load(sys.stdin)[-1]['content'].upper(), 'ÄÖ' * 20000, end='')"


def chat(home: Path, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "miniclaw", "chat", "--as", "anna", "-m", text],
        env={**os.environ, "MINICLAW_HOME": str(home), "PYTHONIOENCODING": "utf-8"},
        capture_output=True, encoding="utf-8", timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip


def test_custom_model_answers_with_the_output_of_its_command(tmp_path: Path) -> None:
    """The command reads the conversation; its output comes whole, also where a piece ends within a character."""
    (tmp_path / "config.toml").write_text("[web]\nport = 0\n")
    with example("custom_model.py", sys.executable, "-X", "utf8", "-c", SHOUT, directory=tmp_path):
        assert chat(tmp_path, "hello").stdout.strip() == "HELLO " + "ÄÖ" * 20000


def test_custom_model_command_that_fails_is_told_to_the_person(tmp_path: Path) -> None:
    """One sentence; the gateway goes on."""
    (tmp_path / "config.toml").write_text("[web]\nport = 0\n")
    with example("custom_model.py", sys.executable, "-c", "import sys; sys.exit(3)", directory=tmp_path):
        for _ in range(2):
            answer = chat(tmp_path, "hello")
            assert "the model's command failed (exit code 3)" in answer.stdout + answer.stderr
