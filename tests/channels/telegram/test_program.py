"""The real program, `miniclaw gateway`, with a bot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import trio

from tests.fakes.bot_api import ME, TOKEN, open_bot_api
from tests.fakes.patience import PATIENCE_SECONDS

OTHER = ME + 1


async def test_program_with_a_bot_answers_and_ends_without_showing_the_token(tmp_path: Path) -> None:
    """Configured as the documentation says; at the log level "debug" no line holds the token."""
    token_file = tmp_path / "telegram.token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)
    async with open_bot_api() as api:
        config = f"""
            [log]
            level = "debug"
            format = "json"
            [web]
            enabled = false
            [telegram]
            bot_token_file = "{token_file}"
            allowed_users = [{ME}]
            api_base = "{api.api_base}"
        """
        (tmp_path / "config.toml").write_text(config)
        api.write("hi", user=7)
        last = api.write("hello")
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "miniclaw", "gateway"],
            env=os.environ | {"MINICLAW_HOME": str(tmp_path)},
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        with trio.fail_after(PATIENCE_SECONDS):
            try:
                await api.until_confirmed(last)
                process.send_signal(signal.SIGTERM)
                err = b"".join([chunk async for chunk in process.stderr]).decode()
                assert await process.wait() == 0
            finally:
                process.kill()
        assert api.texts() == ["hello"]
    session = json.loads((tmp_path / "workspace" / "sessions" / f"telegram_{ME}.json").read_text())
    assert [message["content"] for message in session["messages"]] == ["hello", "hello"]
    assert "Telegram bot is ready" in err
    assert "Telegram message of a stranger is ignored" in err
    assert TOKEN.partition(":")[2] not in err
    assert "Traceback" not in err


async def test_program_with_a_bot_lets_people_in_and_out_by_sighup(tmp_path: Path) -> None:
    """Who is added to ``allowed_users`` is answered from the reload on, and who is taken out is a stranger again."""
    token_file = tmp_path / "telegram.token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)
    async with open_bot_api() as api:

        def allow(*users: int) -> None:
            config = f'''
                [web]
                enabled = false
                [telegram]
                bot_token_file = "{token_file}"
                allowed_users = {list(users)}
                api_base = "{api.api_base}"
            '''
            (tmp_path / "config.toml").write_text(config)

        allow(ME)
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "miniclaw", "gateway"],
            env=os.environ | {"MINICLAW_HOME": str(tmp_path)},
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        log = b""
        with trio.fail_after(PATIENCE_SECONDS):
            try:
                await api.until_confirmed(api.write("before", user=OTHER))
                for reloads, users, text in [(1, (ME, OTHER), "in"), (2, (ME,), "out")]:
                    allow(*users)
                    process.send_signal(signal.SIGHUP)
                    while log.count(b"Configuration reloaded") < reloads:
                        log += await process.stderr.receive_some()
                    await api.until_confirmed(api.write(text, user=OTHER))
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
            finally:
                process.kill()
        assert api.texts(OTHER) == ["in"]
    assert b'"keys":["telegram.allowed_users"]' in log
