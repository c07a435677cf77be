"""What the page makes of an answer's Markdown, and what that costs."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import OpenTab

RENDER = """async (text) => {
  const { renderMarkdown } = await import("/static/markdown.js");
  const began = performance.now();
  const shown = document.createElement("div");
  shown.append(renderMarkdown(text));
  return { html: shown.innerHTML, milliseconds: performance.now() - began };
}"""

LINK = '<a href="{}" target="_blank" rel="noopener noreferrer">{}</a>'

SHOWN = {
    "one\ntwo\n\nthree": "<p>one<br>two</p><p>three</p>",
    "***both*** and **a *b* c**": "<p><strong><em>both</em></strong> and <strong>a <em>b</em> c</strong></p>",
    "snake_case_name, 2 * 3 * 4, **open": "<p>snake_case_name, 2 * 3 * 4, **open</p>",
    "`` a`b `` \\*": "<p><code>a`b</code> *</p>",
    "- a\n  - b\n  - c\n- d": "<ul><li>a<ul><li>b</li><li>c</li></ul></li><li>d</li></ul>",
    "3. a\n\n   more\n4. b": '<ol start="3"><li>a<p>more</p></li><li>b</li></ol>',
    "# Head\ntext": "<h3>Head</h3><p>text</p>",
    "> a\n> b": "<blockquote><p>a<br>b</p></blockquote>",
    "a | b\n--|--\n1 | 2": '<div class="table"><table><thead><tr><th>a</th><th>b</th></tr></thead>'
    "<tbody><tr><td>1</td><td>2</td></tr></tbody></table></div>",
    "[x](https://e.org/a_(b))": f"<p>{LINK.format('https://e.org/a_(b)', 'x')}</p>",
    "see https://e.org/a.": f"<p>see {LINK.format('https://e.org/a', 'https://e.org/a')}.</p>",
    "[x](javascript:alert(1)) [y](//e.org) [z](/etc)": "<p>[x](javascript:alert(1)) [y](//e.org) [z](/etc)</p>",
    "<b>&amp;</b>": "<p>&lt;b&gt;&amp;amp;&lt;/b&gt;</p>",
}

# A model, or who talks through it, may send as much of anything as an answer can hold.
LONG = ["[", "[a](", "*", "*a ", "**", "_a ", "` `` ``` ", "`", ">", "> a\n", "- a\n", "- a\n\n", "- ", "|a", "```\n", "~",
        "http://a ", "h", "\n", "# ", "\\"]  # fmt: skip


def test_markdown_is_shown_as_what_it_is(open_tab: OpenTab) -> None:
    """What is understood becomes elements, all else stays text; a link is one to the web, or none."""
    page: Any = open_tab().page
    assert {text: page.evaluate(RENDER, text)["html"] for text in SHOWN} == SHOWN


# The same, of texts with a beginning and an end: what a pattern could try in ever more ways.
STRETCHED = [("# x", " ", "y"), ("` ", "a", "`"), ("- ", " ", "x\u2028y"), ("```", "a", "` b"), ("x\n", " ", "-|x"), ("a|b\n|", " ", "x"),
             ("http://", ")", "x"), ("# ", "#", "x"), ("- ", "- ", "x"), ("[", "[", "](https://e.org)")]  # fmt: skip
SHORT_CHARS = 10_000
TIMES_LONGER = 10


def test_markdown_costs_as_much_as_it_is_long(open_tab: OpenTab) -> None:
    """No text makes the page stand still: ten times as much of anything takes about ten times as long, not a hundred."""
    page: Any = open_tab().page

    def cost(begin: str, piece: str, end: str, chars: int) -> float:
        text = begin + piece * (chars // len(piece)) + end
        return min(float(page.evaluate(RENDER, text)["milliseconds"]) for _ in range(2))

    slow = {}
    for parts in [*(("", piece, "") for piece in LONG), *STRETCHED]:
        short, long = (cost(*parts, chars) for chars in (SHORT_CHARS, SHORT_CHARS * TIMES_LONGER))
        # A clock of the browser is coarse, and a loaded machine takes its time: what is over in a moment is quick.
        if long > 5 * TIMES_LONGER * max(short, 1.0):
            slow[parts] = (short, long)
    assert not slow
