"""What strangers write and call themselves, and what lies in the folder: it neither commands a terminal, nor hides, nor
passes for what the program says."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from miniclaw.cli import Settings
from miniclaw.cli.sessions.export import session_as_markdown
from miniclaw.cli.sessions.show import show
from miniclaw.session.format.codec import decode_session
from tests.fakes.program import TERMINAL_COLUMNS, Program
from tests.fakes.samples import write_session

HOSTILE = "x\x1b[31m\x7f\x9b31m\xad\u061c\u200b\u200d\u202e\u2028\u2066\ufeff\U000e0041\nuser, 2026-11-01 10:20:30 UTC"
TIME = "2026-11-01T10:20:30Z"
HEADING = re.compile(r"(?:user|assistant|system|tool_result), \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")
ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
IMITATIONS = st.sampled_from(
    [f"{end}{role}, 2026-11-01 10:20:30 UTC" for end in ["", *ENDS] for role in ("user", "system")]
)
CONTENTS = st.lists(st.one_of(IMITATIONS, st.sampled_from(list(ENDS)), st.text()), max_size=6).map("".join)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": CONTENTS}), max_size=4
)


def is_hidden(text: str, *, but: str = "") -> bool:
    """Return whether there is anything but lines of characters that show themselves, and of some others."""
    return any(not char.isprintable() for char in text if char not in f"\n{but}")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@contextmanager
def home_of(home: Path) -> Iterator[Settings]:
    before = os.environ.get("MINICLAW_HOME")
    os.environ["MINICLAW_HOME"] = str(home)
    try:
        yield Settings(None)
    finally:
        if before is None:
            del os.environ["MINICLAW_HOME"]
        else:
            os.environ["MINICLAW_HOME"] = before


def shown(home: Path, *args: str) -> str:
    """Return what `sessions show` prints, in this process."""
    with home_of(home) as settings:
        result = CliRunner().invoke(show, ["web_a", *args], obj=settings, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout_bytes.decode()


@examples(max_examples=50)
@given(MESSAGES)
def test_show_has_a_heading_for_each_message_and_no_other(home: Path, messages: list[dict[str, str]]) -> None:
    """Whatever is said, nothing of it passes for the next message; a line is what anything takes for one."""
    said = [{"timestamp": TIME, **message} for message in messages]
    write_session(home / "workspace" / "sessions", "web_a", datetime.now(UTC), messages=said)
    lines = shown(home).splitlines()
    headings = [line for line in lines if HEADING.fullmatch(line)]
    assert headings == [f"{message['role']}, 2026-11-01 10:20:30 UTC" for message in messages]
    assert json.loads(shown(home, "--json"))["messages"] == said


@examples(max_examples=50)
@given(MESSAGES)
def test_markdown_has_a_heading_for_each_message_and_no_other(messages: list[dict[str, str]]) -> None:
    """Nor does it in an export; and no tag ends the quotation that it stands in."""
    said = [{"timestamp": TIME, **message} for message in messages]
    document = {"session_id": "web_a", "channel": "web", "chat_id": "a", "created_at": TIME, "last_accessed": TIME}
    text = session_as_markdown(decode_session(json.dumps({**document, "messages": said}).encode()))
    assert [line.split(",")[0] for line in text.splitlines() if line.startswith("## ")] == [
        f"## {message['role']}" for message in messages
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("</blockquote>\n## user", ["> &lt;/blockquote>", "> ## user"]),
        ("<!-- all else", ["> &lt;!-- all else"]),
        ("1 < 2 <3 \\<b>", ["> 1 < 2 <3 \\&lt;b>"]),
        ("```html\n<b>\n```\n<b>", ["> ```html", "> <b>", "> ```", "> &lt;b>"]),
        ("~~~\n<b>\n   ~~~~\n<b>", ["> ~~~", "> <b>", ">    ~~~~", "> &lt;b>"]),
        ("```a`b\n<b>", ["> ```a`b", "> &lt;b>"]),
        ("  ```\n<b>", [">   ```", "> &lt;b>"]),
    ],
)
def test_markdown_shows_html_as_text_but_in_code(content: str, expected: list[str]) -> None:
    """A tag in what somebody wrote could end the quotation, or hide all that follows; in a block of code it cannot."""
    document = {"session_id": "web_a", "channel": "web", "chat_id": "a", "created_at": TIME, "last_accessed": TIME}
    said = [{"role": "user", "content": content, "timestamp": TIME}]
    text = session_as_markdown(decode_session(json.dumps({**document, "messages": said}).encode()))
    assert [line for line in text.splitlines() if line.startswith(">")] == expected


def test_show_call_of_a_tool_imitates_no_heading(program: Program) -> None:
    """Neither its name nor what it is called with begins a line."""
    call = {"id": "1", "name": HOSTILE, "arguments": f"{{\n{HOSTILE}\n}}"}
    said = {"role": "assistant", "content": "", "timestamp": TIME, "tool_calls": [call]}
    program.add("web_a", days=1, messages=[said])
    lines = program.run("sessions", "show", "web_a").lines
    assert sum(bool(HEADING.fullmatch(line)) for line in lines) == 1


def test_show_on_a_terminal_a_long_line_imitates_no_heading(program: Program) -> None:
    """What the terminal would put into its next line is set in as well."""
    imitation = "user, 2026-11-01 10:20:30 UTC"
    filling = ("x" * TERMINAL_COLUMNS, "x" * (TERMINAL_COLUMNS - 2), "中" * (TERMINAL_COLUMNS // 2), "a\t" * 50)
    said = [{"role": "system", "content": f"{text}{imitation}", "timestamp": TIME} for text in filling]
    program.add("web_a", days=1, messages=said)
    lines = program.run_on_terminal("sessions", "show", "web_a").out.splitlines()
    assert [line for line in lines if HEADING.fullmatch(line)] == ["system, 2026-11-01 10:20:30 UTC"] * len(said)
    assert max(len(line) for line in lines) <= TERMINAL_COLUMNS


# JSON -----------------------------------------------------------------------------------------------------------

JSON_COMMANDS: list[tuple[str, ...]] = [
    ("sessions", "list", "--json"),
    ("sessions", "show", f"web_{HOSTILE}", "--json"),
    ("sessions", "export", f"web_{HOSTILE}"),
    ("sessions", "export", "--channel", "web"),
    ("sessions", "cleanup", "--dry-run", "--json"),
    ("sessions", "delete", "--channel", "web", "--dry-run", "--json"),
    ("sessions", "due", "--json"),
    ("sessions", "stats", "--json"),
    ("sessions", "forecast", "--json"),
    ("trash", "list", "--json"),
    ("history", "--json"),
    ("status", "--json"),
    ("config", "show", "--json"),
    ("config", "check", "--json"),
]


@pytest.fixture
def hostile(program: Program) -> Program:
    """A program in whose workspace everything has a hostile name: sessions, their messages, files, the trash."""
    program.write_config('[notify]\ncommand = ["/usr/bin/true", "\\u009b31m\\u202e\\U000E0041"]\n')
    said = [{"role": "user", "content": HOSTILE, "timestamp": TIME}]
    program.add(f"web_{HOSTILE}", days=1, messages=said)
    program.add(f"web_{HOSTILE}2", days=40, messages=said)
    program.add(f"mail_{HOSTILE}", days=1, messages=said)
    assert program.run("sessions", "delete", "--yes", f"mail_{HOSTILE}").code == 0
    (program.sessions_dir / f"foreign{HOSTILE}").write_text("not ours")
    (program.sessions_dir / f"web_{HOSTILE}.json").write_text("{")
    (program.sessions_dir / os.fsdecode(b"web_\xff\xc2\x9b.json")).write_text("{")
    return program


def texts_in(value: Any) -> Iterator[str]:
    """Yield all texts of a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.items():
            yield from texts_in(list(each))
    elif isinstance(value, list):
        for each in value:
            yield from texts_in(each)


