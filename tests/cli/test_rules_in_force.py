"""Commands that judge go by the rules of the gateway that runs, and say where the file differs, or is broken."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cli.test_asking_a_gateway import gateway_thread
from tests.fakes.gateway_beside import gateway_beside
from tests.fakes.program import Program

BROKEN = '[session]\nttl = 0\nmax_sessions = "x"\n'


@pytest.fixture
def running(program: Program) -> Iterator[Program]:
    """A program beside a gateway whose TTL is 5 days, while its file says nothing any more."""
    program.write_config('[session]\nttl = "5d"\n')
    program.add("web_old", days=6)
    with gateway_thread(program):
        program.write_config("")
        yield program


def _removes(program: Program) -> list[bool]:
    """Return whether each command that judges says that the session would go."""
    return [
        program.run("status", "--json").json["would_remove"]["sessions"] == 1,
        program.run("sessions", "cleanup", "--dry-run", "--json").json["remove"]["sessions"] == 1,
        [row["removes"] for row in program.run("sessions", "list", "--json").json] == [True],
        # The first run announces it, the next one takes it.
        [day["sessions"] for day in program.run("sessions", "forecast", "--json").json["days"][:2]] == [0, 1],
    ]


@pytest.mark.parametrize("text", ["", BROKEN, "no TOML"], ids=["differs", "broken", "no TOML"])
def test_commands_that_judge_go_by_the_rules_of_the_gateway(running: Program, text: str) -> None:
    """Its cleanup goes by them, whatever has become of the file since."""
    running.write_config(text)
    assert _removes(running) == [True] * 4


def test_commands_that_judge_go_by_the_file_without_a_gateway(program: Program) -> None:
    """Proves the test above."""
    program.write_config('[session]\nttl = "7d"\n')
    program.add("web_old", days=5)
    assert _removes(program) == [False] * 4
    program.write_config(BROKEN)
    for command in (["status"], ["sessions", "list"], ["sessions", "forecast"], ["sessions", "cleanup", "--dry-run"]):
        assert program.run(*command).code == 2


def test_file_that_differs_is_told_by_its_keys(running: Program) -> None:
    """In a line of `status`, in the dry run, and as a warning of the others."""
    says = f"{running.config_path} differs from the gateway's configuration: session.ttl. "
    (line,) = (line for line in running.run("status").lines if line.startswith("warning"))
    assert says in line
    assert f"warning: {says}" in running.run("sessions", "cleanup", "--dry-run").out
    for command in ("list", "forecast"):
        assert running.run("sessions", command).err.startswith(f"miniclaw: warning: {says}")
    document = running.run("status", "--json").json
    assert (document["rules_of"], document["rules"]["ttl"], document["config"]["session"]["ttl"]) == (
        "gateway",
        "5d",
        "5d",
    )
    assert [says in warning for warning in document["warnings"]] == [True]
    plan = running.run("sessions", "cleanup", "--dry-run", "--json").json
    assert [says in warning for warning in plan["warnings"]] == [True]


@pytest.mark.parametrize("text", ["", BROKEN], ids=["differs", "broken"])
def test_config_show_beside_a_gateway_shows_what_it_goes_by(running: Program, text: str) -> None:
    """What is in force, and not what would be; the file is a warning. A file that is named is shown itself."""
    running.write_config(text)
    result = running.run("config", "show")
    assert ('ttl = "5d"' in result.lines, "# as the running gateway uses it" in result.lines) == (True, True)
    assert result.err.startswith(f"miniclaw: warning: {running.config_path}")
    shown = running.run("config", "show", "--json").json
    assert (shown["of"], shown["config"]["session"]["ttl"]) == ("gateway", "5d")
    other = running.home / "other.toml"
    other.write_text('[session]\nttl = "9d"\n')
    named = running.run("--config", str(other), "config", "show", "--json").json
    assert (named["of"], named["config"]["session"]["ttl"]) == ("file", "9d")


def test_file_that_is_broken_is_told_in_one_line_and_hides_nothing(running: Program) -> None:
    """The gateway is well: what is wrong with the file is a warning, all of it."""
    running.write_config(BROKEN)
    result = running.run("status")
    assert (result.code, result.err) == (0, "")
    (line,) = (line for line in result.lines if line.startswith("warning"))
    assert f"{running.config_path}: session.ttl: 0 is not" in line
    assert "session.max_sessions: " in line
    assert any(
        line.startswith("rules") and "ttl = 5d" in line and line.endswith("(the gateway's)") for line in result.lines
    )


def test_broken_file_stops_what_removes_by_rules_and_nothing_else(running: Program) -> None:
    """What a person has not seen is not done; what goes by no rule is done by the gateway."""
    running.write_config(BROKEN)
    for command in (["sessions", "cleanup"], ["sessions", "delete", "web_old"], ["trash", "empty", "--expired"]):
        result = running.run(*command, "--yes")
        assert (result.code, result.out) == (2, ""), command
    assert running.files() == {"web_old.json"}
    assert running.run("sessions", "pin", "web_old").code == 0
    assert running.run("sessions", "export", "web_old").code == 0


def test_gateway_at_another_port_than_its_file_is_no_difference(program: Program) -> None:
    """An option of the command line stands for that; an edited log level is one."""
    program.add("web_a", days=1)
    with gateway_beside(program):
        assert not [line for line in program.run("status").lines if line.startswith("warning")]
        program.write_config('[log]\nlevel = "error"\n')
        assert "log.level" in json.dumps(program.run("status", "--json").json["warnings"])


def test_channel_that_there_is_not_is_a_line_in_status_and_dry_run(program: Program) -> None:
    """A TTL for it holds for nothing; most likely it is misspelt. One that a session has is right."""
    program.write_config('[session.ttl_by_channel]\ntelegran = "1d"\nmail = "7d"\n')
    program.add("mail_a", days=1)
    says = 'session.ttl_by_channel.telegran: no channel and no session is called telegran; did you mean "telegram"?'
    assert [line for line in program.run("status").lines if line.startswith("warning")] == [f"{'warning':<14}{says}"]
    assert program.run("sessions", "cleanup", "--dry-run").lines[-1] == f"warning: {says}"
    for command in (["status"], ["sessions", "cleanup", "--dry-run"]):
        assert program.run(*command, "--json").json["warnings"] == [says]


def test_gateway_logs_a_warning_for_a_channel_that_there_is_not_and_for_an_old_word(program: Program) -> None:
    """At its start, where an administrator looks first."""
    program.write_config(
        '[session]\ntrash_for = "never"\n[session.ttl_by_channel]\ntelegran = "1d"\nmail = "7d"\ntelegram = "1d"\n'
    )
    program.add("mail_a", days=1)
    log = program.home / "log"
    with gateway_beside(program, log=log):
        pass
    events = [json.loads(line) for line in log.read_text().splitlines()]
    warned = [(event["event"], event.get("key")) for event in events if event["level"] == "warning"]
    assert warned == [
        ("Configuration will be refused by a later version", None),
        ("TTL of an unknown channel", "session.ttl_by_channel.telegran"),
    ]


def test_channels_that_miniclaw_has_are_those_of_the_views() -> None:
    """A channel that is added here is no unknown one there."""
    from miniclaw.channels.telegram.meaning import CHANNEL
    from miniclaw.daemon.frontend import LIVE_CHANNELS
    from miniclaw.workspace.channels import CHANNELS

    assert {*LIVE_CHANNELS, CHANNEL} == CHANNELS
