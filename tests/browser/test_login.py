"""Logging a browser in, against the real gateway: by a link, by the token, and never by what other ports could get."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.tab import TIMEOUT_MS, Tab
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.told_model import ToldModel


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that has never been here."""
    context = browser.new_context()
    context.set_default_timeout(TIMEOUT_MS)
    yield context
    context.close()


def asks_to_log_in(page: Page) -> None:
    expect(page.locator("#card")).to_be_visible()
    expect(page.locator("#card")).to_contain_text("miniclaw open")


def test_link_logs_in_once_and_for_good(context: BrowserContext, browser: Browser, gateway: GatewayProcess) -> None:
    """A link opens the chat; a reload and a restart ask for nothing; to another browser the same link is of no use."""
    link = gateway.link()
    tab = Tab(context.new_page(), gateway.url, "main")
    tab.log_in(link)
    assert tab.page.url == f"{gateway.url}/"
    tab.say("hello")
    tab.reload()
    assert tab.complaints == []
    gateway.kill()
    gateway.start()
    tab.connected()
    tab.reload()
    tab.say("again")
    bookmarked = Tab(context.new_page(), gateway.url, "garden")
    bookmarked.open()
    assert bookmarked.complaints == []
    assert "#" not in "".join(page.url for page in context.pages)
    stranger = browser.new_context()
    page = stranger.new_page()
    page.goto(link)
    asks_to_log_in(page)
    expect(page.locator("#spent")).to_be_visible()
    assert page.url == f"{gateway.url}/login"
    page.goto(f"{gateway.url}/?chat=main")
    asks_to_log_in(page)
    stranger.close()


def test_link_that_is_looked_at_is_not_used_up(context: BrowserContext, gateway: GatewayProcess) -> None:
    """A preview, a prefetch or a HEAD of a link does not end it: the code goes to the gateway only from the page."""
    link = gateway.link()
    for _ in range(2):
        assert context.request.get(link).ok
        assert context.request.head(link).ok
    Tab(context.new_page(), gateway.url, "main").log_in(link)


def test_used_link_in_a_browser_that_is_logged_in_opens_the_chat(
    context: BrowserContext, gateway: GatewayProcess
) -> None:
    """A browser that has a login needs no link: the one in the terminal can be pressed again."""
    link = gateway.link()
    tab = Tab(context.new_page(), gateway.url, "main")
    for _ in range(2):
        tab.log_in(link)
    assert tab.complaints == []


def test_page_without_a_login_asks_for_it_and_goes_on_where_it_was(
    context: BrowserContext, gateway: GatewayProcess
) -> None:
    """The token does as well as a link; a wrong one is told; afterwards the chat that was asked for is shown."""
    page = context.new_page()
    page.goto(f"{gateway.url}/?chat=garden")
    asks_to_log_in(page)
    expect(page.locator("#spent")).to_be_hidden()
    page.fill("#token", "x" * 40)
    page.press("#token", "Enter")
    expect(page.locator("#trouble")).to_have_text("That is not the token.")
    page.fill("#token", gateway.token)
    page.click("button")
    expect(page.locator("#connection")).to_have_text("connected")
    assert page.url == f"{gateway.url}/?chat=garden"


def test_login_of_one_tab_is_the_login_of_all(context: BrowserContext, gateway: GatewayProcess) -> None:
    """Tabs that wait for a login go on when one of them has it, and leave together."""
    waiting = Tab(context.new_page(), gateway.url, "garden")
    waiting.page.goto(f"{gateway.url}/?chat=garden")
    asks_to_log_in(waiting.page)
    tab = Tab(context.new_page(), gateway.url, "main")
    tab.log_in(gateway.link())
    waiting.connected()
    tab.page.click("#log-out")
    for page in (tab.page, waiting.page):
        asks_to_log_in(page)
    page.goto(gateway.url)
    asks_to_log_in(page)


def test_login_page_without_a_token_leads_to_the_chat(
    browser: Browser, context: BrowserContext, tmp_path: Path, model: ToldModel
) -> None:
    """Neither page asks for a token that is not required."""
    gateway = GatewayProcess(tmp_path / "home", model.base_url, "[web]\nrequire_token = false\n")
    gateway.start()
    try:
        page = context.new_page()
        for path in ("/login", "/", "/login#spent"):
            page.goto(gateway.url + path)
            expect(page.locator("#connection")).to_have_text("connected")
        expect(page.locator("#log-out")).to_be_hidden()
    finally:
        gateway.kill()


def test_page_whose_token_was_changed_asks_for_a_login(context: BrowserContext, gateway: GatewayProcess) -> None:
    """A new token ends all logins; the page says so instead of trying for ever."""
    tab = Tab(context.new_page(), gateway.url, "main")
    tab.log_in(gateway.link())
    gateway.kill()
    (gateway.home / "workspace" / "web-token").unlink()
    gateway.start()
    asks_to_log_in(tab.page)
    tab.log_in(gateway.link())


def test_server_at_another_port_of_the_machine_gets_nothing(context: BrowserContext, gateway: GatewayProcess) -> None:
    """Another user's server on the same host is sent no credential by a browser that is logged in, and reads none."""
    tab = Tab(context.new_page(), gateway.url, "main")
    tab.log_in(gateway.link())
    with open_trap(gateway.url) as (address, heard):
        page = context.new_page()
        page.goto(address)
        expect(page.locator("#done")).to_be_attached()
        stolen = page.locator("#done").inner_text()
    assert context.cookies() == []
    assert stolen == "storage: [] cookie: [] fetch: refused socket: refused"
    assert len(heard) >= 1
    for head in heard:
        assert not {"cookie", "authorization", "miniclaw-login"} & {name.lower() for name in head}
    tab.say("still here")


_TRAP = """<!doctype html><script>
const victim = "%s";
const socket = () => new Promise((told) => {
  const tried = new WebSocket(victim.replace("http", "ws") + "/api/v1/chat");
  tried.onopen = () => told("open");
  tried.onerror = () => told("refused");
});
(async () => {
  const got = await fetch(victim + "/api/v1/sessions", { credentials: "include" })
    .then((answer) => answer.text(), () => "refused");
  const done = document.createElement("p");
  done.id = "done";
  done.textContent = `storage: [${Object.keys(localStorage)}] cookie: [${document.cookie}] fetch: ${got} `
    + `socket: ${await socket()}`;
  document.body.append(done);
})();
</script><body><iframe src="%s/"></iframe></body>"""


@contextmanager
def open_trap(victim: str) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Serve a page that steals what it can, at another port; give its address, and the headers that it is sent."""
    heard: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(dict(self.headers))
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write((_TRAP % (victim, victim)).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", heard
        finally:
            server.shutdown()
            thread.join()
