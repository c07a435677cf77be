"""The pages for authors of channels and models, and of embedded gateways: each of their examples runs as it stands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.example import EXAMPLES, connection
from tests.fakes.patience import PATIENCE_SECONDS
from tests.test_gateway import gateway, read_until

DOCS = EXAMPLES.parent / "docs"


def block(page: str, language: str, after: str = "") -> str:
    """Return the first block of code of a language in a page, after a text."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return text[text.index(after) :].split(f"```{language}\n")[1].split("```")[0]


@pytest.mark.parametrize("name", ["custom_channel.py", "custom_model.py"])
def test_page_shows_the_example_as_it_is(name: str) -> None:
    """The page and the program that the tests run are the same."""
    page = {"custom_channel.py": "channel-authors.md", "custom_model.py": "model-authors.md"}[name]
    assert block(page, "python", f"<!-- example {name} -->") == (EXAMPLES / name).read_text()


def install(directory: Path, page: str, example: str) -> dict[str, Any]:
    """Install an example as the distribution that its page describes; return the page's configuration."""
    project = tomllib.loads(block(page, "toml"))["project"]
    info = directory / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    ((group, entries),) = project["entry-points"].items()
    ((name, value),) = entries.items()
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    (directory / f"{value.partition(':')[0]}.py").write_text((EXAMPLES / example).read_text())
    return tomllib.loads(block(page, "toml", "in its directory"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a program that finds what is installed beside it."""
    path = os.pathsep.join([str(tmp_path / "packages"), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("MINICLAW_HOME", str(tmp_path))
    return tmp_path


def test_channel_page_as_a_package_is_switched_on_by_its_table(home: Path) -> None:
    """Metadata, factory and table as the page has them, with another port."""
    config = install(home / "packages", "channel-authors.md", "custom_channel.py")
    assert config == {"channels": {"lines": {"port": 8023}}}
    (home / "config.toml").write_text("[channels.lines]\nport = 0\n")
    environment = {**os.environ, "MINICLAW_HOME": str(home)}
    command = [sys.executable, "-m", "miniclaw", "gateway", "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition(b":")[2])
            with connection(port) as anna:
                anna.write(b"anna\nGood morning\n")
                assert anna.readline() == b"Good morning\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            process.kill()


def test_model_page_as_a_package_is_chosen_by_its_name(home: Path) -> None:
    """Metadata, factory and table as the page has them, with another command."""
    config = install(home / "packages", "model-authors.md", "custom_model.py")
    assert config == {"model": {"provider": "command", "command": ["llm", "-m", "tiny"]}}
    program = '[model]\nprovider = "command"\ncommand = ["echo", "from the package"]\n'
    (home / "config.toml").write_text(program)
    chat = [sys.executable, "-m", "miniclaw", "chat", "--as", "anna", "-m", "hello"]
    done = subprocess.run(chat, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.stdout.strip() == "from the package"


@pytest.mark.parametrize(
    ("page", "example", "table", "words"),
    [
        ("channel-authors.md", "custom_channel.py", "[channels.lines]\nport = 70000", "port is a whole number from 0"),
        ("channel-authors.md", "custom_channel.py", "[channels.lines]\nprot = 1", "there is no key 'prot'"),
        ("model-authors.md", "custom_model.py", "[model]\nprovider = 'command'", "command is a list of a program"),
    ],
)
def test_page_factory_refuses_a_value_in_one_line(home: Path, page: str, example: str, table: str, words: str) -> None:
    """The ValueError of the factory is the user's sentence."""
    install(home / "packages", page, example)
    (home / "config.toml").write_text(table)
    command = [sys.executable, "-m", "miniclaw", "gateway", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert words in done.stderr


def test_embedding_page_gateway_in_a_thread_runs(home: Path) -> None:
    """The program as the page has it: it prints the address, is stopped by the main thread, and ends."""
    (home / "thread.py").write_text(
        block("embedding.md", "python", "<!-- thread example -->").replace("Config()", 'parse_config({"web": {"port": 0}})')
        .replace("import Config,", "import parse_config,")
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, home / "thread.py"], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.stdout.startswith("http://127.0.0.1:"), done.stderr
    assert (done.returncode, done.stderr) == (0, "")


def test_embedding_page_gateway_in_a_thread_passes_on_a_start_that_fails(home: Path) -> None:
    """The main thread gets the error, and the program does not hang."""
    (home / "thread.py").write_text(block("embedding.md", "python", "<!-- thread example -->"))
    (home / "config.toml").write_text("[web]\nport = 0\n")
    with gateway(home) as process:
        read_until(process, "Gateway started")
        done = subprocess.run(
            [sys.executable, home / "thread.py"], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
    assert done.returncode == 1
    assert "WorkspaceHeldError" in done.stderr
