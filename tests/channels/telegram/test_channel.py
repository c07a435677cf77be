"""The Telegram channel with the real loop and a Bot API on loopback: what is answered how."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.bot_api import ME, open_bot_api
from tests.fakes.telegram import open_telegram_house


async def test_channel_message_is_answered_recorded_and_then_confirmed(sessions_dir: Path) -> None:
    """A message comes to the session of its chat, its answer goes out as plain text, and then Telegram forgets it."""
    async with open_bot_api() as api, open_telegram_house(api, sessions_dir) as house:
        update_id = api.write("hello")
        await api.until_confirmed(update_id)
        assert api.sent == [{"chat_id": ME, "text": "hello"}]
        assert await house.said() == [("user", "hello"), ("assistant", "hello")]
        assert (sessions_dir / f"telegram_{ME}.json").read_text().count(f"update-{update_id}") == 1