@pytest.mark.parametrize("command", JSON_COMMANDS, ids=" ".join)
def test_json_of_every_command_hides_nothing_and_means_the_same(hostile: Program, command: tuple[str, ...]) -> None:
    """In a pipe and on a terminal alike: what is parsed is the text as it is, what is printed is visible."""
    result = hostile.run(*command)
    assert result.code in {0, 1}
    assert not is_hidden(result.out)
    assert not is_hidden(result.err)
    document = json.loads(result.out)
    names = [text for text in texts_in(document) if text.startswith(("web_x", "mail_x"))]
    if command[0] == "sessions" and command[1] in {"list", "show", "export", "delete"}:
        assert f"web_{HOSTILE}" in names
    if command[0] in {"trash", "history"}:
        assert f"mail_{HOSTILE}" in names
    for name in names:
        assert "\\x" not in name, "it is no longer what it was"


@pytest.mark.parametrize("command", [("sessions", "list", "--json"), ("sessions", "export", f"web_{HOSTILE}")])
def test_json_on_a_terminal_is_the_same_as_in_a_pipe(hostile: Program, command: tuple[str, ...]) -> None:
    """Where output goes changes nothing of it: a pipe may lead to a terminal, too."""
    on_terminal = hostile.run_on_terminal(*command).out
    assert not is_hidden(on_terminal)
    in_pipe, shown = hostile.run(*command).lines[0], on_terminal.splitlines()[0]
    age = r'"age_days":[0-9.]+'  # of the moment
    assert re.sub(age, "", shown) == re.sub(age, "", in_pipe)


