"""A full session on Telegram: the person gets the sentence once, and Telegram forgets the message."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.bot_api import ME, open_bot_api
from tests.fakes.telegram import open_telegram_house


async def test_channel_message_to_a_full_session_is_refused_once_and_forgotten(sessions_dir: Path) -> None:
    """No delivery follows: the chat goes on with the next message, and takes them again once there is room."""
    async with open_bot_api() as api, open_telegram_house(api, sessions_dir) as house:
        await api.until_confirmed(api.write("hello"))
        bound, house.manager.max_session_bytes = house.manager.max_session_bytes, 1
        await api.until_confirmed(api.write("more"))
        await api.until_confirmed(api.write("and more"))
        greeting, *refusals = api.texts()
        assert greeting == "hello"
        assert len(refusals) == 2
        assert all(f"the session 'telegram_{ME}' is full: it has " in text for text in refusals)
        assert all("begin a new chat, or move or delete this one" in text for text in refusals)
        await house.manager.move_session(f"telegram_{ME}", f"telegram_{ME}-1")
        house.manager.max_session_bytes = bound
        await api.until_confirmed(api.write("anew"))
        assert await house.said() == [("user", "anew"), ("assistant", "anew")]
        assert len(api.texts()) == 4
