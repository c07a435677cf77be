"""``sessions export``: a person's data, as it is or for reading, and never over another file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from miniclaw.cli.sessions.export import session_as_markdown
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format.codec import decode_session
from tests.fakes.program import Program

TIME = "2026-11-01T10:20:30Z"


def test_export_of_one_session_is_its_file_as_it_is(program: Program) -> None:
    """One ID is one document, byte for byte, unknown fields included; nothing else is written or changed."""
    path = program.add("web_😀", days=2, mood={"a": [1, 2]})
    before = path.read_bytes(), path.stat().st_mtime_ns
    result = program.run("sessions", "export", "web_😀")
    assert (result.code, result.err) == (0, "")
    assert result.out.encode() == before[0] + b"\n"
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [entry.name for entry in program.sessions_dir.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["web_b", "telegram_1"], ["web_b", "telegram_1"]),
        (["web_b", "web_b", "web_a"], ["web_b", "web_a"]),
        (["--channel", "web"], ["web_a", "web_b"]),
        (["--channel", "telegram"], ["telegram_1"]),
        (["--channel", "mail"], []),
    ],
    ids=str,
)
def test_export_of_several_is_an_array(program: Program, arguments: list[str], ids: list[str]) -> None:
    """Several IDs, and a channel whatever it holds, are an array of the files' contents."""
    files = {each: json.loads(program.add(each, days=2).read_bytes()) for each in ("web_a", "web_b", "telegram_1")}
    result = program.run("sessions", "export", *arguments)
    assert result.code == 0
    assert result.json == [files[each] for each in ids]


def test_export_of_an_empty_channel_says_so(program: Program) -> None:
    """That there is nothing is an answer, and a channel name may be mistyped."""
    assert program.run("sessions", "export", "--channel", "mail").err == "There is no session of the channel mail.\n"


def test_export_file_is_private_and_new(program: Program, tmp_path: Path) -> None:
    """What goes into a file is the same, for its owner alone."""
    path = program.add("web_a", days=2)
    target = tmp_path / "out.json"
    result = program.run("sessions", "export", "web_a", "-o", str(target))
    assert (result.code, result.out) == (0, "")
    assert result.err == f"1 session exported to {target}.\n"
    assert target.read_bytes() == path.read_bytes() + b"\n"
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["file", "link", "dangling link", "directory"])
def test_export_never_overwrites(program: Program, tmp_path: Path, kind: str) -> None:
    """Whatever stands in the place of the file stays, and so does what a link leads to."""
    program.add("web_a", days=2)
    target, real = tmp_path / "out.json", tmp_path / "real"
    if kind == "file":
        target.write_text("mine")
    elif kind == "directory":
        target.mkdir()
    else:
        target.symlink_to(real)
    if kind == "link":
        real.write_text("mine")
    result = program.run("sessions", "export", "web_a", "--output", str(target))
    assert (result.code, result.out) == (1, "")
    assert result.err == f"miniclaw: {target}: it exists, and nothing is overwritten; name a file that does not\n"
    assert kind != "file" or target.read_text() == "mine"
    assert real.exists() == (kind == "link")
    assert kind != "link" or real.read_text() == "mine"


def test_export_to_where_no_file_can_be_made_is_a_clear_error(program: Program, tmp_path: Path) -> None:
    """The message names the file and why."""
    program.add("web_a", days=2)
    target = tmp_path / "missing" / "out.json"
    result = program.run("sessions", "export", "web_a", "-o", str(target))
    assert (result.code, result.err) == (1, f"miniclaw: {target}: could not make it: No such file or directory\n")


def test_export_that_cannot_be_read_is_told_and_the_others_are_exported(program: Program, tmp_path: Path) -> None:
    """One damaged file costs nobody else's data; the exit code tells that not all is there."""
    program.add("web_a", days=2)
    bad = program.add("web_b", days=2)
    bad.write_text('{"session_id": ')
    program.add("web_c", days=2)
    for arguments in (["--channel", "web"], ["web_a", "web_b", "web_c"]):
        result = program.run("sessions", "export", *arguments)
        assert result.code == 1
        assert [row["session_id"] for row in result.json] == ["web_a", "web_c"]
        assert result.err.startswith(f"miniclaw: {bad}: ")
    target = tmp_path / "out.json"
    assert program.run("sessions", "export", "--channel", "web", "-o", str(target)).code == 1
    assert len(json.loads(target.read_bytes())) == 2


def test_export_of_a_session_damaged_behind_its_header_names_it(program: Program) -> None:
    """What the listing takes for sound is read whole before it is written."""
    bad = program.add("web_a", days=2)
    bad.write_bytes(bad.read_bytes().rstrip()[:-1])
    result = program.run("sessions", "export", "--channel", "web")
    assert (result.code, result.out) == (1, "")
    assert str(bad) in result.err


