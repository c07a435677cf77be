"""examples/custom_channel.py as a program: a gateway whose people connect over TCP."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from tests.fakes.example import connection, example


def test_custom_channel_answers_each_person_and_remembers(tmp_path: Path) -> None:
    """Two people at once, each in a session; after a restart the conversation goes on."""
    program = example("custom_channel.py", "0", directory=tmp_path)
    with program as port, connection(port) as anna, connection(port) as bert:
        anna.write(b"anna\nGood morning\n")
        bert.write(b"bert\nHello\n")
        assert bert.readline() == b"Hello\n"
        assert anna.readline() == b"Good morning\n"
        anna.write(b"one\ntw")
        assert anna.readline() == b"one\n"
        anna.write(b"o\n")
        assert anna.readline() == b"two\n"
    with example("custom_channel.py", "0", directory=tmp_path) as port, connection(port) as anna:
        anna.write(b"anna\nAgain\n")
        assert anna.readline() == b"Again\n"
    saved = json.loads((tmp_path / "workspace" / "sessions" / "lines_anna.json").read_text())
    said = [message["content"] for message in saved["messages"] if message["role"] == "user"]
    assert said == ["Good morning", "one", "two", "Again"]


def test_custom_channel_line_without_end_closes_its_connection_alone(tmp_path: Path) -> None:
    """A connection cannot fill the memory, and another one is served meanwhile."""
    program = example("custom_channel.py", "0", directory=tmp_path)
    with program as port, connection(port) as flood, connection(port) as anna:
        anna.write(b"anna\n")
        with suppress(ConnectionResetError, BrokenPipeError):
            flood.write(b"x" * 200_000)
            assert flood.read(1) == b""
        anna.write(b"Still here\n")
        assert anna.readline() == b"Still here\n"
