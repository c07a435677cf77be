"""``sessions list`` and ``sessions show``: they look, and change nothing."""

from __future__ import annotations

import json

import pytest

from miniclaw.session.files.directory import SessionDirectory
from tests.fakes.program import Program


def test_list_shows_the_most_recently_used_first(program: Program) -> None:
    """Columns for a pipe: id, age, size and what will become of it; the latest first."""
    for session_id, days in [("telegram_1", 20.5), ("web_b", 31), ("web_a", 1.5)]:
        program.add(session_id, days=days)
    result = program.run("sessions", "list")
    assert (result.code, result.err) == (0, "")
    sizes = {path.stem: path.stat().st_size for path in program.sessions_dir.iterdir()}
    assert [line.split("\t") for line in result.lines] == [
        ["SESSION", "LAST USED", "SIZE", "RETENTION"],
        ["web_a", "1d", f"{sizes['web_a']} B", "expires in 29d"],
        ["telegram_1", "20d", f"{sizes['telegram_1']} B", "expires in 10d"],
        ["web_b", "31d", f"{sizes['web_b']} B", "expired"],
    ]


def test_list_json_tells_the_same_for_programs(program: Program) -> None:
    """A JSON array, the latest first, with the verdict of retention."""
    program.add("telegram_1", days=31)
    path = program.add("web_a", days=2)
    result = program.run("sessions", "list", "--json")
    assert result.code == 0
    assert [row["session_id"] for row in result.json] == ["web_a", "telegram_1"]
    first, second = result.json
    assert (first["channel"], first["chat_id"], first["file"]) == ("web", "a", "web_a.json")
    assert (first["bytes"], first["expired"], first["reason"]) == (path.stat().st_size, False, "within_ttl")
    assert first["last_accessed"] == json.loads(path.read_bytes())["last_accessed"]
    assert first["age_days"] == pytest.approx(2, abs=0.01)
    assert (second["expired"], second["reason"]) == (True, "ttl")


def test_list_says_what_will_become_of_each(program: Program) -> None:
    """Retention by channel, never, and times ahead of the clock are told apart."""
    program.write_config('[session.ttl_by_channel]\nweb = "never"\ntelegram = "1h"\n')
    program.add("web_a", days=400)
    program.add("telegram_1", days=0.5)
    program.add("other_x", days=-3)
    fates = {line.split("\t")[0]: line.split("\t")[3] for line in program.run("sessions", "list").lines[1:]}
    assert fates == {"web_a": "kept, no TTL", "telegram_1": "expired", "other_x": "kept, ahead of the clock"}


@pytest.mark.parametrize("made", [[], ["home"], ["home", "workspace"], ["home", "workspace", "sessions"]])
def test_list_without_sessions_is_empty_and_makes_nothing(program: Program, made: list[str]) -> None:
    """Before the first message there are no sessions; that is no error, and looking makes no directory."""
    path = program.home.parent.joinpath(*made)
    path.mkdir(parents=True, exist_ok=True)
    result = program.run("sessions", "list")
    assert (result.code, result.lines, result.err) == (0, ["SESSION\tLAST USED\tSIZE\tRETENTION"], "")
    assert program.run("sessions", "list", "--json").json == []
    assert list(path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "command"),
    [("file", "list"), ("file", "cleanup"), ("link", "list"), ("link", "cleanup"), ("link", "delete x_1"),
     ("link", "cleanup --dry-run"), ("dangling link", "list"), ("dangling link", "cleanup")],
)  # fmt: skip
def test_sessions_directory_that_is_none_is_a_clear_error(program: Program, kind: str, command: str) -> None:
    """A file or a link in the place of the directory is told by its path, and followed nowhere."""
    program.sessions_dir.parent.mkdir(parents=True)
    real = program.home / "real"
    if kind == "file":
        program.sessions_dir.write_text("")
    else:
        program.sessions_dir.symlink_to(real)
    if kind == "link":
        real.mkdir()
    result = program.run("sessions", *command.split())
    assert (result.code, result.out) == (1, "")
    problem = "it is not a directory" if kind == "file" else "it is a symbolic link"
    assert result.err.startswith(f"miniclaw: {program.sessions_dir}: {problem}")
    assert kind != "link" or list(real.iterdir()) == []


def test_list_counts_what_cannot_be_read(program: Program) -> None:
    """A damaged file does not end the listing; it is counted, and the way to its name is shown."""
    program.add("web_a", days=1)
    (program.sessions_dir / "web_b.json").write_text("{")
    result = program.run("sessions", "list")
    assert result.code == 0
    assert [line.split("\t")[0] for line in result.lines] == ["SESSION", "web_a"]
    assert "1 file could not be read" in result.err
    assert "cleanup --dry-run" in result.err