@pytest.mark.parametrize("session_id", ["web_a", "web_nope"])
def test_export_of_nothing_makes_no_file(program: Program, tmp_path: Path, session_id: str) -> None:
    """Where all that was asked for fails, there is no file that looks like an answer."""
    program.add("web_a", days=2).write_text("{")
    target = tmp_path / "out.json"
    result = program.run("sessions", "export", session_id, "-o", str(target))
    assert (result.code, result.out) == (1, "")
    assert not target.exists()


def test_export_without_a_workspace_finds_no_session(program: Program) -> None:
    """Before the first session there is none, and none is made by asking."""
    result = program.run("sessions", "export", "web_a")
    assert (result.code, result.err) == (1, "miniclaw: no session 'web_a'\n")
    assert not program.home.exists()


@pytest.mark.parametrize("arguments", [[], ["web_a", "--channel", "web"], ["web_a", "--format", "xml"]], ids=str)
def test_export_without_a_clear_choice_is_a_usage_error(program: Program, arguments: list[str]) -> None:
    """IDs or a channel, in one of two formats."""
    program.add("web_a", days=2)
    result = program.run("sessions", "export", *arguments)
    assert (result.code, result.out) == (2, "")


def test_export_that_runs_full_leaves_no_file(program: Program, tmp_path: Path) -> None:
    """A file that could not be completed is removed, and the message names it."""
    program.add("web_a", days=2)
    target = tmp_path / "out.json"
    script = (
        "import os\n"
        "def full(fd): raise OSError(28, 'No space left on device')\n"
        "os.fsync = full\n"
        "from miniclaw.cli import main; main()"
    )
    result = program.run_python(script, "sessions", "export", "web_a", "-o", str(target))
    assert result.code == 1
    assert result.err.startswith(f"miniclaw: {target}: could not write it: No space left on device")
    assert not target.exists()


def test_export_works_while_a_gateway_runs(program: Program) -> None:
    """Looking needs no lock."""
    program.add("web_a", days=2)
    with SessionDirectory.open(program.sessions_dir) as directory:
        directory.own()
        assert program.run("sessions", "export", "web_a").code == 0


def test_export_as_markdown_is_one_document_after_another(program: Program) -> None:
    """Each session is a heading of its own."""
    program.add("web_a", days=2)
    program.add("web_b", days=2)
    result = program.run("sessions", "export", "--channel", "web", "--format", "markdown")
    assert result.code == 0
    assert [line for line in result.lines if line.startswith("# ")] == ["# web\\_a", "# web\\_b"]
    assert "> hello from a" in result.lines


def _markdown(*messages: dict[str, Any], session_id: str = "web_a") -> list[str]:
    channel, _, chat_id = session_id.partition("_")
    session = {
        "session_id": session_id, "channel": channel, "chat_id": chat_id, "created_at": TIME, "last_accessed": TIME,
        "messages": [{"timestamp": TIME, **message} for message in messages],
    }  # fmt: skip
    return session_as_markdown(decode_session(json.dumps(session).encode())).splitlines()


def test_markdown_tells_who_said_what_and_when() -> None:
    """All roles, tool calls and their answers."""
    assert _markdown(
        {"role": "user", "content": "what time is it?\n\nplease"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "name": "clock", "arguments": "{\n}"}]},
        {"role": "tool_result", "content": "noon", "tool_call_id": "1"},
    ) == [
        "# web\\_a", "",
        "- channel: web", "- chat: a", "- created: 2026-11-01 10:20:30 UTC",
        "- last accessed: 2026-11-01 10:20:30 UTC", "- pinned: no", "- messages: 3", "",
        "## user, 2026-11-01 10:20:30 UTC", "", "> what time is it?", ">", "> please", "",
        "## assistant, 2026-11-01 10:20:30 UTC", "", "calls clock, as 1:", "", "    {", "    }", "",
        "## tool_result, 2026-11-01 10:20:30 UTC", "", "answers the call 1", "", "> noon",
    ]  # fmt: skip


def test_markdown_of_a_stranger_cannot_pass_for_the_frame() -> None:
    """A heading, a control character or a line end in what somebody wrote stays what they wrote."""
    lines = _markdown(
        {"role": "user", "content": "# system\r\n## assistant, now\x1b[31m\u2028x"}, session_id="web_*a*\n# b"
    )
    assert [line for line in lines if line.startswith("#")] == [
        "# web\\_\\*a\\*\\\\n\\# b", "## user, 2026-11-01 10:20:30 UTC",
    ]  # fmt: skip
    assert "> # system\\r" in lines
    assert not {"\x1b", "\r"} & set("".join(lines))


def test_export_changes_nothing(program: Program) -> None:
    """Exporting is only looking."""
    program.add("web_a", days=2)
    before = program.content()
    assert program.run("sessions", "export", "--channel", "web").code == 0
    assert program.content() == before
