"""The chat page in headless Chromium, against the real gateway with a model's server behind it."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import OpenTab
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.talk import HOSTILE
from tests.fakes.told_model import HOLDING, REST, ToldModel

HALF, WHOLE = ("assistant", HOLDING), ("assistant", HOLDING + REST)


def test_page_conversation_is_shown_streamed_and_kept(
    open_tab: OpenTab, gateway: GatewayProcess, model: ToldModel
) -> None:
    """What is typed is shown at once, its answer as it comes, and both after a reload; nobody complains."""
    tab = open_tab("home")
    assert tab.page.title() == "home - miniclaw"
    expect(tab.page.locator("#empty")).to_be_visible()
    tab.say("hello")
    tab.type("hold")
    expect(tab.page.locator("[aria-busy]")).to_have_text(HOLDING)
    tab.shows(("person", "hello"), ("assistant", "You said: hello"), ("person", "hold"), HALF)
    model.go_on.set()
    expected = [("person", "hello"), ("assistant", "You said: hello"), ("person", "hold"), WHOLE]
    expect(tab.answers).to_have_count(2)
    tab.shows(*expected)
    tab.reload()
    tab.shows(*expected)
    expect(tab.page.locator("#chats a[aria-current]")).to_contain_text("home")
    assert tab.complaints == []
    assert gateway.said("home") == [
        ("user", "hello"), ("assistant", "You said: hello"), ("user", "hold"), ("assistant", HOLDING + REST),
    ]  # fmt: skip


def test_page_shift_enter_begins_a_line_and_enter_sends(open_tab: OpenTab) -> None:
    """Both keys do what people expect, and what is empty is not sent."""
    tab = open_tab()
    tab.page.press("#text", "Enter")
    tab.page.type("#text", "one")
    tab.page.press("#text", "Shift+Enter")
    tab.page.type("#text", "two")
    tab.page.press("#text", "Enter")
    expect(tab.answers).to_have_count(1)
    assert tab.page.locator(".person .text").inner_text() == "one\ntwo"
    expect(tab.page.locator("#text")).to_have_value("")


def test_page_tabs_of_one_chat_show_the_same(open_tab: OpenTab, model: ToldModel) -> None:
    """What is said in one tab is shown in the other, also its answer while it is produced; each thing once."""
    first, second = open_tab(), open_tab()
    first.type("hold")
    for tab in (first, second):
        expect(tab.page.locator("[aria-busy]")).to_have_text(HOLDING)
    third = open_tab()
    expect(third.page.locator("[aria-busy]")).to_have_text(HOLDING)
    second.type("another")
    expect(first.page.locator(".person")).to_have_count(2)
    model.go_on.set()
    for tab in (first, second, third):
        expect(tab.answers).to_have_count(2)
        tab.shows(("person", "hold"), WHOLE, ("person", "another"), ("assistant", "You said: another"))
        assert tab.complaints == []
    other = open_tab("other")
    other.shows()


def test_page_gateway_killed_in_the_middle_nothing_is_lost_or_doubled(
    open_tab: OpenTab, gateway: GatewayProcess, model: ToldModel
) -> None:
    """A kill -9 costs a moment: the tab connects again, what was cut off is answered, what waited is sent, all once."""
    tab, other = open_tab(), open_tab()
    tab.say("before")
    tab.type("hold")
    expect(tab.page.locator("[aria-busy]")).to_have_text(HOLDING)
    expect(tab.page.locator(".person").nth(1)).to_have_attribute("data-state", "saved")
    gateway.kill()
    expect(tab.page.locator("#connection")).to_have_text("reconnecting…")
    tab.type("meanwhile")
    expect(tab.page.locator(".person").nth(2)).to_have_attribute("data-state", "sending")
    model.go_on.set()
    gateway.start()
    expected = [
        ("person", "before"), ("assistant", "You said: before"),
        ("person", "hold"), WHOLE,
        ("person", "meanwhile"), ("assistant", "You said: meanwhile"),
    ]  # fmt: skip
    for each in (tab, other):
        each.connected()
        expect(each.answers).to_have_count(3)
        each.shows(*expected)
        each.reload()
        each.shows(*expected)
    assert [text for role, text in gateway.said("main") if role == "user"] == ["before", "hold", "meanwhile"]
    assert len(gateway.said("main")) == 6
    assert model.asked == ["before", "hold", "hold", "meanwhile"]


def test_page_message_that_was_never_sent_survives_the_tab(open_tab: OpenTab, gateway: GatewayProcess) -> None:
    """What could not be sent before the tab was closed is sent when the chat is opened again."""
    tab = open_tab()
    gateway.kill()
    expect(tab.page.locator("#connection")).to_have_text("reconnecting…")
    tab.type("later")
    expect(tab.page.locator(".person")).to_have_attribute("data-state", "sending")
    tab.page.close()
    gateway.start()
    again = open_tab()
    expect(again.answers).to_have_count(1)
    again.shows(("person", "later"), ("assistant", "You said: later"))


def test_page_hostile_texts_are_shown_as_texts(open_tab: OpenTab) -> None:
    """Whatever a person or a model says, nothing of it is run, and no link leads anywhere but to the web."""
    tab = open_tab()
    tab.say("attack")
    tab.say(HOSTILE)
    tab.reload()
    assert tab.page.title() == "main - miniclaw"
    said = tab.page.locator("#log").inner_text()
    assert said.count("onerror=") == 3
    assert tab.page.locator("#log").locator("script, img, svg, b, iframe").count() == 0
    links = tab.page.locator("#log a")
    assert [link.get_attribute("href") for link in links.all()] == []
    assert tab.complaints == []


def test_page_markdown_of_an_answer_is_shown(open_tab: OpenTab) -> None:
    """Lists, tables, code and links are what they look like; a link opens elsewhere and learns nothing of this page."""
    tab = open_tab()
    tab.say("What should I look at in the house today?")
    tab.say("Yes, please. And tell me what changed.")
    log = tab.page.locator("#log")
    expect(log.locator("ol > li")).to_have_count(3)
    expect(log.locator("li strong")).to_have_text("The heating")
    expect(log.locator(".code pre")).to_contain_text('begins="22:30"')
    expect(log.locator("table td").first).to_have_text("Living room")
    link = log.locator("a")
    assert link.get_attribute("href") == "https://example.org/forecast"
    assert link.get_attribute("rel") == "noopener noreferrer"
    assert tab.complaints == []


def test_page_on_a_phone_everything_fits(open_tab: OpenTab) -> None:
    """Nothing is wider than the screen, the chats are behind a button, and the conversation ends at its end."""
    tab = open_tab("home", viewport={"width": 360, "height": 640}, is_mobile=True, has_touch=True)
    tab.say("What should I look at in the house today?")
    tab.say("x" * 300)
    assert tab.page.evaluate("() => document.documentElement.scrollWidth") == 360
    assert tab.page.locator("#scroll").evaluate("(e) => e.scrollWidth <= e.clientWidth")
    assert tab.is_at_end()
    expect(tab.page.locator("#side")).to_be_hidden()
    tab.page.tap("#open-side")
    expect(tab.page.locator("#chats a")).to_be_visible()
    tab.page.tap("#close-side")
    expect(tab.page.locator("#side")).to_be_hidden()
    assert tab.complaints == []


def test_page_in_the_dark_is_dark(open_tab: OpenTab) -> None:
    """Who has a dark system gets a dark page, with text that can be read on it."""
    shades = {}
    for scheme in ("light", "dark"):
        tab = open_tab(color_scheme=scheme)
        colours = tab.page.locator("body").evaluate(
            "(e) => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color]"
        )
        back, text = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in colours)
        shades[scheme] = (back, text)
    assert shades["light"][0] - shades["light"][1] > 450
    assert shades["dark"][1] - shades["dark"][0] > 450


def test_page_older_messages_come_when_asked_for_and_the_place_is_kept(open_tab: OpenTab, model: ToldModel) -> None:
    """The newest fifty are shown first, the others on the way up; who reads there is not pulled down by what comes."""
    tab = open_tab()
    for number in range(30):
        tab.type(f"message {number}")
    expect(tab.answers).to_have_count(30)
    tab.reload()
    expect(tab.page.locator("#log > li")).to_have_count(50)
    assert tab.is_at_end()
    # Reaching the button asks for them as well as pressing it does, so it is not pressed: it may be gone by then.
    tab.page.locator("#scroll").evaluate("scroll => { scroll.scrollTop = 0; }")
    expect(tab.page.locator("#log > li")).to_have_count(60)
    expect(tab.page.locator("#earlier")).to_be_hidden()
    assert tab.shown() == [
        line for n in range(30) for line in (("person", f"message {n}"), ("assistant", f"You said: message {n}"))
    ]
    assert not tab.is_at_end()
    other = open_tab()
    other.say("news")
    expect(tab.page.locator("#to-end")).to_contain_text("New messages")
    assert not tab.is_at_end()
    tab.page.locator("#to-end").click()
    assert tab.is_at_end()
    assert tab.complaints == []


def test_page_lists_the_chats_and_begins_new_ones(open_tab: OpenTab) -> None:
    """At the side are the chats, the last used first, and a new one is a name away; without the list the page goes on."""
    sessions = [
        {"session_id": f"web_{chat}", "chat_id": chat, "last_accessed": f"2026-02-1{day}T10:30:00Z"}
        for chat, day in (("old & <b>odd</b>", 3), ("new", 4), ("n\u200bew\u202e\U000e0041\ufe0f\xa0", 2))
    ]
    tab = open_tab()
    names = tab.page.locator("#chats .name")
    tab.page.route("**/api/v1/sessions?*", lambda route: route.fulfill(json={"sessions": sessions, "next": None}))
    tab.reload()
    shown = "n\\u{200b}ew\\u{202e}\\u{e0041}\\u{fe0f}\\u{a0}"  # invisible characters are
    expect(names).to_have_text(["main", "new", "old & <b>odd</b>", shown])
    tab.page.locator("#chats a").nth(2).click()
    tab.connected()
    assert tab.page.title() == "old & <b>odd</b> - miniclaw"
    expect(names).to_have_text(["new", "old & <b>odd</b>", shown])
    tab.page.route("**/api/v1/sessions?*", lambda route: route.fulfill(status=500))
    tab.page.click("#new-chat")
    tab.page.fill("#name", "trip to Łódź")
    tab.page.press("#name", "Enter")
    expect(tab.page.locator("#title")).to_have_text("trip to Łódź")
    expect(tab.page.locator("#chats-note")).to_be_visible()
    tab.page.unroute_all()
    tab.say("hello")
    tab.reload()
    tab.shows(("person", "hello"), ("assistant", "You said: hello"))
    expect(names).to_have_text(["trip to Łódź"])
    assert [complaint for complaint in tab.complaints if "status of 500" not in complaint] == []


def test_page_name_of_a_chat_shows_all_that_is_in_it(open_tab: OpenTab) -> None:
    """Who follows a link sees in title and heading that its chat is another one than it looks like."""
    tab = open_tab()
    tab.page.evaluate("location.href = '/?chat=n%E2%80%8Bew%EF%B8%8F'")
    expect(tab.page.locator("#title")).to_have_text("n\\u{200b}ew\\u{fe0f}")
    expect(tab.page).to_have_title("n\\u{200b}ew\\u{fe0f} - miniclaw")


def test_page_message_that_is_too_long_is_not_sent_and_stays_in_the_field(open_tab: OpenTab) -> None:
    """What the gateway would refuse is told before it is sent, and nothing of it is lost."""
    tab = open_tab()
    tab.type("x" * 100_001)
    expect(tab.page.locator("#trouble")).to_contain_text("too long")
    expect(tab.page.locator("#text")).to_have_value("x" * 100_001)
    assert tab.shown() == []
    tab.say("x" * 100_000)
    expect(tab.page.locator("#trouble")).to_be_hidden()


def test_page_answer_that_failed_says_why(open_tab: OpenTab, gateway: GatewayProcess, model: ToldModel) -> None:
    """A model that cannot answer costs one answer, which says so, also after a reload; the message is kept."""
    tab = open_tab()
    tab.type("break off")
    expect(tab.page.locator(".failed .text")).to_contain_text("The answer ends here")
    tab.reload()
    assert [who for who, _ in tab.shown()] == ["person", "assistant", "aside"]
    assert tab.shown()[2][1].startswith("Interrupted: ")
    tab.say("hello")
