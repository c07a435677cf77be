"""From the configuration to the channel: the token, the package that may be missing, and a gateway that keeps quiet."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
import trio

from miniclaw.channels.telegram import poller
from miniclaw.channels.telegram.opening import load_token, open_telegram
from miniclaw.config import Config, Home
from miniclaw.config.telegram import TelegramConfig
from miniclaw.errors import ConfigError
from miniclaw.gateway import run_gateway
from miniclaw.secret import redact
from tests.fakes.bot_api import BAD_GATEWAY, BLOCKED, ME, TOKEN, UNAUTHORIZED, endless, open_bot_api, reset, truncated
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.telegram import VARIABLE, open_real_telegram, telegram_config

SECRET_HALF = TOKEN.partition(":")[2]


def write_token(path: Path, content: str = f"{TOKEN}\n", mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_load_token_from_a_file_or_the_environment(tmp_path: Path) -> None:
    """Both ways give the token, and hide it, also without its number."""
    file = write_token(tmp_path / "token")
    assert load_token(TelegramConfig(bot_token_file=file)).reveal() == TOKEN
    assert load_token(TelegramConfig(bot_token_env=VARIABLE), {VARIABLE: TOKEN}).reveal() == TOKEN
    assert (
        redact(f"GET /bot{TOKEN}/getMe, /bot123456789%3A{SECRET_HALF}/")
        == "GET /bot[secret]/getMe, /bot123456789%3A[secret]/"
    )


@pytest.mark.parametrize(
    "token", ["123:short", "bot123456789:" + "A" * 35, "A" * 40, ":" + "A" * 35, "1:" + "A" * 35 + "/x"]
)
def test_load_token_what_is_none_is_refused_by_its_key(token: str, tmp_path: Path) -> None:
    """The sentence says what a token looks like, and does not show what is there."""
    with pytest.raises(ConfigError, match=r"telegram\.bot_token_env: .*not the token of a bot") as caught:
        load_token(TelegramConfig(bot_token_env=VARIABLE), {VARIABLE: token})
    assert token not in str(caught.value)
    file = write_token(tmp_path / "token", token)
    with pytest.raises(ConfigError, match=r"telegram\.bot_token_file: .*not the token of a bot") as caught:
        load_token(TelegramConfig(bot_token_file=file))
    assert caught.value.path == file


def test_load_token_that_others_can_read_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Before anything is sent anywhere."""
    with pytest.raises(ConfigError, match="chmod 600"):
        load_token(TelegramConfig(bot_token_file=write_token(tmp_path / "token", mode=0o644)))
    with pytest.raises(ConfigError, match=f"{VARIABLE} is not set"):
        load_token(TelegramConfig(bot_token_env=VARIABLE), {})
    with pytest.raises(ConfigError, match=r"telegram\.bot_token_file"):
        load_token(TelegramConfig())


async def test_open_telegram_without_the_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra is a sentence with the command, before anything else happens."""
    for name in [name for name in sys.modules if name.startswith("miniclaw.channels.telegram.c")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(ConfigError, match=r"telegram: .*pip install '\.\[telegram\]'$"):
        async with open_telegram(TelegramConfig(bot_token_env=VARIABLE), environment={VARIABLE: TOKEN}):
            pytest.fail("it was opened")


async def test_open_telegram_asks_for_nothing_and_leaves_at_once() -> None:
    """Telegram need not be there for the gateway to start, or to end."""
    async with open_bot_api() as api:
        async with open_real_telegram(api) as channel:
            assert channel.name == "telegram"
        assert api.calls == []


async def test_open_telegram_warns_of_a_token_that_travels_unencrypted(logs: LogRecorder) -> None:
    """To another machine, https it is."""
    config = TelegramConfig(bot_token_env=VARIABLE, api_base="http://bot-api.example")
    async with open_telegram(config, environment={VARIABLE: TOKEN}):
        assert (
            logs.one("Bot's token goes over the network unencrypted; https would keep it secret")["level"] == "warning"
        )


async def test_gateway_with_telegram_survives_trouble_and_never_shows_the_token(
    tmp_path: Path, logs: LogRecorder, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Through all kinds of trouble a message is answered, and the token is in no log, at DEBUG, and on no output."""
    for module in ("poller.FIRST_DELAY_SECONDS", "poller.MAX_DELAY_SECONDS"):
        monkeypatch.setattr(f"miniclaw.channels.telegram.{module}", 0.01)
    logs.expect_error("Telegram cannot be asked; it is tried again")
    logs.expect_error("Reply could not be delivered")
    caplog.set_level(logging.DEBUG)
    async with open_bot_api() as api:
        api.fail("getMe", BAD_GATEWAY, reset)
        api.fail("getUpdates", UNAUTHORIZED, truncated, endless, reset)
        api.fail("sendMessage", BLOCKED)
        api.write("lost to who blocked the bot")
        last = api.write("hello")
        config = Config(telegram=telegram_config(api))
        with trio.fail_after(PATIENCE_SECONDS):
            async with open_real_telegram(api) as channel, trio.open_nursery() as nursery:

                async def run() -> None:
                    await run_gateway(config, Home(tmp_path), channels=[channel])

                nursery.start_soon(run)
                await api.until_confirmed(last)
                nursery.cancel_scope.cancel()
        assert api.texts() == ["hello"]
    output = "".join(capfd.readouterr())
    records = " ".join(f"{vars(record)} {record.getMessage()}" for record in caplog.records)
    for text in (str(logs.events), records, output, *(file.read_text() for file in tmp_path.rglob("*.json"))):
        assert SECRET_HALF not in text
    assert (tmp_path / "workspace" / "sessions" / f"telegram_{ME}.json").exists()


async def test_gateway_stops_at_once_while_a_poll_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long poll is no reason to wait at the end; this one waits longer than the test."""
    monkeypatch.setattr(poller, "LONG_POLL_SECONDS", 2 * PATIENCE_SECONDS)
    async with open_bot_api() as api:
        with trio.fail_after(PATIENCE_SECONDS):
            async with open_real_telegram(api) as channel, trio.open_nursery() as nursery:

                async def run() -> None:
                    await run_gateway(Config(), Home(tmp_path), channels=[channel])

                nursery.start_soon(run)
                await api.until(lambda: api.count("getUpdates"))
                nursery.cancel_scope.cancel()
