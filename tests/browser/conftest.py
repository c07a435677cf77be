"""Fixtures for the tests in a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.browser.tab import CHROMIUM, MISSING, Tab, open_browser
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.told_model import ToldModel, open_told_model

OpenTab: TypeAlias = Callable[..., Tab]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(MISSING)
    with open_browser() as browser:
        yield browser


@pytest.fixture
def model() -> Iterator[ToldModel]:
    with open_told_model() as model:
        yield model


@pytest.fixture
def gateway(tmp_path: Path, model: ToldModel, browser: Browser) -> Iterator[GatewayProcess]:
    """A gateway that runs."""
    gateway = GatewayProcess(tmp_path / "home", model.base_url)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.kill()


@pytest.fixture
def open_tab(browser: Browser, gateway: GatewayProcess) -> Iterator[OpenTab]:
    """Opens a tab with the page of a chat; those of one test share their storage, unless told otherwise."""
    with ExitStack() as opened:

        def new_context(**context: Any) -> BrowserContext:
            """Return a browser as it is the day after: with a login, and without the tab that has got it."""
            made = browser.new_context(**context)
            opened.callback(made.close)
            page = made.new_page()
            Tab(page, gateway.url, "main").log_in(gateway.link())
            page.close()
            return made

        shared = new_context()

        def open_one(chat: str = "main", **context: Any) -> Tab:
            where = new_context(**context) if context else shared
            tab = Tab(where.new_page(), gateway.url, chat)
            tab.open()
            return tab

        yield open_one
