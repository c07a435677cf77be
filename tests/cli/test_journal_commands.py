"""The commands that look, after a crash: they show what was confirmed, also where only the journal has it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.fakes.journalled import Journalled, crashed, write_segment
from tests.fakes.program import Program

LOOKING = [
    ["sessions", "list"],
    ["sessions", "list", "--json"],
    ["sessions", "show", "web_a"],
    ["sessions", "export", "web_a", "web_c"],
    ["sessions", "stats"],
    ["sessions", "due"],
    ["sessions", "forecast"],
    ["sessions", "cleanup", "--dry-run"],
    ["sessions", "delete", "web_a", "--dry-run"],
    ["status"],
]


@pytest.fixture
def home(program: Program) -> Program:
    """`web_a` has expired by its file, and not by the journal; `web_b` has expired; `web_c` has no file yet."""
    now = datetime.now(UTC)
    old = now - timedelta(days=40)
    crashed(program.sessions_dir, at=now, begun=old)
    program.add("web_b", days=40)
    write_segment(program.sessions_dir, Journalled("web_c", begun=now).add("three").take(), number=2, first=10)
    return program


def test_list_has_all_sessions_by_their_latest_use(home: Program) -> None:
    """Also the chat that began after the last save."""
    rows = {row["session_id"]: row for row in home.run("sessions", "list", "--json").json}
    assert {name: row["expired"] for name, row in rows.items()} == {"web_a": False, "web_b": True, "web_c": False}
    assert rows["web_c"]["file"] == "web_c.json"


@pytest.mark.parametrize(("session_id", "texts"), [("web_a", ["one", "two"]), ("web_c", ["three"])])
def test_show_and_export_have_the_confirmed_messages(
    home: Program, tmp_path: Path, session_id: str, texts: list[str]
) -> None:
    """As JSON, for a person, and in a file."""
    shown = home.run("sessions", "show", session_id, "--json").json
    assert [message["content"] for message in shown["messages"]] == texts
    assert all(text in home.run("sessions", "show", session_id).out for text in texts)
    assert home.run("sessions", "export", session_id).json == shown
    markdown = home.run("sessions", "export", session_id, "--format", "markdown").out
    assert all(f"> {text}" in markdown for text in texts)
    output = tmp_path / "exported.json"
    home.run("sessions", "export", session_id, "-o", str(output))
    assert json.loads(output.read_bytes()) == shown


def test_export_of_a_channel_has_the_sessions_without_a_file(home: Program) -> None:
    """Who asks for all gets all."""
    assert [each["session_id"] for each in home.run("sessions", "export", "--channel", "web").json] == [
        "web_a", "web_b", "web_c",
    ]  # fmt: skip


def test_dry_run_lists_what_the_run_deletes(home: Program) -> None:
    """The session that the journal keeps fresh is in neither."""
    plan = home.run("sessions", "cleanup", "--dry-run", "--json").json
    assert ([row["session_id"] for row in plan["sessions"]], plan["readable"]) == (["web_b"], 3)
    assert home.run("sessions", "cleanup", "--yes").code == 0
    assert home.files() == {"web_a.json", "web_c.json"}


def test_session_without_a_file_can_be_deleted(home: Program) -> None:
    """It is found by its id, and the command makes its file first."""
    assert home.run("sessions", "delete", "web_c", "--yes").code == 0
    assert "web_c.json" not in home.files()
    assert home.run("sessions", "show", "web_c").code == 1


@pytest.mark.parametrize("arguments", LOOKING, ids=" ".join)
def test_looking_changes_nothing(home: Program, arguments: list[str]) -> None:
    """The next owner applies the journal."""
    before = home.content()
    assert home.run(*arguments).code == 0
    assert home.content() == before


@pytest.mark.parametrize("arguments", [*LOOKING, ["sessions", "cleanup", "--yes"]], ids=" ".join)
def test_journal_of_a_newer_version_is_one_clear_line(home: Program, arguments: list[str]) -> None:
    """No command shows less than what was confirmed, and none changes anything."""
    write_segment(home.sessions_dir, Journalled().add("x").take(), number=3, first=20, version=2)
    before = {name: data for name, data in home.content().items() if "/.state/" not in name and ".lock" not in name}
    result = home.run(*arguments)
    assert result.code == 1
    assert result.out == ""
    lines = [line for line in result.err.splitlines() if line]
    assert [line for line in lines if "start the version that wrote it" in line] == lines[-1:]
    assert "000000000003.jsonl" in lines[-1]
    after = {name: data for name, data in home.content().items() if "/.state/" not in name and ".lock" not in name}
    assert after == before
