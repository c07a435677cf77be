"""Commands beside a gateway: they ask it, see what it has in memory, and say in one sentence what is wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from miniclaw.config import Home, load_config
from miniclaw.session.executor import REMOVAL_BATCH
from miniclaw.session.files.directory import SessionDirectory
from tests.admin.test_client import OURS, answering, http
from tests.fakes.gateway_beside import gateway_beside
from tests.fakes.gateway_thread import GatewayThread
from tests.fakes.os_calls import FaultyOs
from tests.fakes.program import TIMEOUT_SECONDS, Program

DIES_REMOVING = """
import os, signal
from miniclaw.session.disk.syscalls import OsCalls
unlink = OsCalls.unlink
def die(self, name, *, dir_fd):
    if name == "web_victim.json":
        os.kill(os.getpid(), signal.SIGKILL)
    unlink(self, name, dir_fd=dir_fd)
OsCalls.unlink = die
"""


@contextmanager
def gateway_thread(program: Program, *, fs: FaultyOs | None = None) -> Iterator[GatewayThread]:
    gateway = GatewayThread(Home(program.home), load_config(program.config_path, required=False), fs=fs)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A program beside a real gateway, for all tests that leave it as it is."""
    program = Program(tmp_path_factory.mktemp("running") / "home")
    program.write_config('[session]\ntrash_for = "7d"\nmode = "announce"\n')
    program.add("web_seed", days=1)
    with gateway_beside(program):
        yield program


# What is done -------------------------------------------------------------------------------------------------


def test_all_that_needs_the_workspace_goes_through_the_gateway(running: Program) -> None:
    """Nothing has to be stopped: it is done by the gateway, and told as if the command had done it itself."""
    for session_id, days in (("web_a", 1), ("web_b", 1), ("web_old", 40)):
        running.add(session_id, days=days)
    assert running.run("sessions", "pin", "web_b").out == "Pinned web_b.\n"
    assert running.run("sessions", "delete", "--yes", "web_a").out.startswith("Moved web_a to the trash, ")
    assert running.run("trash", "restore", "web_a").out == "Restored web_a; it counts as used just now.\n"
    assert running.run("sessions", "delete", "--yes", "web_a").code == 0
    assert running.run("trash", "empty", "--yes", "web_a").out.startswith("1 entry deleted for good, ")
    assert running.run("sessions", "cleanup", "--yes").lines[0].startswith("3 sessions scanned, 1 removed, ")
    assert running.run("sessions", "unpin", "web_b").out == "Unpinned web_b.\n"
    assert running.files() == {"web_seed.json", "web_b.json"}
    told = running.run("history", "--json").json
    assert [(event["event"], event["by"]) for event in told][-5:] == [
        ("deleted", "command"), ("restored", "command"), ("deleted", "command"), ("trash_emptied", "command"),
        ("cleanup", "command"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "command", [["list", "--json"], ["show", "web_unsaved"], ["export", "web_unsaved"]], ids=" ".join
)
def test_looking_sees_what_the_gateway_has_in_memory_only(program: Program, command: list[str]) -> None:
    """A gateway is asked to save before somebody looks."""
    program.add("web_a", days=1)
    with gateway_thread(program) as gateway:
        manager = gateway.context.runtime.manager
        gateway.do(partial(manager.get_or_create_session, "web", "unsaved"))
        assert program.files() == {"web_a.json"}
        result = program.run("sessions", *command)
    assert (result.code, result.err) == (0, "")
    assert "web_unsaved" in result.out


def test_delete_finds_what_the_gateway_has_in_memory_only(program: Program) -> None:
    """And it is gone from there as well."""
    program.add("web_a", days=1)
    with gateway_thread(program) as gateway:
        manager = gateway.context.runtime.manager
        gateway.do(partial(manager.get_or_create_session, "web", "unsaved"))
        assert program.run("sessions", "delete", "--yes", "web_unsaved").code == 0
        assert manager.live_sessions() == 0
    assert program.files() == {"web_a.json"}


# What is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "key", "ours", "theirs"),
    [
        ('ttl = "1h"', "session.ttl", '"1h"', '"30d"'),
        ("max_sessions = 5", "session.max_sessions", "5", '"never"'),
        ('trash_for = "1d"', "session.trash_for", '"1d"', '"7d"'),
        ('ttl_by_channel = {web = "1d"}', "session.ttl_by_channel.web", '"1d"', '"never"'),
    ],
)
@pytest.mark.parametrize("command", [["cleanup"], ["delete", "web_seed"]], ids=" ".join)
def test_other_rules_than_the_gateways_are_refused(
    running: Program, command: list[str], rule: str, key: str, ours: str, theirs: str
) -> None:
    """What a person has seen by one set of rules is not done by another; the key and both values are named."""
    other = running.home / "other.toml"
    other.write_text(f'[session]\ntrash_for = "7d"\n{rule}\n' if "trash" not in rule else f"[session]\n{rule}\n")
    result = running.run("--config", str(other), "sessions", *command, "--yes")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        f"miniclaw: {other}: {key} = {ours}, but the gateway that runs goes by {key} = {theirs}; "
        "send it SIGHUP to have it read its file again, or use its configuration\n"
    )
    asked = running.run_on_terminal("--config", str(other), "sessions", *command)
    assert "[y/N]" not in asked.out
    assert "web_seed.json" in running.files()


