"""The gateway with a model behind HTTP: the configured one answers, and its trouble is nobody else's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from miniclaw.config import Config, Home
from miniclaw.config.model import ModelConfig
from miniclaw.errors import ConfigError
from miniclaw.gateway import run_gateway
from tests.fakes.logs import LogRecorder
from tests.fakes.model_server import Exchange, ModelServer, open_model_server, saying
from tests.fakes.openai import KEY
from tests.fakes.patience import PATIENCE_SECONDS
from tests.test_gateway import ScriptedChannel


def said(home: Home, session_id: str = "script_1") -> list[tuple[str, str]]:
    saved = json.loads((home.sessions_dir / f"{session_id}.json").read_text())
    return [(message["role"], message["content"]) for message in saved["messages"]]


def openai(server: ModelServer, **values: Any) -> Config:
    return Config(model=ModelConfig("openai", server.base_url, "tiny", "MODEL_KEY", **values))


async def converse(config: Config, home: Home, *texts: str) -> list[str]:
    """Run a gateway over these messages, one after the other, and return the answers."""
    channel = ScriptedChannel()
    answers = []
    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                await run_gateway(config, home, channels=[channel])

            nursery.start_soon(run)
            for text in texts:
                await channel.say.send(text)
                answers.append((await channel.replies.receive()).content)
            channel.say.close()
    return answers


async def test_run_gateway_configured_model_answers_and_is_given_the_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is configured is asked, with what was said before, the system prompt and the key."""
    monkeypatch.setenv("MODEL_KEY", KEY)
    home = Home(tmp_path)
    home.workspace.mkdir()
    (home.workspace / "SYSTEM.md").write_text("Be brief.")
    async with open_model_server(saying("fi", "ne")) as server:
        assert await converse(openai(server), home, "how are you?", "really?") == ["fine", "fine"]
        assert server.requests[1].body["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "how are you?"},
            {"role": "assistant", "content": "fine"},
            {"role": "user", "content": "really?"},
        ]
        assert server.requests[1].headers["authorization"] == f"Bearer {KEY}"
    assert said(home) == [
        ("user", "how are you?"), ("assistant", "fine"), ("user", "really?"), ("assistant", "fine"),
    ]  # fmt: skip


async def test_run_gateway_trouble_of_a_model_costs_one_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: LogRecorder
) -> None:
    """A wrong key, a page of HTML, a stream that breaks: each is told, nothing is lost, and the gateway goes on."""
    logs.expect_error("Model did not answer")
    monkeypatch.setenv("MODEL_KEY", KEY)
    home = Home(tmp_path)

    async def wrong_key(exchange: Exchange) -> None:
        await exchange.fail(401, body=f"no: {exchange.headers['authorization']}".encode())

    async def html(exchange: Exchange) -> None:
        await exchange.head(content_type="text/html")

    async def broken(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("half an ")
        await trio.testing.wait_all_tasks_blocked()

    async with open_model_server(wrong_key, html, broken, saying("fine")) as server:
        answers = await converse(openai(server, max_retries=0), home, "1", "2", "3", "4")
    assert [
        answer.startswith(start) for answer, start in zip(answers, ("Your ", "Your ", "half an ", "fine"), strict=True)
    ]
    assert "(HTTP 401)" in answers[0]
    assert "text/html" in answers[1]
    assert said(home) == [
        ("user", "1"), ("system", "[interrupted] the model's server refused the key (HTTP 401)"),
        ("user", "2"), ("system", "[interrupted] the model's server sent what is no answer: text/html; is base_url right?"),
        ("user", "3"), ("assistant", "half an "),
        ("system", "[interrupted] the connection to the model's server broke off"), ("user", "4"), ("assistant", "fine"),
    ]  # fmt: skip
    assert len(logs.named("Model did not answer")) == 3
    assert KEY not in repr(logs.events) + repr(answers)


async def test_run_gateway_without_its_key_does_not_start(tmp_path: Path) -> None:
    """A key that is configured and not there is an error before the workspace is touched."""
    config = Config(model=ModelConfig("openai", "http://127.0.0.1:1/v1", "tiny", "MINICLAW_TEST_NO_SUCH_KEY"))
    with pytest.raises(ConfigError, match="MINICLAW_TEST_NO_SUCH_KEY is not set"):
        await run_gateway(config, Home(tmp_path))
    assert not Home(tmp_path).workspace.exists()


# The real program -----------------------------------------------------------------------------------------------


def write_config(home: Path, server: ModelServer) -> dict[str, str]:
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(
        f"[model]\nprovider = 'openai'\nbase_url = '{server.base_url}'\nmodel = 'tiny'\napi_key_env = 'MODEL_KEY'\n"
    )
    return {**os.environ, "MINICLAW_HOME": str(home), "MODEL_KEY": KEY}


def chat_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "miniclaw", "chat", "--as", "me", *arguments]


async def test_chat_command_asks_the_configured_model(tmp_path: Path) -> None:
    """`miniclaw chat` answers with the model of the configuration, and fails with its sentence, never with its key."""

    async def wrong_key(exchange: Exchange) -> None:
        await exchange.fail(403, body=exchange.headers["authorization"].encode())

    with trio.fail_after(PATIENCE_SECONDS):
        async with open_model_server(saying("fi", "ne"), wrong_key) as server:
            environment = write_config(tmp_path, server)
            done = []
            for text in ("how are you?", "really?"):
                command = chat_command("-m", text)
                done.append(
                    await trio.run_process(
                        command, env=environment, capture_stdout=True, capture_stderr=True, check=False
                    )
                )
    assert [(process.returncode, process.stdout) for process in done] == [
        (0, b"fine\n"),
        (1, b"Your message is recorded, but there is no answer: the model's server refused the key (HTTP 403)\n"),
    ]
    assert KEY.encode() not in done[0].stderr + done[1].stderr
    assert b"[secret]" in done[1].stderr
    assert b"Traceback" not in done[1].stderr


def test_chat_command_without_its_key_is_configured_wrongly(tmp_path: Path) -> None:
    """A key that is not there is one sentence and the exit code of a wrong configuration."""
    (tmp_path / "config.toml").write_text(
        "[model]\nprovider = 'openai'\nbase_url = 'http://127.0.0.1:1'\nmodel = 'm'\napi_key_env = 'NO_SUCH_KEY'\n"
    )
    environment = {**os.environ, "MINICLAW_HOME": str(tmp_path)}
    done = subprocess.run(
        chat_command("-m", "hello"), env=environment, capture_output=True, check=False, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 2
    assert done.stderr == b"miniclaw: model.api_key_env: the environment variable NO_SUCH_KEY is not set\n"


async def test_chat_command_stopped_in_an_answer_keeps_what_came(tmp_path: Path) -> None:
    """SIGTERM in the middle of an answer: it is printed and saved as far as it came, marked, within the grace."""

    async def slow(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.say("as far ", "as it")
        await trio.sleep_forever()

    with trio.fail_after(PATIENCE_SECONDS):
        async with open_model_server(slow) as server, trio.open_nursery() as nursery:
            environment = write_config(tmp_path, server)
            command = chat_command("-m", "hello")
            run = partial(trio.run_process, command, env=environment, stdout=subprocess.PIPE, check=False)
            process = await nursery.start(run)
            shown = b""
            while shown != b"as far as it":
                shown += await process.stdout.receive_some()
            process.send_signal(signal.SIGTERM)
            await process.wait()  # the model would go on for ever
    assert said(Home(tmp_path), "console_me") == [
        ("user", "hello"),
        ("assistant", "as far as it"),
        ("system", "[interrupted] the program was stopped before the answer was complete"),
    ]
