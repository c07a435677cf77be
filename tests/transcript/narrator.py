"""A model that tells what the story wants, when the story wants it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from tests.fakes.told_model import TIMEOUT_SECONDS, ToldModel

ANSWERS: Final = {
    "What is on today?": ("The dentist at 9:00,", " and Bernd comes for dinner."),
    "What could I cook?": ("A risotto with mushrooms: rice, stock, an onion,", " and half an hour of stirring."),
    "And for dessert?": ("Plums,", " they are ripe now."),
    "Remind me of the trash": ("The grey bin is due", " on Thursday."),
    "Which train to Lisbon?": ("The one at 7:12; change in Madrid,", " and be there at 21:40."),
    "Is the window closed?": ("The one in the kitchen is;", " the one in the bedroom is open."),
}
"""Each in two parts, between which the gateway may be killed."""


class Narrator(ToldModel):
    """Answers from `ANSWERS`, each part when it may."""

    def __init__(self) -> None:
        super().__init__()
        self._may = {(text, part): threading.Event() for text in ANSWERS for part in (0, 1)}

    def let_begin(self, text: str) -> None:
        """Let the first part of an answer be told."""
        self._may[text, 0].set()

    def let_end(self, text: str) -> None:
        """Let all of an answer be told."""
        self.let_begin(text)
        self._may[text, 1].set()

    def pieces(self, text: str) -> Iterator[str]:
        self.asked.append(text)
        for part, piece in enumerate(ANSWERS[text]):
            assert self._may[text, part].wait(TIMEOUT_SECONDS)
            yield piece