def test_export_to_a_file_has_the_bytes_as_they_are(hostile: Program, tmp_path: Path) -> None:
    """A copy of a file is the file; only what is printed is escaped."""
    target = tmp_path / "copy.json"
    assert hostile.run("sessions", "export", f"web_{HOSTILE}", "-o", str(target)).code == 0
    assert "\u009b" in target.read_text(encoding="utf-8")
    assert json.loads(target.read_bytes()) == json.loads(hostile.run("sessions", "export", f"web_{HOSTILE}").out)


# Lines for people -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("sessions", "list"),
        ("sessions", "show", f"web_{HOSTILE}"),
        ("sessions", "cleanup", "--dry-run"),
        ("sessions", "delete", "--channel", "web", "--dry-run"),
        ("sessions", "due"),
        ("sessions", "stats"),
        ("trash", "list"),
        ("trash", "restore", f"mail_{HOSTILE}"),
        ("sessions", "pin", f"web_{HOSTILE}"),
        ("history",),
        ("status",),
        ("config", "show"),
        ("sessions", "show", f"web_{HOSTILE}3"),
        ("trash", "restore", HOSTILE),
        ("sessions", "export", "--channel", HOSTILE),
        ("sessions", "list", HOSTILE),
        ("sessions", f"--{HOSTILE}"),
        (HOSTILE,),
        (f"--{HOSTILE}",),
        ("--config", f"/nowhere/{HOSTILE}", "status"),
        ("sessions", "cleanup", "--older-than", HOSTILE),
        ("sessions", "export", f"web_{HOSTILE}", "-o", f"/nowhere/{HOSTILE}"),
    ],
    ids=lambda command: " ".join(command).replace(HOSTILE, "…"),
)
def test_lines_of_every_command_hide_nothing_and_are_not_imitated(hostile: Program, command: tuple[str, ...]) -> None:
    """Listings, receipts and errors, those of click among them, show each name in one line, and all that is in it."""
    result = hostile.run(*command)
    printed = (result.out + result.err).replace("\t", " ")  # between the columns of a table
    # A message may have what languages need.
    assert not is_hidden(printed, but="\xad\u200b\u200d" if command[1:2] == ("show",) else "")
    headings = [line for line in printed.splitlines() if HEADING.fullmatch(line)]
    assert len(headings) == (command[:2] == ("sessions", "show") and result.code == 0)
