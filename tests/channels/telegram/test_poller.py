"""Polling through trouble: what is logged, how long it waits, and that it goes on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from miniclaw.channels.telegram.poller import MAX_DELAY_SECONDS, Poller
from tests.fakes.bot_api import (
    BAD_GATEWAY,
    CONFLICT,
    NOT_FOUND,
    TOKEN,
    UNAUTHORIZED,
    WEBHOOK,
    Trouble,
    endless,
    open_bot_api,
    reset,
    slow_down,
    truncated,
    whole,
)
from tests.fakes.logs import LogRecorder
from tests.fakes.telegram import Naps, open_bot_client, open_telegram_house

EVENT = "Telegram cannot be asked; it is tried again"


@pytest.mark.parametrize(
    ("trouble", "level", "advice"),
    [
        (CONFLICT, "warning", "another program polls with the same token"),
        (WEBHOOK, "warning", "deleteWebhook"),
        (UNAUTHORIZED, "error", "telegram.bot_token"),
        (NOT_FOUND, "error", "telegram.api_base"),
        (slow_down(3), "warning", ""),
        (BAD_GATEWAY, "warning", ""),
        (truncated, "warning", ""),
        (reset, "warning", ""),
        (endless, "warning", ""),
        (whole(200, b'{"ok": true, "result": {"not": "a list"}}'), "warning", ""),
        (whole(200, b'{"ok": true, "result": [{"update_id": 1}, 5'), "warning", ""),
    ],
)
async def test_poller_trouble_is_told_once_and_then_it_goes_on(
    trouble: Trouble, level: str, advice: str, sessions_dir: Path, logs: LogRecorder
) -> None:
    """Three failures are one event that says what to do; then one that all is well, and the messages are answered."""
    if level == "error":
        logs.expect_error(EVENT)
    async with open_bot_api() as api:
        api.fail("getUpdates", trouble, trouble, trouble)
        update_id = api.write("hello")
        async with open_telegram_house(api, sessions_dir) as house:
            await api.until_confirmed(update_id)
        assert api.texts() == ["hello"]
        assert len(house.naps.seconds) == 3
    event = logs.one(EVENT)
    assert event["level"] == level
    assert advice in (event["advice"] or "")
    assert logs.one("Telegram can be asked again")["level"] == "info"
    assert TOKEN[10:] not in str(logs.events)


async def test_poller_waits_as_long_as_telegram_asks(sessions_dir: Path) -> None:
    """`retry_after` is respected."""
    async with open_bot_api() as api:
        api.fail("getMe", slow_down(77))
        async with open_telegram_house(api, sessions_dir) as house:
            await api.until_confirmed(api.write("hello"))
        assert house.naps.seconds == [77]


async def test_poller_trouble_of_another_kind_is_told_too(sessions_dir: Path, logs: LogRecorder) -> None:
    """A connection that comes back only to be refused says something new."""
    async with open_bot_api() as api:
        api.fail("getUpdates", BAD_GATEWAY, CONFLICT, BAD_GATEWAY, CONFLICT)
        async with open_telegram_house(api, sessions_dir):
            await api.until_confirmed(api.write("hello"))
    assert [event["error"][:21] for event in logs.named(EVENT)] == ["Telegram answered 502", "Telegram answered 409"]


async def test_poller_waits_longer_each_time_and_begins_anew_after_a_success(
    monkeypatch: pytest.MonkeyPatch, logs: LogRecorder
) -> None:
    """From one second to a minute, spread by chance; where a person has to act, a minute at once."""
    logs.expect_error(EVENT)
    naps, chances = Naps(), [1.0] * 9 + [0.0] + [1.0] * 2
    monkeypatch.setattr(random, "random", lambda: chances.pop(0))
    async with open_bot_api() as api, open_bot_client(api) as client:
        poller = Poller(client, sleep=naps.sleep)
        api.fail("getMe", *[BAD_GATEWAY] * 10)
        await poller.get_me()
        assert naps.seconds[:9] == [1, 2, 4, 8, 16, 32, MAX_DELAY_SECONDS, MAX_DELAY_SECONDS, MAX_DELAY_SECONDS]
        assert naps.seconds[9:] == [MAX_DELAY_SECONDS / 2]
        assert poller.is_well
        await poller.get_me()
        api.fail("getMe", BAD_GATEWAY, UNAUTHORIZED)
        await poller.get_me()
        assert naps.seconds[10:] == [1, 60]
    assert [event["level"] for event in logs.named(EVENT)] == ["warning", "warning", "error"]
    assert len(logs.named("Telegram can be asked again")) == 2
