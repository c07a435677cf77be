"""A full session on the chat page: the reason stands there once, and a new chat takes messages."""

from __future__ import annotations

from datetime import UTC, datetime

from playwright.sync_api import expect

from tests.browser.conftest import OpenTab
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.samples import write_session


def test_page_message_to_a_full_session_is_marked_and_answered_with_the_reason(
    open_tab: OpenTab, gateway: GatewayProcess
) -> None:
    """The message is not sent again, not even after a reload, where nothing of it is left."""
    gateway.kill()
    with (gateway.home / "config.toml").open("a") as config:
        config.write('[session]\nmax_session_bytes = "1MiB"\n')
    now = datetime.now(UTC)
    sizes = (1_100_000, 10)
    said = [{"role": "assistant", "content": "x" * size, "timestamp": now.isoformat()} for size in sizes]
    write_session(gateway.home / "workspace" / "sessions", "web_full", now, messages=said)
    gateway.start()
    tab = open_tab("full")
    tab.type("hello")
    message = tab.page.locator(".person")
    expect(message).to_have_attribute("data-state", "refused")
    expect(message.locator(".more")).to_have_text("Not sent")
    reason = tab.page.locator(".assistant.failed")
    expect(reason).to_have_count(1)
    expect(reason).to_contain_text("the session 'web_full' is full: it has 1,100,")
    expect(reason).to_contain_text("more than the 1,048,576 that max_session_bytes allows; begin a new chat")
    tab.reload()
    expect(tab.page.locator(".person")).to_have_count(0)
    assert tab.complaints == []
    other = open_tab("other")
    other.say("hello")
    other.shows(("person", "hello"), ("assistant", "You said: hello"))