def test_list_and_show_escape_control_characters(program: Program) -> None:
    """A chat id or a message from a stranger never commands the terminal, nor makes a line of its own in the list."""
    session_id = "web_\x1b[31m\u202ex\ny\tz"
    program.add(session_id, days=1, messages=[
        {"role": "user", "content": "\x1b]0;title\x07 hello", "timestamp": "2026-11-01T00:00:00Z"},
    ])  # fmt: skip
    listed = program.run("sessions", "list")
    assert listed.lines[1].split("\t")[0] == r"web_\x1b[31m\u202ex\ny\tz"
    assert len(listed.lines) == 2
    shown = program.run("sessions", "show", session_id)
    assert shown.code == 0
    assert r"  \x1b]0;title\x07 hello" in shown.lines
    assert not {"\x1b", "\x07", "\u202e"} & set(listed.out + shown.out + listed.err + shown.err)


def test_show_prints_the_conversation_and_does_not_count_as_use(program: Program) -> None:
    """Who said what and when, tool calls too; the file stays as it is."""
    time = "2026-11-01T10:20:30Z"
    program.add(
        "web_a",
        days=5,
        created_at="2026-10-01T00:00:00Z",
        messages=[
            {"role": "user", "content": "what time is it?", "timestamp": time},
            {"role": "assistant", "content": "", "timestamp": time,
             "tool_calls": [{"id": "1", "name": "clock", "arguments": '{"zone":"UTC"}'}]},
            {"role": "tool_result", "content": "noon", "timestamp": time, "tool_call_id": "1"},
        ],
    )  # fmt: skip
    before = program.content()
    result = program.run("sessions", "show", "web_a")
    assert result.code == 0
    assert result.lines[:2] == ["session        web_a", "created        2026-10-01 00:00:00 UTC"]
    assert "messages       3" in result.lines
    at = result.lines.index("user, 2026-11-01 10:20:30 UTC")
    assert result.lines[at + 1] == "  what time is it?"
    assert 'calls clock({"zone":"UTC"})' in result.lines
    assert "  noon" in result.lines
    assert program.content() == before


def test_show_json_is_the_whole_session_with_what_miniclaw_does_not_know(program: Program) -> None:
    """For programs: the session as its file holds it, unknown fields included."""
    path = program.add("telegram_😀", days=1, mood="good")
    result = program.run("sessions", "show", "telegram_😀", "--json")
    assert result.code == 0
    assert result.json == json.loads(path.read_bytes())
    assert result.json["mood"] == "good"


def test_show_unknown_session_is_exit_code_1(program: Program) -> None:
    """A session that is not there is told by its name, whether or not there are others."""
    before = program.run("sessions", "show", "web_a")
    program.add("web_b", days=1)
    after = program.run("sessions", "show", "web_a")
    for result in (before, after):
        assert (result.code, result.out, result.err) == (1, "", "miniclaw: no session 'web_a'\n")


def test_show_of_a_damaged_file_names_it(program: Program) -> None:
    """What cannot be read is told with its path."""
    program.add("web_a", days=1).write_text('{"session_id": ')
    result = program.run("sessions", "show", "web_a")
    assert (result.code, result.out) == (1, "")
    assert str(program.sessions_dir / "web_a.json") in result.err


def test_list_and_show_work_while_a_gateway_runs(program: Program) -> None:
    """Looking needs no lock."""
    program.add("web_a", days=1)
    with SessionDirectory.open(program.sessions_dir) as directory:
        directory.own()
        assert program.run("sessions", "list").lines[1].startswith("web_a\t")
        assert program.run("sessions", "show", "web_a").code == 0


def test_show_and_export_have_the_metadata(program: Program) -> None:
    """A text as it is, any other value as JSON, each in a line of its own that commands no terminal."""
    program.add("web_a", days=1, metadata={"title": "Ferien\nin Zürich", "tags": ["a", 1], "\x1b[31m": None})
    shown = program.run("sessions", "show", "web_a")
    assert [line for line in shown.lines if line.startswith("metadata")] == [
        r"metadata       title: Ferien\nin Zürich",
        'metadata       tags: ["a",1]',
        r"metadata       \x1b[31m: null",
    ]
    exported = program.run("sessions", "export", "web_a", "--format", "markdown")
    assert r"- title: Ferien\\nin Zürich" in exported.lines
    assert r'- tags: \["a",1\]' in exported.lines
    assert program.run("sessions", "show", "web_a", "--json").json["metadata"]["tags"] == ["a", 1]
