"""A program that embeds the runtime. It is checked, and never run; the misspellings are planted in copies of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import assert_type

import miniclaw
from miniclaw import Message, Session, blocking, stores


async def chat() -> None:
    policy = miniclaw.RetentionPolicy(ttl=timedelta(days=7))
    async with miniclaw.open_runtime("sessions", policy=policy) as runtime:
        session = await runtime.manager.get_or_create_session("web", "anna")
        assert_type(session, Session)
        message = Message("user", "Good morning", datetime.now(UTC))
        await runtime.manager.add_message(session.session_id, message, durable=True)
        assert_type(session.last_accessed, datetime)
        result = await runtime.cleanup.run()
        assert_type(result.sessions_deleted, int)


async def chat_over_a_store() -> None:
    async with miniclaw.open_runtime(store=stores.MemoryStore(), notice=False) as sessions:
        assert_type(await sessions.get("web_anna"), Session | None)
        assert_type(sessions.policy, miniclaw.RetentionPolicy)


def chat_without_trio() -> None:
    with blocking.open_runtime("sessions", cleanup=None) as runtime:
        session = runtime.get_session("web_anna")
        assert_type(session, Session | None)
    with blocking.open_runtime(store=stores.MemoryStore(), removes=False) as sessions:
        assert_type(sessions.get("web_anna"), Session | None)
    assert_type(miniclaw.__version__, str)


def catch(error: miniclaw.MiniclawError) -> str:
    if isinstance(error, miniclaw.UnsavedSessionsError):
        assert_type(error.session_ids, tuple[str, ...])
    return str(error)
