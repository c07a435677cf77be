"""The program without what only Linux has: each name that is missing on macOS is missing here, and nothing asks for it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.fakes.elsewhere import LINUX_ONLY
from tests.fakes.gateway_beside import gateway_beside
from tests.fakes.program import TIMEOUT_SECONDS, Program, Result

ELSEWHERE = "from tests.fakes.elsewhere import forget_linux; forget_linux()\n"
COMMAND = f"{ELSEWHERE}from miniclaw.cli import main; main()"

RUNTIME = f"""{ELSEWHERE}
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
import trio
import miniclaw
from miniclaw.clock import SystemClock
from miniclaw.session.disk.sync import sync_data
from miniclaw.session.disk.syscalls import OsCalls
from tests.fakes.samples import write_session

async def live(path):
    clock = SystemClock()
    begun = clock.boottime()
    policy = miniclaw.RetentionPolicy(trash_for=timedelta(days=7))
    async with miniclaw.open_runtime(path, policy=policy, cleanup_interval_seconds=None) as runtime:
        manager = runtime.manager
        for chat_id in ("1", "Bob"):
            await manager.get_or_create_session("web", chat_id)
            await manager.add_message(f"web_{{chat_id}}", miniclaw.Message("user", "hi", datetime.now(UTC)))
        assert (await manager.save_all_sessions()).saved == 2
        write_session(path, "web_old", datetime(2020, 1, 1, tzinfo=UTC))
        assert (await runtime.cleanup.run()).sessions_deleted == 1
        assert await manager.restore_session("web_old") == "web_old"
        await manager.delete_session("web_Bob")
        assert (await runtime.usage.measure()).sessions.files == 2
    assert clock.boot_id() and clock.boottime() >= begun and not clock.synchronised()
    with open(path / "web_1.json", "r+b") as file:
        OsCalls().read_ahead(file.fileno(), 1)
        sync_data(OsCalls(), file.fileno())
    assert not hasattr(os, "fdatasync") and not hasattr(os, "posix_fadvise")
    print(sorted(each.name for each in path.glob("*.json")))

trio.run(live, Path(sys.argv[1]))
"""


def run(program: Program, *args: str) -> Result:
    result = program.run_python(COMMAND, *args)
    assert result.code == 0, result
    return result


def test_names_that_only_linux_has_are_there_to_be_taken_away() -> None:
    """The list is of real names: of each module it takes some, and the ones that matter most."""
    taken = Program(Path("none")).run_python(
        "from tests.fakes.elsewhere import LINUX_ONLY, forget_linux\n"
        "before = {module.__name__: set(vars(module)) for module in LINUX_ONLY}\nforget_linux()\n"
        "import json\nprint(json.dumps({module.__name__: sorted(before[module.__name__] - set(vars(module)))"
        " for module in LINUX_ONLY}))"
    )
    names = json.loads(taken.out)
    assert all(names[module.__name__] for module in LINUX_ONLY)
    assert {"posix_fadvise", "O_PATH", "memfd_create", "pipe2", "fdatasync", "getrandom"} <= set(names["os"])
    assert "CLOCK_BOOTTIME" in names["time"]
    assert {"SO_PEERCRED", "TCP_USER_TIMEOUT", "SOCK_NONBLOCK"} <= set(names["socket"])


def test_runtime_lives_without_what_only_linux_has(tmp_path: Path) -> None:
    """Messages, saves, a cleanup, the trash and a measurement, by the clocks that such a system has."""
    result = Program(tmp_path / "home").run_python(RUNTIME, str(tmp_path / "sessions"))
    assert result.out == "['web_1.json', 'web_old.json']\n", result
    assert result.code == 0


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A program beside a gateway, both without what only Linux has."""
    place = tmp_path_factory.mktemp("elsewhere")
    program = Program(place / "home")
    program.add("web_a", days=1)
    with gateway_beside(program, prepared_by=ELSEWHERE, log=place / "log") as gateway:
        yield program
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(TIMEOUT_SECONDS) == 0
    events = [json.loads(line) for line in (place / "log").read_text().splitlines()]
    assert [event for event in events if event["level"] in {"warning", "error"}] == []
    assert {"Gateway started", "Gateway stopped"} <= {event["event"] for event in events}


def test_gateway_answers_the_commands_of_such_a_system(program: Program) -> None:
    """Over its socket: looking, chatting, deleting and restoring."""
    assert run(program, "chat", "-m", "good morning", "--as", "anna").out == "good morning\n"
    assert [row["session_id"] for row in run(program, "sessions", "list", "--json").json] == [
        "console_anna", "web_a",
    ]  # fmt: skip
    run(program, "sessions", "delete", "web_a", "--yes")
    run(program, "trash", "restore", "web_a")
    assert run(program, "status", "--json").json["gateway"] is not None


def test_gateway_serves_its_page_and_its_metrics(program: Program) -> None:
    """Over TCP, with a one-time link for the page and the token for the metrics; memory is not known there."""
    link = run(program, "open", "--print").out.strip()
    address = link.partition("/login")[0]
    assert httpx2.get(f"{address}/healthz", trust_env=False).status_code == 200
    token = (program.home / "workspace" / "web-token").read_text().strip()
    answer = httpx2.get(f"{address}/metrics", headers={"Authorization": f"Bearer {token}"}, trust_env=False)
    assert "miniclaw_" in answer.text
