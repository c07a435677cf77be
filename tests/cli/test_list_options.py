"""``sessions list`` with its options: which are shown, in which order, and what budgets will take of them."""

from __future__ import annotations

import pytest

from tests.fakes.program import Program


def _listed(program: Program, *options: str) -> list[str]:
    result = program.run("sessions", "list", *options)
    assert result.code == 0, result
    return [line.split("\t")[0] for line in result.lines[1:]]


@pytest.fixture
def four(program: Program) -> Program:
    """A workspace with four sessions of different channels, ages and sizes."""
    program.add("web_b", days=3, mood="x" * 300)
    program.add("web_a", days=10)
    program.add("telegram_c", days=1, mood="x" * 2000)
    program.add("telegram_web", days=20, mood="x" * 30)
    return program


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ([], ["telegram_c", "web_b", "web_a", "telegram_web"]),
        (["--channel", "web"], ["web_b", "web_a"]),
        (["--channel", "mail"], []),
        (["--older-than", "5d"], ["web_a", "telegram_web"]),
        (["--older-than", "240h", "--channel", "telegram"], ["telegram_web"]),
        (["--sort", "age"], ["telegram_web", "web_a", "web_b", "telegram_c"]),
        (["--sort", "size"], ["telegram_c", "web_b", "telegram_web", "web_a"]),
        (["--sort", "name"], ["telegram_c", "telegram_web", "web_a", "web_b"]),
        (["--sort", "age", "--limit", "1"], ["telegram_web"]),
        (["--limit", "9"], ["telegram_c", "web_b", "web_a", "telegram_web"]),
    ],
    ids=str,
)  # fmt: skip
def test_list_options_choose_and_order(four: Program, options: list[str], ids: list[str]) -> None:
    """Each option does what it says, alone and together with others; also for programs."""
    assert _listed(four, *options) == ids
    assert [row["session_id"] for row in four.run("sessions", "list", "--json", *options).json] == ids


def test_list_limit_tells_how_many_it_leaves_out(four: Program) -> None:
    """A limit never passes for the whole."""
    assert "2 more sessions" in four.run("sessions", "list", "--limit", "2").err
    assert four.run("sessions", "list", "--limit", "4").err == ""


@pytest.mark.parametrize(
    ("options", "right"),
    [
        (["--older-than", "5"], "a whole number and a unit"),
        (["--older-than", "-5d"], "a whole number and a unit"),
        (["--channel", "Web"], "a channel is 1 to 32 of a-z, 0-9 and -"),
        (["--channel", ""], "a channel is 1 to 32 of a-z, 0-9 and -"),
        (["--limit", "0"], "x>=1"),
        (["--sort", "color"], "'age', 'size', 'name'"),
    ],
    ids=str,
)
def test_list_option_that_is_wrong_says_what_would_be_right(four: Program, options: list[str], right: str) -> None:
    """A wrong value is refused with exit code 2 and the right ones."""
    result = four.run("sessions", "list", *options)
    assert (result.code, result.out) == (2, "")
    assert right in result.err


def test_list_shows_pins(program: Program) -> None:
    """A pinned session is told, and will not expire."""
    program.add("web_a", days=400)
    assert program.run("sessions", "pin", "web_a").code == 0
    result = program.run("sessions", "list")
    assert result.lines[1].split("\t")[3] == "kept, pinned"
    (row,) = program.run("sessions", "list", "--json").json
    assert (row["pinned"], row["removes"], row["reason"]) == (True, False, "pinned")


def test_list_shows_what_a_budget_will_take_as_the_dry_run_does(program: Program) -> None:
    """Whether a session goes depends on all of them, also where only some are shown."""
    program.write_config("[session]\nmax_sessions = 2\n")
    for days in (2, 3, 4):
        program.add(f"web_{days}", days=days)
    program.add("telegram_5", days=5)
    fates = {
        line.split("\t")[0]: line.split("\t")[3]
        for line in program.run("sessions", "list", "--channel", "web").lines[1:]
    }
    assert fates == {"web_2": "expires in 28d", "web_3": "expires in 27d", "web_4": "due, max_sessions"}
    planned = program.run("sessions", "cleanup", "--dry-run", "--json").json
    listed = program.run("sessions", "list", "--json").json
    assert {row["session_id"] for row in listed if row["removes"]} == {
        row["session_id"] for row in planned["sessions"]
    } == {"web_4", "telegram_5"}  # fmt: skip
    assert not any(row["expired"] for row in listed)
