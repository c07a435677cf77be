"""Makes the picture of the chat page: ``python -m tests.browser`` writes docs/images/chat.png."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.browser.tab import CHROMIUM, MISSING, Tab, open_browser
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.talk import ANSWERS
from tests.fakes.told_model import open_told_model

PICTURE: Final = Path(__file__).parents[2] / "docs" / "images" / "chat.png"

_QUESTIONS: Final = tuple(ANSWERS)[:2]


def write_picture(path: Path) -> None:
    """Have a conversation in the browser, and write what it looks like then."""
    with tempfile.TemporaryDirectory() as directory, open_told_model() as model, open_browser() as browser:
        gateway = GatewayProcess(Path(directory) / "home", model.base_url)
        gateway.start()
        try:
            page = browser.new_page(viewport={"width": 1100, "height": 860}, locale="en-GB")
            Tab(page, gateway.url, "main").log_in(gateway.link())
            for chat in ("garden", "trip to Lisbon", "home"):
                tab = Tab(page, gateway.url, chat)
                tab.open()
                for question in _QUESTIONS if chat == "home" else ("hello",):
                    tab.say(question)
            tab.reload()
            page.screenshot(path=path, animations="disabled")
        finally:
            gateway.kill()


def main() -> None:
    """Write the picture where the documentation has it."""
    if not CHROMIUM.exists():
        sys.exit(MISSING)
    PICTURE.parent.mkdir(exist_ok=True)
    write_picture(PICTURE)


if __name__ == "__main__":
    main()
