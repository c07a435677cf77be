"""`python -m tests.transcript`: run an administrator's day, have conversations, and write both down.

`nox -s transcript` calls this.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

import trio

from tests.transcript import conversations
from tests.transcript.story import Story, furnish, tell
from tests.transcript.terminal import write_picture

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "administrators-day.md"
CONVERSATIONS: Final = DOCS / "conversations.md"
PICTURE: Final = DOCS / "images" / "dry-run-and-forecast.svg"

_HEAD: Final = """# A day in an administrator's life

Every line that begins with `$` was typed into the program, and the lines below it are its output. `nox -s transcript`
runs the day again and writes this page.

![Dry run and forecast](images/dry-run-and-forecast.svg)
"""


def main() -> int:
    """Run the day; write the page and its picture. Have the conversations; write their page."""
    with tempfile.TemporaryDirectory(prefix="miniclaw-day-") as folder:
        home = Path(folder).resolve() / "home"
        furnish(home)
        story = Story(home)
        tell(story)
        house_page = trio.run(_have_conversations, home.with_name("talking"))
    PICTURE.parent.mkdir(exist_ok=True)
    write_picture(PICTURE, "miniclaw", "\n\n".join(story.pictured))
    PAGE.write_text("\n".join([_HEAD, *story.page]), encoding="utf-8")
    CONVERSATIONS.write_text("\n".join([conversations.HEAD, *house_page]), encoding="utf-8")
    return 0


async def _have_conversations(home: Path) -> list[str]:
    async with conversations.open_house(home) as house:
        await conversations.tell(house)
    return house.page


if __name__ == "__main__":
    sys.exit(main())
