"""Headless Chromium, and a tab in it that shows the chat page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.fakes.patience import PATIENCE_SECONDS

CHROMIUM = Path("/usr/bin/chromium")
MISSING = f"there is no {CHROMIUM}: apt-get install chromium"

TIMEOUT_MS = 1000 * PATIENCE_SECONDS

_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start a browser for a block."""
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A tab with the chat page.

    Attributes:
        complaints: What the browser's console was told: errors, warnings, violations of the policy.
    """

    def __init__(self, page: Page, url: str, chat: str) -> None:
        self.page = page
        self.chat = chat
        self._url = url
        self.complaints: list[str] = []
        page.set_default_timeout(TIMEOUT_MS)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        self.complaints.append(f"{message.type}: {message.text}")

    def log_in(self, link: str) -> None:
        """Open a link, which shows the chat that is the usual one."""
        self.page.goto(link)
        self.connected()

    def open(self) -> None:
        self.page.goto(f"{self._url}/?chat={self.chat}")
        self.connected()

    def connected(self) -> None:
        expect(self.page.locator("#connection")).to_have_text("connected")

    def reload(self) -> None:
        self.page.reload()
        self.connected()

    def type(self, text: str) -> None:
        self.page.fill("#text", text)
        self.page.press("#text", "Enter")

    def say(self, text: str) -> None:
        """Say something and wait for its whole answer, and until it is saved."""
        person, answers = self.page.locator(".person").count(), self.answers.count()
        self.type(text)
        expect(self.answers).to_have_count(answers + 1)
        expect(self.page.locator(".person").nth(person)).to_have_attribute("data-state", "saved")

    @property
    def answers(self) -> Any:
        """The answers that are complete."""
        return self.page.locator(".assistant:not([aria-busy]):not(.thinking)")

    def shown(self) -> list[tuple[str, str]]:
        """Return who says what, in the order in which it stands there."""
        found: list[tuple[str, str]] = []
        for item in self.page.locator("#log > li").all():
            names = (item.get_attribute("class") or "").split()
            who = next(name for name in ("person", "thinking", "assistant", "aside") if name in names)
            texts = item.locator(".text, .note").all_inner_texts()
            found.append((who, " ".join(" ".join(texts).split())))
        return found

    def shows(self, *expected: tuple[str, str]) -> None:
        """Wait until exactly this is shown, each message on disk."""
        expect(self.page.locator("#log > li")).to_have_count(len(expected))
        people = self.page.locator(".person")
        for index in range(people.count()):
            expect(people.nth(index)).to_have_attribute("data-state", "saved")
        assert self.shown() == list(expected)

    def is_at_end(self) -> bool:
        script = "(e) => e.scrollHeight - e.scrollTop - e.clientHeight < 2"
        return bool(self.page.locator("#scroll").evaluate(script))
