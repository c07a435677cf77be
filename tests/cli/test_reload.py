"""SIGHUP to the real gateway: it reads its file again, and what it goes by then is seen from outside."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import httpx2
import pytest

from miniclaw.admin.client.client import GatewayClient
from tests.fakes.program import Program
from tests.fakes.signalled import Signalled, signalled_gateway

RELOADED = "Configuration reloaded"
NOT_RIGHT = "Configuration not reloaded: it is not right"
NEEDS_RESTART = "Configuration not reloaded: these keys need a restart"


@pytest.fixture
def gateway(program: Program) -> Iterator[Signalled]:
    """A gateway by the rules of an empty file, over a session that was used eight days ago."""
    program.write_config("")
    program.add("web_old", days=8)
    with signalled_gateway(program) as gateway:
        yield gateway
        assert gateway.end() == 0


def rules(program: Program) -> dict[str, str]:
    """Return the rules in force, as ``status`` has them; no warning says that the file is another."""
    status = program.run("status", "--json").json
    assert (status["rules_of"], status["warnings"]) == ("gateway", [])
    found: dict[str, str] = status["rules"]
    return found


def test_sighup_puts_a_changed_rule_in_force_for_all_that_asks(program: Program, gateway: Signalled) -> None:
    """Status, lists, plans, what is due, the API, and what a cleanup removes."""
    assert rules(program)["ttl"] == "30d"
    program.write_config('[session]\nttl = "7d"\nmax_sessions = 100\n')
    assert "SIGHUP, or a restart, puts the file in force" in json.dumps(
        program.run("status", "--json").json["warnings"]
    )
    event = gateway.send(signal.SIGHUP, RELOADED)
    assert (event["level"], sorted(event["keys"])) == ("info", ["session.max_sessions", "session.ttl"])
    assert rules(program) == {"ttl": "7d", "max_sessions": 100, "trash_for": "7d", "quarantine_for": "90d"}
    assert GatewayClient(program.home / "workspace").config()["session"]["ttl"] == "7d"
    assert program.run("status", "--json").json["would_remove"]["sessions"] == 1
    assert [row["removes"] for row in program.run("sessions", "list", "--json").json] == [True]
    assert [row["session_id"] for row in program.run("sessions", "due", "--json").json] == ["web_old"]
    shown = program.run("config", "show")
    assert ('ttl = "7d"' in shown.lines, shown.err) == (True, "")
    assert program.run("sessions", "cleanup", "--yes").code == 0  # no other rules than the command's
    assert program.files() == set()


def test_sighup_with_a_key_that_needs_a_restart_changes_nothing(program: Program, gateway: Signalled) -> None:
    """The file is refused whole, and the keys are named."""
    program.write_config('[session]\nttl = "7d"\n[web]\nenabled = false\nrequire_token = false\n')
    event = gateway.send(signal.SIGHUP, NEEDS_RESTART)
    assert (event["level"], event["keys"]) == ("error", ["web.enabled", "web.require_token"])
    status = program.run("status", "--json").json
    assert status["rules"]["ttl"] == "30d"
    assert "a restart puts the file in force" in json.dumps(status["warnings"])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[session\n", ": it is not TOML: "),
        ('[session]\nttl = 0\nttl_by_channel = {web = "7d"}\n', ': session.ttl: 0 is not a duration from "1h"'),
        ('[session]\ntll = "7d"\n', ": session.tll: unknown; known here are ttl, "),
        (None, ": there is no such file"),
    ],
    ids=["no TOML", "wrong value", "unknown key", "gone"],
)
def test_sighup_with_a_file_that_is_not_right_keeps_what_was(
    program: Program, gateway: Signalled, text: str | None, problem: str
) -> None:
    """The ERROR names file, key and what would be right; the mended file is taken."""
    if text is None:
        os.rename(program.config_path, program.config_path.with_suffix(".away"))  # as an editor may at the moment
    else:
        program.write_config(text)
    event = gateway.send(signal.SIGHUP, NOT_RIGHT)
    assert event["level"] == "error"
    (told,) = event["problems"]
    assert told.startswith(f"{program.config_path}{problem}")
    assert GatewayClient(program.home / "workspace").config()["session"]["ttl"] == "30d"
    program.write_config('[session]\nttl = "7d"\n')
    gateway.send(signal.SIGHUP, RELOADED)
    assert rules(program)["ttl"] == "7d"


def test_sighup_puts_another_log_in_force(program: Program, gateway: Signalled) -> None:
    """From the next line on: more of it, or for people."""
    program.write_config("[log]\nlevel = 'debug'\n")
    gateway.send(signal.SIGHUP, RELOADED)
    program.run("status")
    assert gateway.read_until("Request")["level"] == "debug"
    program.write_config("[log]\nformat = 'console'\n")
    gateway.process.send_signal(signal.SIGHUP)
    shown = gateway.read_line("Configuration reloaded")
    assert "[info" in shown
    assert "log.format" in shown
    program.write_config("")
    gateway.send(signal.SIGHUP, RELOADED)


def test_sighup_has_the_server_called_by_another_name(program: Program, gateway: Signalled) -> None:
    """Of what is opened at the start, a name more is no reason to close it."""
    (address,) = GatewayClient(program.home / "workspace").gateway().addresses

    def called(name: str) -> int:
        return httpx2.get(f"{address}/healthz", headers={"host": name}, trust_env=False).status_code

    assert called("claw.lan") == 421
    program.write_config('[web]\nallowed_hosts = ["claw.lan"]\n')
    assert gateway.send(signal.SIGHUP, RELOADED)["keys"] == ["web.allowed_hosts"]
    assert (called("claw.lan"), called("other.lan")) == (200, 421)
    program.write_config("")
    gateway.send(signal.SIGHUP, RELOADED)
    assert called("claw.lan") == 421


def test_sighup_has_the_options_of_the_command_hold_on(program: Program) -> None:
    """The port that the command line says is no change of the file's, and the file's is none of the gateway."""
    program.write_config("")
    with signalled_gateway(program, "--port", "0", "--host", "127.0.0.1") as gateway:
        program.write_config('[web]\nport = 1\nhost = "0.0.0.0"\n')
        assert gateway.send(signal.SIGHUP, RELOADED)["keys"] == []
        assert gateway.end() == 0


def test_sighup_of_a_named_file_reads_that_file(program: Program) -> None:
    """``--config`` holds on as well; an old word in it is a WARNING again."""
    other = program.home / "other.toml"
    program.write_config("")
    other.write_text("")
    with signalled_gateway(program, "--port", "0", config=other) as gateway:
        other.write_text('[session]\ntrash_for = "never"\n')
        gateway.process.send_signal(signal.SIGHUP)
        warned = gateway.read_until("Configuration will be refused by a later version")
        assert str(other) in warned["problem"]
        assert gateway.read_until(RELOADED)["keys"] == ["session.trash_for"]
        assert gateway.end() == 0