def test_what_is_no_rule_may_differ(running: Program) -> None:
    """The log, the model and the mode do not say what is removed."""
    other = running.home / "other.toml"
    other.write_text('[session]\ntrash_for = "7d"\n[log]\nlevel = "error"\n[web]\nport = 1234\n')
    assert running.run("--config", str(other), "sessions", "cleanup", "--yes").code == 0


@pytest.mark.parametrize("stale", [False, True], ids=["no socket", "a socket that was left"])
def test_holder_that_cannot_be_asked_is_told_by_its_pid(program: Program, stale: bool) -> None:
    """A program that embeds the runtime has no socket; a gateway that was killed has left one."""
    program.add("web_a", days=1)
    if stale:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(program.home / "workspace" / "gateway.sock"))
    with SessionDirectory.open(program.sessions_dir) as directory:
        directory.own()
        result = program.run("sessions", "delete", "--yes", "web_a")
    assert (result.code, result.out) == (1, "")
    assert f"is held by process {os.getpid()}; stop it first" in result.err


def test_socket_that_was_left_behind_hinders_nobody(program: Program) -> None:
    """Where nobody holds the workspace, the command does it itself."""
    program.add("web_a", days=1)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(program.home / "workspace" / "gateway.sock"))
    result = program.run("sessions", "delete", "--yes", "web_a")
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (http(503, '{"title":"","status":503,"detail":"busy"}', OURS), "the gateway refuses: busy; what is shown"),
        (http(200, '{"saved":0,"failed":3,"failed_session_ids":[]}', OURS), "could not save 3 of its sessions"),
        (b"", "the gateway ended before it had answered"),
        (http(404, "nothing"), "has another version of miniclaw"),
    ],
    ids=["refused", "failed", "ended", "another version"],
)
def test_looking_without_a_save_is_a_warning(program: Program, answer: bytes, says: str) -> None:
    """What is on the disk is shown all the same, and the exit code is that of the looking."""
    program.add("web_a", days=1)
    with answering(program.home / "workspace", answer):
        result = program.run("sessions", "list", "--json")
    assert (result.code, [row["session_id"] for row in result.json]) == (0, ["web_a"])
    assert result.err.startswith("miniclaw: warning: ")
    assert says in result.err


# What goes wrong meanwhile ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["cleanup"], ["delete", "web_victim"]], ids=" ".join)
def test_gateway_killed_in_the_middle_is_told_in_a_sentence(program: Program, command: list[str]) -> None:
    """kill -9 while it removes: the command says what it knows, and the session is there or removed, and whole."""
    program.write_config('[session]\nmode = "announce"\n')
    program.add("web_victim", days=40)
    with gateway_beside(program, prepared_by=DIES_REMOVING) as gateway:
        result = program.run("sessions", *command, "--yes")
        assert gateway.wait(TIMEOUT_SECONDS) == -signal.SIGKILL
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        f"miniclaw: {program.home / 'workspace' / 'gateway.sock'}: the gateway ended before it had answered; "
        "`miniclaw history` shows what it removed until then\n"
    )
    assert program.run("sessions", *command, "--yes").code == 0
    assert program.files() == set()


def test_ctrl_c_ends_the_gateways_cleanup_after_its_batch(program: Program, fs: FaultyOs) -> None:
    """A signal to the command stops its cleanup, not the gateway and not the second cleanup, which has waited."""
    program.write_config('[session]\ntrash_for = "off"\n')
    for number in range(2 * REMOVAL_BATCH):
        program.add(f"web_{number}", days=40)
    gate = fs.block("unlink", path="web_")
    with gateway_thread(program, fs=fs) as gateway:
        heard = _hearing_interrupts(gateway)
        command = _start(program, "sessions", "cleanup", "--yes")
        assert gate.reached.wait(TIMEOUT_SECONDS)
        waiting = _start(program, "sessions", "cleanup", "--yes")
        command.send_signal(signal.SIGINT)
        assert heard.wait(TIMEOUT_SECONDS)
        gate.opened.set()
        out, err = command.communicate(timeout=TIMEOUT_SECONDS)
        assert command.returncode == 1
        assert "Interrupted; what is neither removed nor being removed is as it was." in err
        assert f"{2 * REMOVAL_BATCH} sessions scanned, {REMOVAL_BATCH} removed" in out
        out, err = waiting.communicate(timeout=TIMEOUT_SECONDS)
        assert (waiting.returncode, err) == (0, "")
        assert f"{REMOVAL_BATCH} sessions scanned, {REMOVAL_BATCH} removed" in out
    assert program.files() == set()


def _hearing_interrupts(gateway: GatewayThread) -> threading.Event:
    """Return an event that is set when somebody stops the gateway's cleanup."""
    heard, cleanup = threading.Event(), gateway.context.runtime.cleanup
    interrupt = cleanup.interrupt

    def hear() -> bool:
        there_is_one = interrupt()
        heard.set()
        return there_is_one

    cleanup.interrupt = hear  # type: ignore[method-assign]
    return heard


def _start(program: Program, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "miniclaw", *args],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=program._environment({}), text=True,
    )  # fmt: skip


@pytest.fixture
def fs() -> FaultyOs:
    return FaultyOs()


def test_workspace_with_a_long_path_is_asked_as_well(tmp_path: Path) -> None:
    """The path of a socket is short; that of a workspace need not be."""
    program = Program(tmp_path / ("x" * 90) / "home")
    program.add("web_a", days=1)
    with gateway_thread(program):
        assert program.run("sessions", "pin", "web_a").out == "Pinned web_a.\n"
